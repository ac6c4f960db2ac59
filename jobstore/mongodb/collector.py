"""The garbage collector, paused while many objects are made that stay.

Making many objects causes many collections. The more objects there are, the longer each takes, and
none of them finds garbage. At the end of a pause many new objects join the oldest generation at
once, as if collections had found no garbage: else the next collection would go through all of them.
That puts off the next full collection, so it is bounded: else garbage might stay for ever.
"""

import gc
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collector_paused"]

MIN_FROZEN = 1000  # frozen objects: Python 3.12 begins with some hundreds
MIN_NEW = 5_000  # new objects: of fewer the next collection takes no time
MAX_OBJECTS = 2_000_000  # that join the oldest generation between two full collections


class _Pauses:
    """Counts who has paused the collector: the first one stops it, the last one starts it again.

    A signal's handler may pause it in the middle of `begin` and `end`: so the lock is reentrant,
    and the collector is stopped after the count, and started before it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pauses: Counter[int] = Counter()  # by thread
        self._was_enabled = False
        self._full_collections = -1  # full ones, when `_quota` was set
        self._quota = 0  # how many objects may still join the oldest generation

    def begin(self) -> None:
        with self._lock:
            is_first = not self._pauses
            self._pauses[threading.get_ident()] += 1
            if is_first:
                self._was_enabled = gc.isenabled()
                gc.disable()

    def end(self) -> None:
        with self._lock:
            if self._pauses.total() == 1:
                self._resume()
            self._pauses -= Counter([threading.get_ident()])  # drops zeros

    def forked(self) -> None:
        """In a forked process only the thread that forked goes on."""
        self._lock = threading.RLock()  # another thread may have held it
        others = self._pauses.keys() - {threading.get_ident()}
        for thread in others:
            del self._pauses[thread]
        if others and not self._pauses:
            self._resume()

    def _resume(self) -> None:
        if self._was_enabled:
            self._promote_new_objects()
            gc.enable()

    def _promote_new_objects(self) -> None:
        """Let the new objects join the oldest generation, if they are many, and not too many.

        All generations begin to count anew then. So a full collection comes only after these have
        reached their bound, and it lets others follow.
        """
        new_objects = gc.get_count()[0]
        collections = gc.get_stats()[-1]["collections"]
        if collections != self._full_collections:
            self._full_collections, self._quota = collections, MAX_OBJECTS
        is_frozen = gc.get_freeze_count() >= MIN_FROZEN  # by a user: it is to stay so
        if MIN_NEW <= new_objects <= self._quota and not is_frozen:
            self._quota -= new_objects
            gc.freeze()
            gc.unfreeze()  # into the oldest generation; both take no time


_pauses = _Pauses()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pauses.forked)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the collector for all threads; one that is disabled already stays so.

    Only for a moment in which nothing waits: other threads' garbage stays meanwhile.
    """
    _pauses.begin()
    try:
        yield
    finally:
        _pauses.end()
