"""Bytes a job at 1,000,000 jobs, each in a process of its own."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).with_name("memory_child.py")
BAR = 80 if sys.version_info >= (3, 11) else 92


def bytes_per_job(kind: str, gauge: str) -> float:
    command = [sys.executable, str(CHILD), kind, gauge, "1000000"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize("gauge", ["tracemalloc", "rss"])
@pytest.mark.parametrize("kind", ["one-by-one", "bulk"])
def test_bytes_per_job(benchmark: Any, report: Any, kind: str, gauge: str) -> None:
    ours = benchmark.pedantic(bytes_per_job, args=(kind, gauge), rounds=1)
    stock = bytes_per_job("stock", gauge)
    report(
        "Bytes a job of the store at 1,000,000 jobs (beside the jobs; bar on ours)",
        f"{kind}, {gauge}",
        ours,
        stock,
        ours if gauge == "tracemalloc" else stock / ours,
        BAR if gauge == "tracemalloc" else None,
        at_most=True,
        unit="bytes",
    )
