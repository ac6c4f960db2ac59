"""What the two sides of the demo are told to do, and what they report."""

from dataclasses import dataclass

__all__ = ["Plan", "Sample"]


@dataclass
class Plan:
    """What both sides are to do."""

    store: str
    jobs: int
    interval: float
    seconds: float
    where: str = ""  # the server that both sides use, if any


@dataclass
class Sample:
    """What is known so far: totals since the run began, but for the two `recent` ones."""

    phase: str = "starting"
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
