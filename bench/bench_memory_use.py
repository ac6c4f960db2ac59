"""Bytes a job. Each implementation runs in its own process."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).with_name("memory_use_child.py")
TARGET = 80 if sys.version_info >= (3, 11) else 92
KINDS = ["ours", "bulk", "stock"]
RIVALS = ["twin", "heap + dict", "sorted"]


def bytes_per_job(kind: str, gauge: str, size: int) -> float:
    command = [sys.executable, str(CHILD), kind, gauge, str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


full = pytest.mark.full


@pytest.mark.parametrize(
    ("gauge", "size", "kinds"),
    [
        pytest.param("tracemalloc", 1_000_000, KINDS, marks=pytest.mark.check),
        pytest.param("rss", 1_000_000, KINDS + RIVALS, marks=full),
        pytest.param("tracemalloc", 10_000, KINDS + RIVALS, marks=full),
        pytest.param("tracemalloc", 100_000, KINDS + RIVALS, marks=full),
    ],
)
def test_bytes_per_job(
    benchmark: Any, report: Any, gauge: str, size: int, kinds: list[str]
) -> None:
    """Memory of a store without its jobs. "bulk" is our store, filled by `add_jobs`."""
    values = {kind: bytes_per_job(kind, gauge, size) for kind in kinds[1:]}
    values["ours"] = benchmark.pedantic(bytes_per_job, args=("ours", gauge, size), rounds=1)
    target = TARGET if (gauge, size) == ("tracemalloc", 1_000_000) else None
    report(
        "Bytes a job of the store, beside the jobs",
        f"{size:,} jobs, {gauge}",
        values,
        "ours",
        target=target,
        at_most=True,
        unit="bytes",
    )
