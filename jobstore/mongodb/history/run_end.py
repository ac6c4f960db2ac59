"""The end of a run, as the listener hears it."""

from datetime import datetime
from typing import NamedTuple

__all__ = ["RunEnd"]


class RunEnd(NamedTuple):
    """The end of a run, or a run that was left out.

    :ivar kind: ``"executed"``, ``"error"``, ``"missed"`` or ``"skipped"``.
    :ivar runs: how many runs were left out; 1 for others.
    :ivar at: when it ended, in seconds since the epoch.
    :ivar ended_at: the same, by the monotonic clock.
    :ivar thread: the thread that reports it.
    :ivar detail: the error's text.
    """

    kind: str
    job_id: str
    run_time: datetime
    runs: int
    at: float
    ended_at: float
    thread: int
    detail: str
