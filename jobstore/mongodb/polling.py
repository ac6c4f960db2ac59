"""How often the server is asked for the first run time, where it has no change stream."""

from apscheduler.schedulers.base import BaseScheduler

__all__ = ["pause", "poll_seconds"]

LONGEST = 1.0  # seconds
SHORTEST = 0.05


def poll_seconds(scheduler: BaseScheduler | None) -> float:
    """Choose an interval by the scheduler's default `misfire_grace_time`.

    The scheduler drops a run that it finds later than that. A quarter of it leaves time for the
    answer, for the next cycle, and for a lost poll. None: a late run is never dropped.
    """
    grace = getattr(scheduler, "_job_defaults", {}).get("misfire_grace_time")
    return LONGEST if grace is None else min(max(grace / 4, SHORTEST), LONGEST)


def pause(interval: float, took: float) -> float:
    """How long to wait after a question that took so long, so that the next one is in time.

    A server that answers slower than it should be asked still gets a pause.
    """
    return min(interval, max(interval - took, SHORTEST))
