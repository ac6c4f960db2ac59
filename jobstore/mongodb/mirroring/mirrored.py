"""The reader of a mirrored store: it answers from memory, and until it can, from the server."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TypeVar

from .. import queries
from ..connection import READ_BATCH, operation_time
from ..documents import (
    CountedRecord,
    Document,
    DocumentId,
    HasTime,
    IdKey,
    Record,
    UnreadableError,
)
from ..readers import Due, Reader, ReaderParts, Rejected
from ..recovery.recovering import Recovering
from ..sharing.lease import Lease
from ..threads import StopSignal
from ..writes.guarded import GuardedWrite
from .loading import load
from .mirror import Mirror, NotLiveError

__all__ = ["Mirrored"]

Answer = TypeVar("Answer")
INVALID = "its _id or its next_run_time is that of no job"


class Mirrored(Reader):
    """Answers from a mirror while that is live; else it delegates to `queried`.

    :ivar queried: the reader that asks the server.
    :ivar follows: whether a change stream keeps the mirror current; if not, nobody else writes.
    :ivar mirror: the mirror; each start makes a new one.
    """

    def __init__(self, parts: ReaderParts, follows: bool) -> None:
        self._connection, self._locks = parts.connection, parts.locks
        self._write_behind, self._quarantine = parts.write_behind, parts.quarantine
        self.queried = Recovering(parts)
        self.follows = follows
        self.mirror = Mirror(parts.locks, parts.write_behind, follows)
        self._fires_since = 0  # an operation time, after the last write of the owner before
        self._doubtful_writes = 0  # failed commands that may have written documents
        self._filled_after = self._unseen_writes  # when the mirror was filled
        self._logger = logging.getLogger(__name__)

    @property
    def is_live(self) -> bool:
        """Whether the mirror may answer."""
        return self.mirror.live

    @property
    def needs_written_records(self) -> bool:
        """Whether the mirror takes our writes."""
        return self.mirror.needs_written_records

    # Queries

    def include_deferred(self) -> None:
        """Flush the deferred writes; if the mirror is live, only request a flush.

        The answers of a live mirror include them.
        """
        if not self.mirror.live:
            self.queried.include_deferred()
        elif self._write_behind.has_pending:
            self._write_behind.request_flush()

    def due(self, now: float, limit: int, exclude: Mapping[IdKey, HasTime]) -> Due:
        """Return the first k due jobs, at most `limit`; O(log n + k + excluded jobs)."""
        return self._answer_cycle(
            lambda: Due(self.mirror.due(now, limit, exclude)),
            lambda: self.queried.due(now, limit, exclude),
        )

    def next_run_time(self, now: float, exclude: Mapping[IdKey, HasTime]) -> float | None:
        """Return the earliest run time, without k excluded jobs; O(log n + k)."""
        return self._answer_cycle(
            lambda: self.mirror.next_run_time(now, exclude),
            lambda: self.queried.next_run_time(now, exclude),
        )

    def find(self, job_id: DocumentId) -> Document | None:
        """Return the document with that id; O(1)."""
        return self._answer_caller(
            lambda: self.mirror.find(job_id), lambda: self.queried.find(job_id)
        )

    def all(self, on_restart: Callable[[], None]) -> Iterator[list[Document]]:
        """Yield all n documents in batches; O(n)."""
        return self._answer_caller(
            lambda: queries.batched(self.mirror.all(), READ_BATCH),
            lambda: self.queried.all(on_restart),
        )

    def count(self) -> int:
        """Count all documents; O(1)."""
        return self._answer_caller(self.mirror.count, self.queried.count)

    def _answer_cycle(
        self, from_mirror: Callable[[], Answer], from_server: Callable[[], Answer]
    ) -> Answer:
        """Answer a cycle; `io_lock` keeps other writes from between flush and query."""
        if self.mirror.live:
            with suppress(NotLiveError):  # another thread may reset the mirror at any moment
                return from_mirror()
        with self._locks.io_lock:
            self.queried.include_deferred()
            return from_server()

    def _answer_caller(
        self, from_mirror: Callable[[], Answer], from_server: Callable[[], Answer]
    ) -> Answer:
        """Answer a call outside a cycle; cycles don't have to wait for its query."""
        if self.mirror.live:
            with suppress(NotLiveError):
                return from_mirror()
        self.queried.include_deferred()
        return from_server()

    def set_aside(self, unrunnable: Rejected, lease: Lease | None) -> None:
        """Put the jobs into quarantine, or remove them."""
        self.put_into_quarantine(self._quarantine.writes_for_unreadable(unrunnable))

    def put_into_quarantine(self, writes: list[GuardedWrite]) -> None:
        """Apply the writes; deferred if the mirror is live, as cycles do no I/O."""
        if not self.mirror.live:
            self.queried.put_into_quarantine(writes)
            return
        for write in writes:
            self._write_behind.add(write, self.apply_optimistically)

    def left_waiting(self, records: list[Record]) -> None:
        """Tell a recovery, which has counted these jobs; the mirror may be live since."""
        if any(isinstance(record, CountedRecord) for record in records):
            with self._locks.io_lock:
                self.queried.left_waiting(records)

    # The store's life

    def opened(self, logger: logging.Logger) -> None:
        """Begin with a new mirror, because a thread that hangs may still use the old one.

        :raises ValueError: if schedulers share the collection.
        """
        self._logger = logger
        self.mirror = Mirror(self._locks, self._write_behind, self.follows)
        self.queried.opened(logger)

    def begin_to_fire(self, after_unclean_end: bool) -> None:
        """Let the mirror wait until it has seen all writes before now; 1 command with a stream.

        The scheduler that fired the jobs before may have written runs that the stream has not yet
        reported. Until it has, cycles ask the server.

        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        if self.follows:
            self._fires_since = operation_time(self._connection.now())
        self.mirror.pause()
        self.queried.begin_to_fire(after_unclean_end)

    def go_live(self) -> None:
        """Answer from the mirror from now on, if it has all writes and no recovery is under way."""
        if self.mirror.live or self._lacks_writes:
            return
        with self._locks.io_lock:  # the caller may have found the mirror live, and not hold it
            if self.queried.is_over():
                self.mirror.go_live(self.awaited_time)

    @property
    def awaited_time(self) -> int:
        """The operation time that the stream has to reach before the mirror answers."""
        return max(self._connection.write_time, self._fires_since)

    def fill(self) -> None:
        """Load all n records, where no stream does, and go live; O(n log n).

        From then on the mirror takes our writes itself. A cycle that found the mirror live may
        defer writes during the load. Neither the mirror nor the server has them then. So the load
        is repeated after a flush.

        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        with self._locks.io_lock:
            while True:
                self._write_behind.flush()
                unseen, since = self._unseen_writes, self._connection.now()
                load(self._connection, since, self.mirror, self._logger, StopSignal())
                if not self._write_behind.has_pending:
                    break
            self._filled_after = unseen
            self.go_live()

    @property
    def _unseen_writes(self) -> tuple[object, int]:
        """The last of the writes, certain or possible, that the mirror has not taken."""
        return self._quarantine.last_change, self._doubtful_writes

    @property
    def _lacks_writes(self) -> bool:
        """Whether no stream will tell the mirror of writes that it has not taken."""
        return not self.follows and self._unseen_writes != self._filled_after

    def do_chores(self) -> None:
        """Quarantine documents that can't be jobs anywhere; fill a mirror that lacks writes.

        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        with self._locks.io_lock:
            invalid = [
                record
                for record in self.mirror.take_invalid()
                if not self._quarantine.is_unmarked(record.id)
            ]
            if invalid:
                reason = UnreadableError(INVALID)
                self._quarantine.put(
                    self._quarantine.writes_for_unreadable([(record, reason) for record in invalid])
                )
                self._quarantine.sweep()  # finds documents that have been changed since, too
            if self._lacks_writes:
                self.fill()

    def reset(self) -> None:
        """Empty the mirror, because nothing keeps it current."""
        self.mirror.reset()

    def forked(self) -> None:
        """Reset in a forked process, which has no stream."""
        self.mirror.reset()

    # Events

    def apply_optimistically(self, write: GuardedWrite) -> GuardedWrite | None:
        """Show a deferred write in the mirror; None if a change by others wins over it."""
        return self.mirror.apply_optimistically(write)

    def acknowledged(
        self, ids: list[DocumentId], changed: Mapping[DocumentId, Record | None]
    ) -> None:
        """Tell the mirror which deferred writes are settled, and which records others changed."""
        self.mirror.acknowledged(ids, changed, self._connection.write_time)

    def wrote(self, records: Mapping[DocumentId, Record | None]) -> None:
        """Tell the mirror which documents a call outside a cycle has written."""
        self.mirror.wrote(records, self._connection.write_time)

    def cleared(self) -> None:
        """Tell the mirror that all documents were removed."""
        self.mirror.cleared(self._connection.write_time)

    def in_doubt(self) -> None:
        """Note that the mirror may lack a write; without a stream it is then filled again."""
        self._doubtful_writes += 1
