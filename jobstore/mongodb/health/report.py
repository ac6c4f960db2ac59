"""The report: how a store does, for its status, its presence and its metrics."""

import time
from math import inf
from typing import Any

from pymongo.errors import PyMongoError

from ..connection import Connection
from ..counters import Counters
from ..indexes import missing_indexes
from ..pool import pool_of
from ..status import Status
from .backlog import read_backlog

__all__ = ["Report", "since"]

LOOK_SECONDS = 5.0  # between two looks at the jobs
INDEX_SECONDS = 60.0  # between two looks at the indexes


class Report:
    """Looks at the collection from time to time, and adds that to the store's counters.

    :ivar overdue, oldest_overdue, quarantined, missing_indexes: see `Status`.
    """

    def __init__(self, connection: Connection, counters: Counters) -> None:
        self._connection, self._counters = connection, counters
        self.overdue: int | None = None
        self.oldest_overdue: float | None = None
        self.quarantined: int | None = None
        self.missing_indexes: tuple[str, ...] = ()
        self._looked_at = self._look_at_indexes_at = -inf  # by the monotonic clock

    def look_if_time(self) -> None:
        """Look, if the last look is 5 s ago."""
        if time.monotonic() >= self._looked_at + LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self.look()

    def look(self) -> None:
        """Count the overdue jobs and those in quarantine, and look for indexes; 2 to 4 commands.

        Never raises an error of the database: the status keeps the values of the last look.
        """
        try:
            self._look_at_jobs()
            if time.monotonic() >= self._look_at_indexes_at:
                self.missing_indexes = tuple(missing_indexes(self._connection))
                self._look_at_indexes_at = time.monotonic() + INDEX_SECONDS
        except PyMongoError:
            pass  # the beats log an outage

    def _look_at_jobs(self) -> None:
        backlog = read_backlog(self._connection)
        self.overdue, self.oldest_overdue, self.quarantined = backlog

    def status(self, **more: Any) -> Status:
        """Return the status; no command.

        :param more: the fields that the counters and the last look don't know.
        """
        counters = self._counters
        return Status(
            since_cycle=since(counters.cycle_ended_at),
            cycle=counters.cycle_seconds,
            expected=counters.expected(time.time()),
            fired=counters.fired,
            overdue=self.overdue,
            oldest_overdue=self.oldest_overdue,
            quarantined=self.quarantined,
            flush_failures=counters.flush_failures,
            flush_failures_in_a_row=counters.flush_failures_in_a_row,
            guards_lost=counters.guards_lost,
            claims_lost=counters.claims_lost,
            leases_lost=counters.leases_lost,
            since_lease_lost=since(counters.lease_lost_at),
            doubles=counters.doubles,
            since_double=since(counters.double_at),
            missing_indexes=self.missing_indexes,
            needed_pool=pool_of(self._connection.client).needed_size,
            **more,
        )


def since(moment: float | None) -> float | None:
    """Return the seconds since a moment of the monotonic clock; None for None."""
    return None if moment is None else time.monotonic() - moment
