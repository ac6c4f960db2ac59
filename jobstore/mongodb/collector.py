"""The garbage collector, paused while many objects are made that stay.

Making many objects causes many collections. The more objects there are, the longer each takes, and
none of them finds garbage. At the end of a pause the new objects join the oldest generation at
once, as if collections had found no garbage: else the next collection would go through all of them.
"""

import gc
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collector_paused"]

FEW = 1000  # frozen objects: Python 3.12 begins with some hundreds


class _Pauses:
    """Counts who has paused the collector: the first one stops it, the last one starts it again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pauses: Counter[int] = Counter()  # by thread
        self._was_enabled = False

    def begin(self) -> None:
        with self._lock:
            if not self._pauses:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._pauses[threading.get_ident()] += 1

    def end(self) -> None:
        with self._lock:
            self._pauses -= Counter([threading.get_ident()])  # drops what is 0
            self._resume()

    def forked(self) -> None:
        """In a forked process only the thread that forked goes on."""
        self._lock = threading.Lock()  # another thread may have held it
        others = self._pauses.keys() - {threading.get_ident()}
        for thread in others:
            del self._pauses[thread]
        if others:
            self._resume()

    def _resume(self) -> None:
        if not self._pauses and self._was_enabled:
            if gc.get_freeze_count() < FEW:  # else a user has frozen objects, which are to stay so
                gc.freeze()
                gc.unfreeze()  # into the oldest generation; both take no time
            gc.enable()


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
