"""The interface through which a store reads its jobs; each mode has an implementation.

`Queried` queries the server each time. `Recovering` does the same, but hands out small batches
after an unclean end. `Claimed` claims due jobs for one of many schedulers. `Mirrored` answers from
memory. A store chooses its reader when it is made.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from . import queries
from .connection import START_SECONDS, Connection
from .counters import Counters
from .documents import (
    FIELDS,
    Document,
    DocumentId,
    HasTime,
    IdKey,
    Record,
    UnreadableError,
    hashable_id,
)
from .history.incidents import Incidents
from .locks import Locks
from .ordered import VALID_RUN_TIME, affordable_in_order, due_query, first_included, in_order
from .presence.presence import Presence
from .sharing.lease import Lease
from .slow_line.paged import read_all
from .writes.guarded import GuardedWrite
from .writes.quarantine import Quarantine
from .writes.write_behind import WriteBehind

__all__ = ["Due", "Queried", "Reader", "ReaderParts", "Rejected"]

Rejected = list[tuple[Record, UnreadableError]]  # due jobs that can't run here, with the reasons


class Due(NamedTuple):
    """The answer to a search for due jobs.

    :ivar records: the records of the jobs, in any order.
    :ivar lease: the lease under which the jobs may fire; None unless schedulers share them.
    """

    records: list[Record]
    lease: Lease | None = None


class Reader(ABC):
    """Answers a store's queries, and is notified of the events that affect a mode.

    Notifications do nothing by default. Times are seconds since the epoch.
    """

    @property
    def is_live(self) -> bool:
        """Whether answers come from memory, which includes the deferred writes."""
        return False

    @property
    def needs_written_records(self) -> bool:
        """Whether `wrote` has to be called with the records written."""
        return False

    @property
    def retry_seconds(self) -> float | None:
        """How long to leave a job to others that its executor did not take; None: there are none.

        In seconds.
        """
        return None

    # Queries; `include_deferred` comes before the others

    @abstractmethod
    def include_deferred(self) -> None:
        """Make sure that later answers include the deferred writes: flush, or do nothing if live.

        :raises pymongo.errors.PyMongoError: if the writes can't be flushed.
        """

    @abstractmethod
    def due(self, now: float, limit: int, exclude: Mapping[IdKey, HasTime]) -> Due:
        """Return the first due jobs, at most `limit`.

        :param exclude: jobs to leave out.
        """

    @abstractmethod
    def next_run_time(self, now: float, exclude: Mapping[IdKey, HasTime]) -> float | None:
        """Return when to look for due jobs again, None if never: the earliest run time.

        :param exclude: jobs to leave out, as long as they have these run times.
        """

    @abstractmethod
    def find(self, job_id: DocumentId) -> Document | None:
        """Return the document with that id."""

    @abstractmethod
    def all(self, on_restart: Callable[[], None]) -> Iterator[list[Document]]:
        """Yield all documents in batches.

        :param on_restart: called when the read begins again after a time-out; discards the
            earlier batches.
        """

    @abstractmethod
    def count(self) -> int:
        """Count all documents."""

    @abstractmethod
    def set_aside(self, unrunnable: Rejected, lease: Lease | None) -> None:
        """Keep this store from reading these jobs again, which can't run here."""

    @abstractmethod
    def put_into_quarantine(self, writes: list[GuardedWrite]) -> None:
        """Apply writes that put documents into quarantine, or remove them."""

    def left_waiting(self, records: list[Record]) -> None:
        """Note due jobs that were read, and that no executor has taken; never raises."""

    # The store's life

    def opened(self, logger: logging.Logger) -> None:
        """Begin to serve a store that starts and is connected.

        :raises ValueError: if schedulers share the collection, and this store doesn't.
        """

    def begin_to_fire(self, after_unclean_end: bool) -> None:
        """Prepare for the first cycle of a start, or of a takeover.

        :param after_unclean_end: whether a scheduler has ended without a shutdown.
        """

    def go_live(self) -> None:
        """Answer from memory from now on, if all records are loaded; called by each cycle."""

    def do_chores(self) -> None:
        """Do work for which no cycle should wait; called in a thread of the store."""

    def reset(self) -> None:
        """Empty the memory: nothing keeps it current any more."""

    def give_back(self) -> None:
        """Release the jobs of a claim whose result could not be read."""

    def forked(self) -> None:
        """After a fork, in the child: drop the state that belongs to the parent's threads."""

    # Events

    def apply_optimistically(self, write: GuardedWrite) -> GuardedWrite | None:
        """Treat a deferred write as written; return None if another process's change wins.

        Called under `memory_lock`.
        """
        return write

    def acknowledged(
        self, ids: list[DocumentId], changed: Mapping[DocumentId, Record | None]
    ) -> None:
        """Note which deferred writes are settled, and which records other processes changed."""

    def about_to_write(self, job_id: DocumentId) -> None:
        """Note that a document is about to be written outside a cycle."""

    def wrote(self, records: Mapping[DocumentId, Record | None]) -> None:
        """Note documents that were written outside a cycle; None stands for a removed one."""

    def cleared(self) -> None:
        """Note that all documents were removed."""

    def in_doubt(self) -> None:
        """Note that a command failed, and that any documents may have been written."""


class ReaderParts(NamedTuple):
    """The parts of a store that its reader uses."""

    connection: Connection
    locks: Locks
    write_behind: WriteBehind
    quarantine: Quarantine
    presence: Presence
    counters: Counters
    incidents: Incidents


class Queried(Reader):
    """Queries the server each time, so it sees all changes by other processes."""

    def __init__(self, parts: ReaderParts) -> None:
        self._connection, self._locks = parts.connection, parts.locks
        self._write_behind, self._quarantine = parts.write_behind, parts.quarantine
        # Excluded by the caller, but found with other run times.
        self._rescheduled: set[IdKey] = set()

    def include_deferred(self) -> None:
        """Flush the deferred writes."""
        with self._locks.io_lock:
            self._write_behind.flush()

    def due(self, now: float, limit: int, exclude: Mapping[IdKey, HasTime]) -> Due:
        """Return the first k due jobs; 1 command, up to 3 on a slow line.

        The cost is O(log n + k + excluded jobs).
        """
        due = self._due_query(now, exclude)
        documents = affordable_in_order(self._connection, due, FIELDS, limit)
        return Due([Record.of(document) for document in documents])

    def next_run_time(self, now: float, exclude: Mapping[IdKey, HasTime]) -> float | None:
        """Return the earliest run time; O(log n + excluded jobs), 1 command."""
        in_time = {"next_run_time": VALID_RUN_TIME}
        documents = first_included(
            lambda limit: in_order(self._connection, in_time, ["next_run_time"], limit), exclude
        )
        if exclude:
            found = {hashable_id(document["_id"]) for document in documents}
            self._rescheduled = found & exclude.keys()
        return documents[0]["next_run_time"] if documents else None

    def _due_query(self, now: float, exclude: Mapping[IdKey, HasTime]) -> Document:
        """Build the query for due jobs.

        The query names ids only. So it does not leave out a job that `next_run_time` has found
        rescheduled: else the scheduler would ask for that job again and again.
        """
        kept = {key: job for key, job in exclude.items() if key not in self._rescheduled}
        return due_query(now, kept)

    def find(self, job_id: DocumentId) -> Document | None:
        """Return the document with that id; 1 command."""
        with self._connection.limit():
            return self._connection.jobs.find_one(queries.id_filter(job_id), FIELDS)

    def all(self, on_restart: Callable[[], None]) -> Iterator[list[Document]]:
        """Yield all n documents in batches; O(n)."""
        return read_all(self._connection, {}, FIELDS, on_restart, START_SECONDS)

    def count(self) -> int:
        """Count all documents; 1 command, O(n) in the server."""
        with self._connection.limit(START_SECONDS):
            return self._connection.jobs.count_documents({})

    def set_aside(self, unrunnable: Rejected, lease: Lease | None) -> None:
        """Put the jobs into quarantine, or remove them; 1 command, 2 for some of both."""
        self.put_into_quarantine(self._quarantine.writes_for_unreadable(unrunnable))

    def put_into_quarantine(self, writes: list[GuardedWrite]) -> None:
        """Apply writes that put documents into quarantine; 1 command, 2 if some are removals."""
        self._quarantine.put(writes)
