"""The threads of a store, which see a frozen clock in tests as their callers do; their signals."""

import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["ReentrantEvent", "StopSignal", "daemon"]

EXTRA_FRAMES = 8


def daemon(target: Callable[[], None], name: str) -> threading.Thread:
    """Make a daemon thread that calls a function, some frames below `threading`.

    freezegun gives the real time where `threading` is among the last 5 frames, and the frozen time
    elsewhere. With fewer frames, PyMongo would start a time limit by one of these clocks and
    measure it by the other. Each command would time out.
    """
    return threading.Thread(
        target=_call_deeper, args=(target, EXTRA_FRAMES), name=name, daemon=True
    )


def _call_deeper(target: Callable[[], None], frames: int) -> None:
    if frames:
        _call_deeper(target, frames - 1)
    else:
        target()


class ReentrantEvent:
    """An event for one thread whose `set` a signal handler may call while it interrupts another.

    `threading.Event` would deadlock: `set` takes a lock, which the interrupted call holds. The
    event is a lock that is free while the event is set. It is no `SimpleQueue`: before Python 3.13,
    `get` waits for ever if its time ends before it begins to wait, or while it is interrupted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the waiting thread."""
        if self._lock.locked():
            with suppress(RuntimeError):  # another `set` was faster
                self._lock.release()

    def is_set(self) -> bool:
        """Whether the event was set and not yet cleared."""
        return not self._lock.locked()

    def wait_and_clear(self, seconds: float) -> None:
        """Wait until the event is set, at most so many seconds, and clear it."""
        self._lock.acquire(timeout=seconds)


class StopSignal:
    """Tells one thread to end; a signal handler may set it as it may set a `ReentrantEvent`."""

    def __init__(self) -> None:
        self._is_set = False
        self._event = ReentrantEvent()

    def set(self) -> None:
        """Tell the thread to end."""
        self._is_set = True
        self._event.set()

    def is_set(self) -> bool:
        """Whether the thread has to end."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Wait at most so many seconds, and return whether it is set; for the thread itself."""
        if not self._is_set:
            self._event.wait_and_clear(seconds)
        return self._is_set
