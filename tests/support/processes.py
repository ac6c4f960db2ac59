"""Linux processes: whether one is alive, and which process is its parent."""

import time
from pathlib import Path

PATIENCE = 60  # seconds to wait before a test fails


def stat_of(pid):
    """Return the state and the parent of a process, or None if it has ended or is a zombie."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else (state, int(parent))


def children_of(pid):
    processes = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [child for child in processes if (stat_of(child) or (None, None))[1] == pid]


def wait_until(condition, seconds=PATIENCE):
    """Wait until the condition is met, and return whether it was met in time."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return met


def is_gone(pid, seconds=PATIENCE):
    return wait_until(lambda: stat_of(pid) is None, seconds)
