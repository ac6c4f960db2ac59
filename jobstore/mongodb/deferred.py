"""The writes that wait for the end of a cycle, and when they are flushed."""

import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from .documents import Seen
from .statements import Write

__all__ = ["Deferred"]

FLUSH_SECONDS = 1.0  # the longest that a write waits
FLUSH_BYTES = 12_000_000  # of states that wait

Writes = dict[Any, Write]
Found = dict[Any, Seen | None]


class Deferred:
    """Keeps one write for each id until they are flushed, and after a flush that failed.

    They are flushed when they are many, when they are large, when the first of them is a second
    old, when the process ends, and whenever the store wants it. Those of a flush that failed may
    be written or not: they are kept apart, and are settled before what was deferred since.

    :param flush: writes what is in the dict that it is given, and takes out what it has written;
        returns what it has found stored instead. It is told whether any of it was sent before.
    :param most: how many are written at a time.
    :ivar lock: the store's lock, which is held while anything is written by the store.
    :ivar short: the lock of what is in memory; nothing that waits is done under it.
    :ivar soon: lets what is full be flushed; the caller's thread does it, or one of the store's.
    :ivar settled: is told, under `short`, the ids of what is written or lost to others' changes,
        and not deferred anew, and what was found stored instead.
    :ivar failing: whether the last flush failed.
    """

    def __init__(self, flush: Callable[[Writes, bool], Found], most: int) -> None:
        self._flush = flush
        self._most = most
        self.logger = logging.getLogger(__name__)
        self.lock = threading.RLock()
        self.short = threading.RLock()
        self.in_callers_thread()
        self.settled: Callable[[list[Any], Found], None] | None = None
        self.failing = False
        self._sending: Writes = {}
        self._waiting: Writes = {}
        self._since = self._sending_since = 0.0  # when the first of each was deferred
        self._bytes = 0
        self._timer: threading.Timer | None = None
        _all.add(self)

    def in_callers_thread(self) -> None:
        """Let whoever defers flush, when it is time."""
        self.soon = self._flush_unless_failing

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
        with self.short:
            count = len(self._sending.keys() | self._waiting.keys())
            since = self._sending_since if self._sending else self._since
            return count, time.monotonic() - since if count else None

    def forget(self) -> None:
        """Drop all that waits."""
        self._sending, self._waiting = {}, {}
        self.failing = False
        self._bytes = 0

    def add(self, write: Write | None, foresee: Callable[[Write], Write | None]) -> None:
        """Defer a write, if there is one; an earlier one of the same document is merged into it.

        :param foresee: is told it first, under `short`; returns what is to be written, if anything.
        """
        if write and self._bytes + len(write.state or b"") > FLUSH_BYTES:
            self.soon()
        with self.short:
            write = write and foresee(write)
            if write is None:
                return
            earlier = self._waiting.get(write.seen.id)
            if earlier:  # the document still is as it was seen then
                write = write._replace(seen=earlier.seen)
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting[write.seen.id] = write
            self._bytes += len(write.state or b"")
        if len(self._waiting) >= self._most:
            self.soon()
        elif self._timer is None and not self.failing:
            with contextlib.suppress(RuntimeError):  # no more threads: the cycle's end will do
                timer = threading.Timer(FLUSH_SECONDS, self._flush_late)
                timer.daemon = True
                timer.start()
                self._timer = timer

    def flush(self) -> None:
        """Write all; what could not be written stays, and the error is raised."""
        with self.lock:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            while self.waits:
                self.failing = True
                sent_before = bool(self._sending)
                if not sent_before:
                    self._take()
                ids, theirs = list(self._sending), {}
                try:
                    theirs = self._flush(self._sending, sent_before)
                finally:
                    self._note(ids, theirs)
            self.failing = False

    def flush_if_possible(self) -> None:
        """Write all; an error is logged."""
        try:
            self.flush()
        except Exception as error:
            count = len(self.writes)
            self.logger.warning("Unable to write %d jobs, to be tried again: %s", count, error)

    def _take(self) -> None:
        """Begin with the first of what waits; no more at a time than may be sent at a time."""
        with self.short:
            size = 0
            self._sending_since = self._since
            for job_id in list(self._waiting):
                write = self._waiting[job_id]
                size += len(write.state or b"")
                if self._sending and (size > FLUSH_BYTES or len(self._sending) >= self._most):
                    break
                self._sending[job_id] = self._waiting.pop(job_id)

    def _note(self, ids: list[Any], theirs: Found) -> None:
        with self.short:
            if self.settled:
                ours = (self._sending, self._waiting)
                through = [each for each in ids if not any(each in some for some in ours)]
                self.settled(through, theirs)
            left = [*self._sending.values(), *self._waiting.values()]
            self._bytes = sum(len(write.state or b"") for write in left)

    def _flush_unless_failing(self) -> None:
        if not self.failing:  # else nothing is tried before the next cycle
            self.flush_if_possible()

    def _flush_late(self) -> None:
        with self.lock:
            self.soon()


_all: "weakref.WeakSet[Deferred]" = weakref.WeakSet()


@atexit.register
def _flush_all() -> None:
    for deferred in list(_all):
        if deferred.lock.acquire(timeout=FLUSH_SECONDS):  # a thread may hang in a write
            try:
                deferred.flush_if_possible()
            finally:
                deferred.lock.release()


def _forget_all() -> None:
    """In a forked process: what was deferred is its parent's to write, and has no thread here."""
    for deferred in list(_all):
        deferred.lock = threading.RLock()  # another thread may have held it
        deferred.short = threading.RLock()
        deferred._timer = None
        deferred.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
