"""Processes as Linux shows them: whether one is there, and whose child it is."""

import time
from pathlib import Path

PATIENCE = 60  # seconds; how long something that has to happen may take


def stat_of(pid):
    """Return state and parent of a process; None if there is none (a zombie is none)."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else (state, int(parent))


def children_of(pid):
    processes = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [child for child in processes if (stat_of(child) or (None, None))[1] == pid]


def wait_until(condition, seconds=PATIENCE):
    """Wait for it, and return whether it came."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return met


def is_gone(pid, seconds=PATIENCE):
    return wait_until(lambda: stat_of(pid) is None, seconds)
