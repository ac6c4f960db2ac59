"""The writes that wait for the end of a cycle, and when they are flushed."""

import atexit
import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from .statements import Write

__all__ = ["Deferred"]

FLUSH_SECONDS = 1.0  # the longest that a write waits
FLUSH_BYTES = 12_000_000  # of states that wait


class Deferred:
    """Keeps one write for each id until they are flushed, and after a flush that failed.

    They are flushed when they are many, when they are large, when the first of them is a second
    old, when the process ends, and whenever the store wants it.

    :param flush: writes what is in the dict that it is given, and takes out what it has written.
    :param most: how many are written at a time.
    :ivar lock: the store's lock; whoever calls here holds it.
    :ivar failing: whether the last flush failed.
    """

    def __init__(self, flush: Callable[[dict[Any, Write]], None], most: int) -> None:
        self._flush = flush
        self._most = most
        self.logger = logging.getLogger(__name__)
        self.lock = threading.RLock()
        self.failing = False
        self.writes: dict[Any, Write] = {}
        self._bytes = 0
        self._timer: threading.Timer | None = None
        _all.add(self)

    def forget(self) -> None:
        """Drop all that waits."""
        self.writes.clear()
        self.failing = False
        self._bytes = 0

    def add(self, write: Write | None) -> None:
        """Defer a write, if there is one; an earlier one of the same document is merged into it."""
        if write is None:
            return
        size = len(write.state or b"")
        if self._bytes + size > FLUSH_BYTES:
            self._flush_now()
        earlier = self.writes.get(write.seen.id)
        if earlier:  # the document still is as it was seen then
            write = write._replace(seen=earlier.seen)
        self.writes[write.seen.id] = write
        self._bytes += size
        if len(self.writes) >= self._most:
            self._flush_now()
        elif self._timer is None and not self.failing:
            with contextlib.suppress(RuntimeError):  # no more threads: the cycle's end will do
                timer = threading.Timer(FLUSH_SECONDS, self._flush_late)
                timer.daemon = True
                timer.start()
                self._timer = timer

    def flush(self) -> None:
        """Write all; what could not be written stays, and the error is raised."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self.failing = bool(self.writes)
        if self.failing:
            try:
                self._flush(self.writes)
                self.failing = False
            finally:
                self._bytes = sum(len(write.state or b"") for write in self.writes.values())

    def flush_if_possible(self) -> None:
        """Write all; an error is logged."""
        try:
            self.flush()
        except Exception as error:
            count = len(self.writes)
            self.logger.warning("Unable to write %d jobs, to be tried again: %s", count, error)

    def _flush_now(self) -> None:
        if not self.failing:  # else nothing is tried before the next cycle
            self.flush_if_possible()

    def _flush_late(self) -> None:
        with self.lock:
            self._flush_now()


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
        deferred._timer = None
        deferred.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
