"""The threads of a store, which see a frozen clock in tests as their callers do."""

import threading
from collections.abc import Callable

__all__ = ["daemon"]

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
