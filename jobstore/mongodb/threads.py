"""Threads of a store, which see the same clock as its callers do when a test freezes it."""

import threading
from collections.abc import Callable

__all__ = ["daemon"]

FRAMES = 8


def daemon(target: Callable[[], None], name: str) -> threading.Thread:
    """Make a daemon thread that calls a function, some frames below `threading`.

    freezegun answers with the real clock where `threading` is among the last 5 frames, elsewhere
    with the frozen one. Nearer to it PyMongo would begin a time limit by the one clock and measure
    it by the other, and each command would time out.
    """
    return threading.Thread(target=_below, args=(target, FRAMES), name=name, daemon=True)


def _below(target: Callable[[], None], frames: int) -> None:
    if frames:
        _below(target, frames - 1)
    else:
        target()
