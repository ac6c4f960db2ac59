"""A child process on a pseudo-terminal, and the screen that a person sees."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from contextlib import contextmanager

import pyte

from support.processes import PATIENCE

VARIABLES = "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"
ROWS = 200


class Terminal:
    """A process and its terminal output.

    :ivar text: all that the process has written, with control characters.
    """

    def __init__(self, process, master, width):
        self.process = process
        self.master = master
        self.width = width
        self.text = ""

    def read(self):
        """Read the next output. Return False at the end."""
        assert select.select([self.master], [], [], PATIENCE)[0], f"silent after: {self.text}"
        try:
            data = os.read(self.master, 65536)
        except OSError:  # how Linux reports that the other end is closed
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, pattern):
        while not re.search(pattern, self.text):
            assert self.read(), f"ended without {pattern!r}: {self.text}"

    def press(self, keys):
        os.write(self.master, keys.encode())

    def resize(self, width):
        self.width = width
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, width, 0, 0))

    @property
    def settings(self):
        """The settings of the terminal's line, such as whether it shows typed keys."""
        return termios.tcgetattr(self.master)

    def end(self):
        """Read to the end, and return the exit code."""
        while self.read():
            pass
        return self.process.wait(PATIENCE)

    @property
    def screen(self):
        """The screen of a real terminal that has got the output, without empty lines below."""
        screen = pyte.Screen(self.width, ROWS)
        stream = pyte.Stream(screen)
        stream.feed(self.text)
        return [line.rstrip() for line in "\n".join(screen.display).rstrip().split("\n")]

    @property
    def is_main_screen(self):
        """Whether the terminal shows its main screen, not the alternate one of a full display."""
        return self.text.rfind("\x1b[?1049h") <= self.text.rfind("\x1b[?1049l")

    @property
    def has_cursor(self):
        """Whether the cursor is shown."""
        return self.text.rfind("\x1b[?25l") <= self.text.rfind("\x1b[?25h")


@contextmanager
def on_terminal(command, width=80, **options):
    """Run a command on a terminal of so many columns.

    :param options: arguments of `Popen`, such as another `stderr`.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, width, 0, 0))
    defaults = {"stdin": slave, "stdout": slave, "stderr": slave}
    defaults["env"] = dict(os.environ)  # None would pass COLUMNS on, which readline may have set
    process = subprocess.Popen(command, start_new_session=True, **defaults | options)
    os.close(slave)
    try:
        yield Terminal(process, master, width)
    finally:
        process.kill()
        process.wait(PATIENCE)
        os.close(master)
