"""Where a store reads its jobs: one interface, and an implementation for each mode.

`Queried` asks the server each time. `Recovering` does so carefully after an unclean end,
`Claimed` claims due jobs for one of many schedulers, and `Mirrored` answers from memory. A store
chooses one of them when it is made.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from . import queries
from .connection import START_SECONDS, Connection
from .documents import FIELDS, Document, DocumentId, HasTime, IdKey, Record, UnreadableError
from .locks import Locks
from .ordered import VALID_RUN_TIME, affordable_in_order, first_included, in_order
from .sharing.lease import Lease
from .slow_line.paged import read_all
from .writes.guarded import GuardedWrite
from .writes.quarantine import Quarantine
from .writes.write_behind import WriteBehind

__all__ = ["Due", "Queried", "Reader", "Rejected"]

Rejected = list[tuple[Record, UnreadableError]]  # due jobs that can't run here, and why


class Due(NamedTuple):
    """Due jobs.

    :ivar records: their documents as they were read, in any order.
    :ivar lease: the lease under which the jobs may fire, if many schedulers share the collection.
    """

    records: list[Record]
    lease: Lease | None = None


class Reader(ABC):
    """Answers a store's questions, and hears of events that matter to a mode.

    The hooks do nothing by default. Times are seconds since the epoch.
    """

    @property
    def is_live(self) -> bool:
        """Whether the answers come from memory, and include the deferred writes."""
        return False

    @property
    def needs_written_records(self) -> bool:
        """Whether `wrote` has a use for records."""
        return False

    # Questions; `include_deferred` comes before the others

    @abstractmethod
    def include_deferred(self) -> None:
        """Let the answers that follow include the deferred writes.

        :raises pymongo.errors.PyMongoError: if the writes can't be flushed.
        """

    @abstractmethod
    def due(self, now: float, limit: int) -> Due:
        """Return the first jobs that are due."""

    @abstractmethod
    def next_run_time(self, now: float, exclude: Mapping[IdKey, HasTime]) -> float | None:
        """Return when to look again: the earliest run time of a job that `counts`."""

    @abstractmethod
    def find(self, job_id: DocumentId) -> Document | None:
        """Return the document with that id."""

    @abstractmethod
    def all(self, on_restart: Callable[[], None]) -> Iterator[list[Document]]:
        """Yield all documents in batches.

        :param on_restart: is called when the reading begins again, after a time-out.
        """

    @abstractmethod
    def count(self) -> int:
        """Count all documents."""

    @abstractmethod
    def set_aside(self, bad: Rejected, lease: Lease | None) -> None:
        """Keep due jobs that can't run here from being due here."""

    # The store's life

    def opened(self, logger: logging.Logger) -> None:
        """Begin: the store starts, and is connected.

        :raises ValueError: if the collection is used in a way that excludes this one.
        """

    def go_live(self) -> None:
        """Answer from memory from now on, if all records are there; a cycle asks for it."""

    def do_chores(self) -> None:
        """Do work that no cycle should wait for, in a thread of the store."""

    def reset(self) -> None:
        """Forget all that is in memory."""

    def give_back(self) -> None:
        """Give back the jobs whose claim was not read."""

    def closed(self) -> None:
        """End: the scheduler does not run any more. Never raises."""

    def forked(self) -> None:
        """In a forked process: the parent goes on, and this process has none of its threads."""

    # Events

    def apply_optimistically(self, write: GuardedWrite) -> GuardedWrite | None:
        """Take a deferred write as written; None if it would lose to a change by others.

        It is called under the memory lock.
        """
        return write

    def acknowledged(
        self, ids: list[DocumentId], found: Mapping[DocumentId, Record | None]
    ) -> None:
        """Hear which deferred writes are through, and which records others have changed."""

    def rewritten(self, job_id: DocumentId) -> None:
        """Hear that a document is about to be written outside a cycle."""

    def wrote(self, records: Mapping[DocumentId, Record | None]) -> None:
        """Hear of documents that were written outside a cycle; None is a document removed."""

    def cleared(self) -> None:
        """Hear that all documents were removed."""

    def in_doubt(self) -> None:
        """Hear that documents may have been written, as a command failed."""


class Queried(Reader):
    """Asks the server each time, so it is right whatever other processes do."""

    def __init__(
        self,
        connection: Connection,
        locks: Locks,
        write_behind: WriteBehind,
        quarantine: Quarantine,
    ) -> None:
        self._connection = connection
        self._locks = locks
        self._write_behind = write_behind
        self._quarantine = quarantine

    def include_deferred(self) -> None:
        """Flush the deferred writes."""
        with self._locks.io_lock:
            self._write_behind.flush()

    def due(self, now: float, limit: int) -> Due:
        """Return the first jobs that are due; O(log n + k) and one command, 3 on a slow line."""
        due = {"next_run_time": {"$lte": now}}
        found = affordable_in_order(self._connection, due, FIELDS, limit)
        return Due([Record.of(document) for document in found])

    def next_run_time(self, now: float, exclude: Mapping[IdKey, HasTime]) -> float | None:
        """Return the earliest run time; O(log n) and one command."""
        in_time = {"next_run_time": VALID_RUN_TIME}
        for document in first_included(
            lambda limit: in_order(self._connection, in_time, ["next_run_time"], limit), exclude
        ):
            earliest: float = document["next_run_time"]
            return earliest
        return None

    def find(self, job_id: DocumentId) -> Document | None:
        """Return the document with that id; one command."""
        with self._connection.limit():
            return self._connection.jobs.find_one(queries.id_filter(job_id), FIELDS)

    def all(self, on_restart: Callable[[], None]) -> Iterator[list[Document]]:
        """Yield all n documents in batches; O(n)."""
        return read_all(self._connection, {}, FIELDS, on_restart, START_SECONDS)

    def count(self) -> int:
        """Count all documents; O(n) in the server, one command."""
        with self._connection.limit(START_SECONDS):
            return self._connection.jobs.count_documents({})

    def set_aside(self, bad: Rejected, lease: Lease | None) -> None:
        """Put the jobs into quarantine; one command, two if some are removed."""
        self._quarantine.put(self._quarantine.writes_for_unreadable(bad))
