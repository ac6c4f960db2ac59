"""When an earlier answer of `get_next_run_time` saves a command.

APScheduler asks every store in every cycle, and so the stores in which nothing is due as well. The
change stream tells of each change that makes a job due earlier, and the alarm lowers the run time
that the scheduler waits for. So until that time nothing is due: a scheduler with one store sleeps
until then for the same reason.
"""

import time
from typing import NamedTuple

from .connection import Connection

__all__ = ["Asked"]

KEPT_SECONDS = 10.0  # the longest that a change which no stream tells, a rollback, may stay unseen


class Asked(NamedTuple):
    """When the server was asked for the earliest run time.

    :ivar at: by the monotonic clock.
    :ivar writes: how much this store had written.
    """

    at: float
    writes: int

    @classmethod
    def now(cls, connection: Connection) -> "Asked":
        """Note a question that is about to be sent."""
        return cls(time.monotonic(), connection.writes)

    def holds(self, connection: Connection) -> bool:
        """Whether its answer is right, as far as the change stream has lowered it since.

        Not after a write of this store: the stream tells of that later.
        """
        return self.writes == connection.writes and time.monotonic() - self.at < KEPT_SECONDS
