"""Pauses the garbage collector while many lasting objects are made.

Making many objects causes many collections. Each takes longer, the more objects there are, and
none finds garbage. At the end of a pause, many new objects move to the oldest generation at once,
as if collections had found no garbage. Otherwise the next collection would visit all of them. Each
move postpones the next full collection, so the moved objects are bounded: otherwise garbage might
stay forever. The collector of a free-threaded build has no generations, so nothing moves there.
"""

import gc
import os
import sysconfig
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collector_paused"]

HAS_GENERATIONS = not sysconfig.get_config_var("Py_GIL_DISABLED")
MIN_FROZEN = 1000  # with so many frozen objects, a user has frozen some; Python 3.12 has hundreds
MIN_NEW = 5_000  # with fewer new objects, the next collection is quick
MAX_OBJECTS = 2_000_000  # moved to the oldest generation between two full collections


class _Pauses:
    """Counts the pauses under way: the first one disables the collector, the last one enables it.

    A signal handler may run within `begin` or `end`, and pause the collector, too. So the lock is
    reentrant. `begin` counts before it disables, and `end` enables before it counts.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pauses: Counter[int] = Counter()  # by thread
        self._was_enabled = False
        self._full_collections = -1  # full collections so far, when `_quota` was set
        self._quota = 0  # objects that may still move to the oldest generation

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
        """After a fork, drop the pauses of threads that the child doesn't have."""
        self._lock = threading.RLock()  # another thread may have held it
        others = self._pauses.keys() - {threading.get_ident()}
        for thread in others:
            del self._pauses[thread]
        if others and not self._pauses:
            self._resume()

    def _resume(self) -> None:
        if self._was_enabled:
            if HAS_GENERATIONS:
                self._promote_new_objects()
            gc.enable()

    def _promote_new_objects(self) -> None:
        """Move the new objects to the oldest generation, if they are many, but within the quota.

        That resets the counts of all generations, so it postpones the next full collection. Each
        full collection renews the quota.
        """
        new_objects = gc.get_count()[0]
        collections = gc.get_stats()[-1]["collections"]
        if collections != self._full_collections:
            self._full_collections, self._quota = collections, MAX_OBJECTS
        is_frozen = gc.get_freeze_count() >= MIN_FROZEN  # a user's frozen objects must stay frozen
        if MIN_NEW <= new_objects <= self._quota and not is_frozen:
            self._quota -= new_objects
            gc.freeze()
            gc.unfreeze()  # moves all objects to the oldest generation; both calls are quick


_pauses = _Pauses()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pauses.forked)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the collector for all threads; a collector that was disabled stays so.

    Use it only where nothing waits: the garbage of other threads stays meanwhile.
    """
    _pauses.begin()
    try:
        yield
    finally:
        _pauses.end()
