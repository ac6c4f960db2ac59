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
from .backlog import Backlog, read_backlog

__all__ = ["Report", "since"]

LOOK_SECONDS = 5.0  # between two looks at the jobs
INDEX_SECONDS = 60.0  # between two looks at the indexes
VALID_SECONDS = 30.0  # then the values of a look are not those of now


class Report:
    """Looks at the collection from time to time, and adds that to the store's counters."""

    def __init__(self, connection: Connection, counters: Counters) -> None:
        self._connection, self._counters = connection, counters
        self.forget()

    def forget(self) -> None:
        """Forget the last look, and the cycles: the scheduler has ended."""
        self._backlog: Backlog | None = None
        self._missing_indexes: tuple[str, ...] | None = None
        self._looked_at = self._backlog_at = self._look_at_indexes_at = -inf  # monotonic clock
        self._failing_since: float | None = None
        self._counters.forget_cycle()

    def look_if_time(self) -> None:
        """Look, if the last look is 5 s ago."""
        if time.monotonic() >= self._looked_at + LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self.look()

    def look(self) -> None:
        """Count the overdue jobs and those in quarantine, and look for indexes; 2 to 4 commands.

        Never raises an error of the database: the status keeps the values of the last look, until
        they are too old.
        """
        try:
            self._backlog = read_backlog(self._connection, time.time())
            self._backlog_at = time.monotonic()
            if time.monotonic() >= self._look_at_indexes_at:
                self._missing_indexes = tuple(missing_indexes(self._connection))
                self._look_at_indexes_at = time.monotonic() + INDEX_SECONDS
        except PyMongoError:  # the beats log an outage
            self._failing_since = self._failing_since or time.monotonic()
        else:
            self._failing_since = None

    def status(self, connected: bool, firing: bool, **more: Any) -> Status:
        """Return the status; no command.

        :param connected: whether the other parts of the store reach the server.
        :param firing: as in `Status`.
        :param more: the fields that the counters and the last look don't know.
        """
        counters, now = self._counters, time.monotonic()
        is_valid = now < self._backlog_at + VALID_SECONDS
        backlog = self._backlog if is_valid else None
        failing_since = counters.failing_since if firing else self._failing_since
        return Status(
            since_cycle=since(counters.cycle_ended_at),
            cycle=counters.cycle_seconds,
            expected=counters.expected(time.time()),
            fired=counters.fired,
            overdue=backlog and backlog.overdue,
            oldest_overdue=backlog and backlog.oldest,
            quarantined=backlog and backlog.quarantined,
            flush_failures=counters.flush_failures,
            flush_failures_in_a_row=counters.flush_failures_in_a_row,
            guards_lost=counters.guards_lost,
            claims_lost=counters.claims_lost,
            leases_lost=counters.leases_lost,
            since_lease_lost=since(counters.lease_lost_at),
            doubles=counters.doubles,
            since_double=since(counters.double_at),
            missing_indexes=self._missing_indexes if is_valid else None,
            connected=connected and {failing_since, self._failing_since} == {None},
            firing=firing,
            failing=since(failing_since),
            needed_pool=pool_of(self._connection.client).needed_size,
            **more,
        )


def since(moment: float | None) -> float | None:
    """Return the seconds since a moment of the monotonic clock; None for None."""
    return None if moment is None else time.monotonic() - moment
