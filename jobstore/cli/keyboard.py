"""Single keys from a terminal, without the return key."""

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

try:
    import termios
    import tty
except ModuleNotFoundError:  # on Windows
    termios = None  # type: ignore[assignment]

__all__ = ["SUSPEND", "has_keys", "pressed_keys"]

SUSPEND = "\x1a"  # Ctrl-Z
END = "q"  # a keyboard that is gone ends the program, too
CONTROL = 6  # the place of the control characters in the settings


def has_keys() -> bool:
    """Whether single keys can be read from standard input."""
    return termios is not None and sys.stdin.isatty()


@contextmanager
def pressed_keys() -> Iterator[Callable[[float], str]]:
    """Yield a function that waits for keys, so many seconds at most, and returns them.

    The terminal shows no keys meanwhile. Ctrl-Z is a key, too, so that the caller can put the
    terminal in order before the process stops. Afterwards the terminal is as it was.
    """
    if not has_keys():
        yield wait
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)

    def keys(seconds: float) -> str:
        if not select.select([fd], [], [], seconds)[0]:
            return ""
        try:
            return os.read(fd, 1024).decode(errors="replace") or END
        except OSError:  # as Linux reports that the terminal is gone
            return END

    try:
        tty.setcbreak(fd)
        now = termios.tcgetattr(fd)
        now[CONTROL][termios.VSUSP] = os.fpathconf(fd, "PC_VDISABLE").to_bytes(1, "little")
        termios.tcsetattr(fd, termios.TCSADRAIN, now)
        yield keys
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)


def wait(seconds: float) -> str:
    """Wait for keys where there are none."""
    time.sleep(seconds)
    return ""
