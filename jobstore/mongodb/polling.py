"""The polling interval: how often a store without a change stream asks for the first run time."""

from apscheduler.schedulers.base import BaseScheduler

__all__ = ["pause_seconds", "poll_seconds"]

MAX_SECONDS = 1.0
MIN_SECONDS = 0.05


def poll_seconds(scheduler: BaseScheduler | None) -> float:
    """Choose an interval in seconds: a quarter of the scheduler's default `misfire_grace_time`.

    The scheduler drops a run that is later than that. A quarter leaves time for the answer, for
    the next cycle, and for one lost poll. With None the scheduler drops no late run.
    """
    grace = getattr(scheduler, "_job_defaults", {}).get("misfire_grace_time")
    return MAX_SECONDS if grace is None else min(max(grace / 4, MIN_SECONDS), MAX_SECONDS)


def pause_seconds(interval: float, elapsed: float) -> float:
    """Return the seconds to wait after a poll that took `elapsed` seconds.

    The next poll starts on time. A server that answers more slowly than the interval still gets a
    pause.
    """
    return min(interval, max(interval - elapsed, MIN_SECONDS))
