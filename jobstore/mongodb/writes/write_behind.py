"""The writes that wait for the end of a cycle, and when they are flushed."""

import atexit
import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Callable
from itertools import islice

from ...base import first_few
from ..documents import DocumentId, Record
from ..locks import Locks
from ..summary import Summary
from .conflicts import decide
from .guarded import GuardedWrite

__all__ = ["WriteBehind"]

FLUSH_SECONDS = 1.0  # the longest that a write waits
FLUSH_BYTES = 12_000_000  # of states that wait

Writes = dict[DocumentId, GuardedWrite]
Found = dict[DocumentId, Record | None]


def _size(write: GuardedWrite | None) -> int:
    return len(write.state or b"") if write else 0


class WriteBehind:
    """Keeps one write for each id until they are flushed, and after a flush that failed.

    They are flushed when they are many, when they are large, when the first of them is a second
    old, when the process ends, and whenever the store wants it. Those of a flush that failed may
    be written or not: they are kept apart, and are settled before what was deferred since.

    :param locks: the store's.
    :param flush: sends the writes in a dict, and takes out of it those that are through; puts the
        records that others have changed into another dict. It is told whether any of the writes
        was sent before.
    :param limit: how many are written at a time.
    :param acknowledged: called under `memory_lock` with the ids whose writes succeeded or lost a
        conflict, and were not deferred anew; and with the records that others have changed.
    :ivar request_flush: called when it is time to flush; either it flushes, or it wakes a thread
        that does.
    :ivar lines: notes of single writes, logged at the end of a cycle or of a flush.
    :ivar failing: whether the last flush failed.
    """

    def __init__(
        self,
        locks: Locks,
        flush: Callable[[Writes, Found, bool, logging.Logger], None],
        limit: int,
        acknowledged: Callable[[list[DocumentId], Found], None],
    ) -> None:
        self._locks = locks
        self._flush = flush
        self._limit = limit
        self._acknowledged = acknowledged
        self.logger = logging.getLogger(__name__)
        self.lines = Summary()
        self.flush_in_callers_thread()
        self.failing = False
        self._sending: Writes = {}
        self._waiting: Writes = {}
        self._since = self._sending_since = 0.0  # when the first of each was deferred
        self._bytes = 0  # of the states that wait
        self._timer: threading.Timer | None = None
        _all.add(self)

    def flush_in_callers_thread(self) -> None:
        """Let whoever defers flush, when it is time."""
        self.request_flush, self._timed = self._flush_unless_failing, True

    def flush_in_other_thread(self, request_flush: Callable[[], None]) -> None:
        """Let a thread flush that looks by itself every second, and when it is told."""
        self.request_flush, self._timed = request_flush, False

    @property
    def waits(self) -> bool:
        """Whether anything is not known to be written."""
        return bool(self._sending or self._waiting)

    @property
    def writes(self) -> Writes:
        """All that is not known to be written; of two writes of an id the later one."""
        return {**self._sending, **self._waiting}

    def status(self) -> tuple[int, float | None]:
        """Tell how many writes wait, and for how many seconds the oldest of them has."""
        with self._locks.memory_lock:
            count = len(self._sending.keys() | self._waiting.keys())
            since = self._sending_since if self._sending else self._since
            return count, time.monotonic() - since if count else None

    def forked(self) -> None:
        """In a forked process: what was deferred is its parent's to write, by its threads."""
        self._timer = None
        self.flush_in_callers_thread()
        self.forget()

    def forget(self) -> None:
        """Drop all that waits."""
        self._sending, self._waiting = {}, {}
        self.failing = False
        self._bytes = 0

    def add(
        self, write: GuardedWrite | None, apply: Callable[[GuardedWrite], GuardedWrite | None]
    ) -> None:
        """Defer a write, if there is one; an earlier one of the same document is merged into it.

        :param apply: called first, under `memory_lock`; returns the write to defer, if any.
        """
        if write and self._bytes + _size(write) > FLUSH_BYTES:
            self.request_flush()
        with self._locks.memory_lock:
            write = write and apply(write)
            if write is None:
                return
            earlier = self._waiting.get(write.record.id)
            if earlier:  # the document still is as it was seen then
                write = write._replace(record=earlier.record)
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting[write.record.id] = write
            self._bytes += _size(write) - _size(earlier)
        if len(self._waiting) >= self._limit:
            self.request_flush()
        elif self._timed and self._timer is None and not self.failing:
            with contextlib.suppress(RuntimeError):  # no more threads: the cycle's end will do
                timer = threading.Timer(FLUSH_SECONDS, self._flush_late)
                timer.daemon = True
                timer.start()
                self._timer = timer

    def flush(self) -> None:
        """Write all that waits now; what could not be written stays, and the error is raised.

        What is deferred meanwhile is for the next time: else it might never end.
        """
        with self._locks.io_lock:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            began, left = time.monotonic(), len(self._waiting)
            while self._sending or (self._waiting and left > 0):
                sent_before = bool(self._sending)
                if not sent_before:
                    self._take()
                    left -= len(self._sending)
                ids, found = list(self._sending), Found()
                try:
                    self._flush(self._sending, found, sent_before, self.logger)
                except BaseException:
                    self.failing = True
                    raise
                finally:
                    self._note(ids, found)
            self._since = max(self._since, began)
            self.failing = False

    def flush_if_possible(self) -> None:
        """Write all; an error is logged."""
        try:
            self.flush()
        except Exception as error:
            ids = list(self.writes)
            self.logger.warning(
                "Unable to write %d jobs (%s), to be tried again: %s",
                len(ids),
                first_few(ids),
                error,
            )

    def flush_at_exit(self) -> None:
        """Write all, as the process ends, unless a thread hangs in a write."""
        io_lock = self._locks.io_lock
        if io_lock.acquire(timeout=FLUSH_SECONDS):
            try:
                self.flush_if_possible()
            finally:
                io_lock.release()

    def _take(self) -> None:
        """Begin with the first of what waits; no more at a time than may be sent at a time."""
        with self._locks.memory_lock:
            size = 0
            self._sending_since = self._since
            for job_id in list(islice(self._waiting, self._limit)):
                size += _size(self._waiting[job_id])
                if self._sending and size > FLUSH_BYTES:
                    break
                self._sending[job_id] = self._pop(job_id)

    def _pop(self, job_id: DocumentId) -> GuardedWrite:
        write = self._waiting.pop(job_id)
        self._bytes -= _size(write)
        return write

    def _note(self, ids: list[DocumentId], found: Found) -> None:
        """Let others' changes win over what was deferred since, too; and tell what is through."""
        with self._locks.memory_lock:
            for job_id in found.keys() & self._waiting.keys():
                left = decide(self._waiting[job_id], found[job_id], self.lines)
                self._pop(job_id)
                if left:
                    found[job_id] = left.after
                    self._waiting[job_id] = left
                    self._bytes += _size(left)
            ours = (self._sending, self._waiting)
            through = [each for each in ids if not any(each in some for some in ours)]
            self._acknowledged(through, found)
        self.lines.log(self.logger)

    def _flush_unless_failing(self) -> None:
        if not self.failing:  # else nothing is tried before the next cycle
            self.flush_if_possible()

    def _flush_late(self) -> None:
        with self._locks.io_lock:
            self.request_flush()


_all: "weakref.WeakSet[WriteBehind]" = weakref.WeakSet()


@atexit.register
def _flush_all() -> None:
    for write_behind in list(_all):
        write_behind.flush_at_exit()
