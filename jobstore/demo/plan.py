"""The plan that the demo gives to both sides, and the samples that they report."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Phase", "Plan", "Sample", "SideName", "StoreName"]

StoreName = Literal["memory", "mongodb"]
SideName = Literal["ours", "stock"]
Phase = Literal["starting", "adding jobs", "weighing the store", "lining up", "running", "done"]


@dataclass
class Plan:
    """The work of both sides."""

    store: StoreName
    jobs: int
    interval: float
    seconds: float
    where: str = ""  # the URI of the server that both sides use, if any


@dataclass
class Sample:
    """A side's figures so far; the two `recent` ones cover the time since the previous sample."""

    phase: Phase = "starting"
    zone: str = ""
    held: int = 0
    add_seconds: float | None = None
    add_store_seconds: float | None = None
    bytes_per_job: float | None = None
    elapsed: float = 0.0
    fired: int = 0
    cycles: int = 0
    store_seconds: float = 0.0
    cpu_seconds: float = 0.0
    late_p50: float | None = None
    late_p99: float | None = None
    recent_p50: float | None = None
    recent_p99: float | None = None
