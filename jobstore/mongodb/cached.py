"""Cached answers of `get_next_run_time`: for how long an earlier answer replaces a command.

APScheduler asks every store in every cycle, even if the store has no due job. The change stream
reports each change that makes a job due earlier, and `Wakeups` lowers the awaited run time. So
nothing is due before that time. A scheduler with one store sleeps until then for the same reason.
"""

import time
from typing import NamedTuple

from .connection import Connection

__all__ = ["LastQuery"]

MAX_AGE_SECONDS = 10.0  # limits the harm of a change that no stream reports, such as a rollback


class LastQuery(NamedTuple):
    """When the store last asked the server for the earliest run time.

    :ivar at: seconds on the monotonic clock.
    :ivar last_write: the connection's last write before.
    """

    at: float
    last_write: object

    @classmethod
    def now(cls, connection: Connection) -> "LastQuery":
        """Note a query that is about to be sent."""
        return cls(time.monotonic(), connection.last_write)

    def is_fresh(self, connection: Connection) -> bool:
        """Whether the answer, as lowered by the change stream since, still holds.

        It doesn't hold for more than 10 s, nor after a write of this store, which the stream
        reports later.
        """
        is_last = self.last_write is connection.last_write
        return is_last and time.monotonic() - self.at < MAX_AGE_SECONDS
