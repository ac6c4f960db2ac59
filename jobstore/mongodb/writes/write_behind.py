"""Write-behind: keeps the writes of a cycle in memory, and decides when they are flushed."""

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from itertools import islice

from ...base import first_few
from ..documents import INTERRUPTS, DocumentId, Record
from ..locks import Locks
from ..summary import Summary
from .conflicts import Conflicts
from .guarded import GuardedWrite

__all__ = ["WriteBehind"]

FLUSH_SECONDS = 1.0  # a write waits no longer, unless flushes fail
FLUSH_BYTES = 12_000_000  # of waiting states

Writes = dict[DocumentId, GuardedWrite]
Records = dict[DocumentId, Record | None]


def _size(write: GuardedWrite) -> int:
    return len(write.state or b"")


class WriteBehind:
    """Keeps one write for each document until a flush has settled it.

    A flush begins when `limit` writes wait, when their states exceed 12 MB, when the oldest write
    is a second old, when the process ends, and when the store calls `flush`. After a flush that
    failed, some of its writes may have applied. They are kept apart from later writes, and the
    next flush settles them first.

    :param locks: the store's locks.
    :param flush: sends a dict of writes, and takes each write out that is done or lost. It puts the
        records of settled conflicts into a second dict. Its other arguments are whether
        any of the writes was sent before, and a logger.
    :param limit: the number of writes that are sent at a time, at most.
    :param acknowledged: called under `memory_lock` after each flush, with two arguments. The first
        lists the ids whose writes succeeded or lost a conflict, and for which no newer write waits.
        The second has the records that other processes changed.
    :param conflicts: decides about waiting writes whose documents other processes changed.
    :ivar lines: collects log lines about single jobs, for the end of a cycle or of a flush.
    :ivar failing: whether the last flush failed.
    """

    def __init__(
        self,
        locks: Locks,
        flush: Callable[[Writes, Records, bool, logging.Logger], None],
        limit: int,
        acknowledged: Callable[[list[DocumentId], Records], None],
        conflicts: Conflicts,
    ) -> None:
        self._locks = locks
        self._flush = flush
        self._limit = limit
        self._acknowledged = acknowledged
        self._conflicts = conflicts
        self.logger = logging.getLogger(__name__)
        self.lines = Summary()
        self._wake_flusher: Callable[[], None] | None = None  # where another thread flushes
        self.failing = False
        self._sending: Writes = {}
        self._waiting: Writes = {}
        self._waiting_since = self._sending_since = 0.0  # when the oldest of each was deferred
        self._bytes = 0  # of the waiting states
        self._timer: threading.Timer | None = None
        _instances.add(self)

    def flush_in_callers_thread(self) -> None:
        """Let the thread that defers a write also flush, or else a timer after a second."""
        self._wake_flusher = None

    def flush_in_other_thread(self, wake_flusher: Callable[[], None]) -> None:
        """Let another thread flush: once a second, and when `wake_flusher` is called."""
        self._wake_flusher = wake_flusher

    def request_flush(self) -> None:
        """Wake the flusher; without one, flush here, unless the last flush failed."""
        if self._wake_flusher:
            self._wake_flusher()
        elif not self.failing:  # else nothing is tried before the next cycle
            self.flush_if_possible()

    @property
    def has_pending(self) -> bool:
        """Whether any write is not settled."""
        # In the order in which writes move: none is in neither while another thread moves them.
        return bool(self._waiting) or bool(self._sending)

    @property
    def writes(self) -> Writes:
        """The writes that are not settled; of two writes of one document, the later one."""
        waiting = self._waiting.copy()  # first, as in `has_pending`
        return {**self._sending, **waiting}

    def status(self) -> tuple[int, float | None]:
        """Return the number of unsettled writes, and the age of the oldest in seconds."""
        with self._locks.memory_lock:
            count = len(self._sending.keys() | self._waiting.keys())
            since = self._sending_since if self._sending else self._waiting_since
            return count, time.monotonic() - since if count else None

    def forked(self) -> None:
        """Forget the deferred writes in a forked process: its parent writes them."""
        self._timer = None
        self.flush_in_callers_thread()
        self.forget()

    def forget(self) -> None:
        """Drop all writes."""
        self._sending, self._waiting = {}, {}
        self.failing = False
        self._bytes = 0

    def add(
        self, write: GuardedWrite | None, apply: Callable[[GuardedWrite], GuardedWrite | None]
    ) -> None:
        """Defer a write, if there is one; it replaces an earlier waiting write of its document.

        Requests a flush first if the write would bring the waiting states over 12 MB.

        :param apply: called first, under `memory_lock`; returns the write to defer, if any.
        """
        if write is None:
            return
        size = _size(write)
        if self._bytes + size > FLUSH_BYTES:
            self.request_flush()
        with self._locks.memory_lock:
            applied = apply(write)
            if applied is None:
                return
            if applied is not write:
                write, size = applied, _size(applied)
            waiting, job_id = self._waiting, write.record.id
            earlier = waiting.get(job_id)
            if earlier:  # was not sent, so the guard is the record that it was given
                write = write._replace(record=earlier.record)
            elif not waiting:
                self._waiting_since = time.monotonic()
            waiting[job_id] = write
            self._bytes += size - _size(earlier) if earlier else size
        if len(waiting) >= self._limit:
            self.request_flush()
        elif not self._wake_flusher and self._timer is None and not self.failing:
            self._start_timer()

    def _start_timer(self) -> None:
        timer = threading.Timer(FLUSH_SECONDS, self._flush_on_timer)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError as error:
            # Ctrl-C has interrupted `start`, or the process ends: then the cycle's end flushes.
            if isinstance(error.__context__, INTERRUPTS):
                raise error.__context__ from None
        else:
            self._timer = timer

    def flush(self) -> None:
        """Flush the writes that wait now; 1 command for each `limit` of them, 2 if jobs ended.

        Writes that other threads defer meanwhile wait for the next flush: else a flush might never
        end.

        :raises Exception: the error of the command that failed; the unsettled writes are kept.
        """
        with self._locks.io_lock:
            timer, self._timer = self._timer, None
            if timer:  # forgotten first: if Ctrl-C interrupts `cancel`, the next call may hang
                timer.cancel()
            started_at, remaining = time.monotonic(), len(self._waiting)
            while self._sending or (self._waiting and remaining > 0):
                sent_before = bool(self._sending)
                if not sent_before:
                    self._take_batch()
                    remaining -= len(self._sending)
                ids, changed = list(self._sending), Records()
                try:
                    self._flush(self._sending, changed, sent_before, self.logger)
                except BaseException:
                    self.failing = True
                    raise
                finally:
                    self._settle(ids, changed)
            self._waiting_since = max(self._waiting_since, started_at)
            self.failing = False

    def flush_if_possible(self) -> None:
        """Flush as `flush` does, but log an error instead of raising it."""
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
        """Flush as the process ends, unless another thread hangs in a write for a second."""
        io_lock = self._locks.io_lock
        if io_lock.acquire(timeout=FLUSH_SECONDS):
            try:
                self.flush_if_possible()
            finally:
                io_lock.release()

    def decide(self, write: GuardedWrite, stored: Record | None) -> GuardedWrite | None:
        """Return what remains of a write that was never sent; see `Conflicts.decide`."""
        return self._conflicts.decide(write, stored, self.lines, is_unsent=True)

    def _take_batch(self) -> None:
        """Move the first waiting writes to those being sent, as many as may be sent at a time."""
        with self._locks.memory_lock:
            size = 0
            self._sending_since = self._waiting_since
            # Copied first: Ctrl-C may interrupt the next line. A write sent twice applies once.
            if len(self._waiting) <= self._limit and self._bytes <= FLUSH_BYTES:
                self._sending |= self._waiting
                self._waiting.clear()
                self._bytes = 0
                return
            for job_id in list(islice(self._waiting, self._limit)):
                size += _size(self._waiting[job_id])
                if self._sending and size > FLUSH_BYTES:
                    break
                self._sending[job_id] = self._waiting[job_id]
                self._pop(job_id)

    def _pop(self, job_id: DocumentId) -> None:
        self._bytes -= _size(self._waiting.pop(job_id))

    def _settle(self, ids: list[DocumentId], changed: Records) -> None:
        """Acknowledge settled writes; others' changes win over newer waiting writes, too."""
        with self._locks.memory_lock:
            for job_id in changed.keys() & self._waiting.keys():
                remaining = self.decide(self._waiting[job_id], changed[job_id])
                self._pop(job_id)
                if remaining:
                    changed[job_id] = remaining.after
                    self._waiting[job_id] = remaining
                    self._bytes += _size(remaining)
            unsettled = self._sending.keys() | self._waiting.keys()
            settled = [job_id for job_id in ids if job_id not in unsettled]
            self._acknowledged(settled, changed)
        self.lines.log(self.logger)

    def _flush_on_timer(self) -> None:
        with self._locks.io_lock:
            self.request_flush()


_instances: "weakref.WeakSet[WriteBehind]" = weakref.WeakSet()


@atexit.register
def _flush_all_at_exit() -> None:
    for write_behind in list(_instances):
        write_behind.flush_at_exit()
