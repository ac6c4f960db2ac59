"""The reader for a mirrored store: it answers from memory, and asks the server until it can."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TypeVar

from .. import queries
from ..connection import READ_BATCH, Connection
from ..documents import Document, DocumentId, HasTime, IdKey, Record, UnreadableError
from ..locks import Locks
from ..readers import Due, Reader, Rejected
from ..recovery.recovering import Recovering
from ..sharing.lease import Lease
from ..writes.guarded import GuardedWrite
from ..writes.quarantine import Quarantine
from ..writes.write_behind import WriteBehind
from .loading import load
from .mirror import Mirror, NotLiveError

__all__ = ["Mirrored"]

Answer = TypeVar("Answer")
INVALID = "its _id or its next_run_time is that of no job"


class Mirrored(Reader):
    """Answers from a mirror while that is live; else it delegates to `queried`.

    :param follows: whether a change stream keeps the mirror current; if not, nobody else writes.
    :ivar queried: asks the server.
    """

    def __init__(
        self,
        connection: Connection,
        locks: Locks,
        write_behind: WriteBehind,
        quarantine: Quarantine,
        follows: bool,
    ) -> None:
        self.queried = Recovering(connection, locks, write_behind, quarantine)
        self._locks = locks
        self.follows = follows
        self._connection = connection
        self._write_behind = write_behind
        self._quarantine = quarantine
        self.mirror = Mirror(locks, write_behind, follows)
        self._in_doubt = 0  # how often it was not known which documents were written
        self._filled_after = 0  # `_unnoted`, when the mirror was filled
        self._logger = logging.getLogger(__name__)

    @property
    def is_live(self) -> bool:
        """Whether the mirror may be asked."""
        return self.mirror.live

    @property
    def needs_written_records(self) -> bool:
        """Whether the mirror has to know of our writes."""
        return self.mirror.needs_written_records

    # Questions

    def include_deferred(self) -> None:
        """Let the answers that follow include the deferred writes: a live mirror does anyway."""
        if not self.mirror.live:
            self.queried.include_deferred()

    def due(self, now: float, limit: int) -> Due:
        """Return the first jobs that are due; O(log n + k)."""
        return self._ask(
            lambda: Due(self.mirror.due(now, limit)), lambda: self.queried.due(now, limit)
        )

    def next_run_time(self, now: float, exclude: Mapping[IdKey, HasTime]) -> float | None:
        """Return the earliest run time; O(1)."""

        def of_mirror() -> float | None:
            if self._write_behind.has_pending:
                self._write_behind.request_flush()
            return self.mirror.next_run_time(now, exclude)

        return self._ask(of_mirror, lambda: self.queried.next_run_time(now, exclude))

    def find(self, job_id: DocumentId) -> Document | None:
        """Return the document with that id; O(1)."""
        return self._read(lambda: self.mirror.find(job_id), lambda: self.queried.find(job_id))

    def all(self, on_restart: Callable[[], None]) -> Iterator[list[Document]]:
        """Yield all n documents in batches; O(n)."""
        return self._read(
            lambda: queries.batched(self.mirror.all(), READ_BATCH),
            lambda: self.queried.all(on_restart),
        )

    def count(self) -> int:
        """Count all documents; O(1)."""
        return self._read(self.mirror.count, self.queried.count)

    def _ask(self, of_mirror: Callable[[], Answer], of_server: Callable[[], Answer]) -> Answer:
        """Ask the mirror, or the server for a cycle: no write comes between flush and answer."""
        if self.mirror.live:
            with suppress(NotLiveError):  # it may be lost at any moment
                return of_mirror()
        with self._locks.io_lock:
            self.queried.include_deferred()
            return of_server()

    def _read(self, of_mirror: Callable[[], Answer], of_server: Callable[[], Answer]) -> Answer:
        """Ask the mirror, or the server for others, whose answers no cycle has to wait for."""
        if self.mirror.live:
            with suppress(NotLiveError):
                return of_mirror()
        self.queried.include_deferred()
        return of_server()

    def set_aside(self, bad: Rejected, lease: Lease | None) -> None:
        """Quarantine jobs by deferred writes: a live mirror's cycle does no I/O."""
        if not self.mirror.live:
            self.queried.set_aside(bad, lease)
            return
        for write in self._quarantine.writes_for_unreadable(bad):
            self._write_behind.add(write, self.apply_optimistically)

    # The store's life

    def opened(self, logger: logging.Logger) -> None:
        """Begin with an empty mirror, as a thread that hangs may still have the old one."""
        self._logger = logger
        self.mirror = Mirror(self._locks, self._write_behind, self.follows)
        self.queried.opened(logger)

    def go_live(self) -> None:
        """Ask the mirror from now on, if it has all, and nothing is to be recovered."""
        if not self.mirror.live and self.queried.is_over():
            self.mirror.go_live(self._connection.write_time)

    def fill(self) -> None:
        """Read all records, where no stream does; from here on the mirror notes what we write.

        What a cycle that found the mirror live defers while it is read is in neither, so it is
        read again.
        """
        with self._locks.io_lock:
            while True:
                self._write_behind.flush()
                unnoted, since = self._unnoted, self._connection.now()
                load(self._connection, since, self.mirror, self._logger, threading.Event())
                if not self._write_behind.has_pending:
                    break
            self._filled_after = unnoted
            self.go_live()

    @property
    def _unnoted(self) -> int:
        """How often something was written, or may have been, that is not noted in the mirror."""
        return self._quarantine.changes + self._in_doubt

    def do_chores(self) -> None:
        """Quarantine documents that can't be jobs anywhere; fill the mirror again if need be."""
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
                self._quarantine.sweep()  # what has been changed since, too
            if not self.follows and self._unnoted != self._filled_after:
                self.fill()

    def reset(self) -> None:
        """Empty the mirror: nothing keeps it current."""
        self.mirror.reset()

    def closed(self) -> None:
        """Tell that the scheduler has ended as it should."""
        self.queried.closed()

    def forked(self) -> None:
        """In a forked process, which has no stream."""
        self.queried.forked()
        self.mirror.reset()

    # Events

    def apply_optimistically(self, write: GuardedWrite) -> GuardedWrite | None:
        """Take a deferred write as written."""
        return self.mirror.apply_optimistically(write)

    def acknowledged(
        self, ids: list[DocumentId], found: Mapping[DocumentId, Record | None]
    ) -> None:
        """Tell the mirror which deferred writes are through."""
        self.mirror.acknowledged(ids, found, self._connection.write_time)

    def wrote(self, records: Mapping[DocumentId, Record | None]) -> None:
        """Tell the mirror of documents that were written outside a cycle."""
        self.mirror.wrote(records, self._connection.write_time)

    def cleared(self) -> None:
        """Tell the mirror that all documents were removed."""
        self.mirror.cleared(self._connection.write_time)

    def in_doubt(self) -> None:
        """Note that the mirror may lack a write; without a stream it is filled again."""
        self._in_doubt += 1
