"""Writes to stdout: with colours on a terminal, tab-separated and complete elsewhere."""

import json
import os
import shutil
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from .printable import BAR, ELLIPSIS, in_ascii

__all__ = ["Output", "Part", "PipeClosedError", "is_colourful"]

Part = str | tuple[str, str]  # a text, or a text and its style


class PipeClosedError(Exception):
    """The program that reads the output has closed it."""


def is_colourful(stream: TextIO) -> bool:
    """Whether a stream is a terminal, and may get colours and control characters."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def can_encode(text: str) -> bool:
    """Whether stdout has the characters of a text."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def plainer(part: Part) -> Part:
    """Return a part whose marks are ASCII."""
    return in_ascii(part) if isinstance(part, str) else (in_ascii(part[0]), part[1])


class Output:
    """Standard output.

    :ivar is_terminal: whether a person reads it; else a program does.
    :ivar width: the columns of the terminal.
    """

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self.width = shutil.get_terminal_size().columns
        self._is_ascii = not can_encode(ELLIPSIS + BAR)
        self._console = None
        if is_colourful(sys.stdout):
            self._console = Console(width=self.width, soft_wrap=True, highlight=False)

    def text(self, *parts: Part) -> Text:
        """Return a line of printable text, in characters that stdout has."""
        text = Text.assemble(*(map(plainer, parts) if self._is_ascii else parts))
        text.rstrip()
        return text

    def line(self, *parts: Part) -> None:
        """Write a line of printable text."""
        text = self.text(*parts)
        if self._console:
            self._console.print(text)
        else:
            write(text.plain)

    def record(self, values: Iterable[str]) -> None:
        """Write a line for a program: values between tabs."""
        write("\t".join(values))

    def json(self, value: Any) -> None:
        """Write a value as one line of JSON, in ASCII."""
        write(json.dumps(value, allow_nan=False))

    def flush(self) -> None:
        """Hand on all that was written.

        :raises PipeClosedError: if the reader has closed it.
        """
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            raise PipeClosedError from None


def write(line: str) -> None:
    """Write a line to stdout.

    :raises PipeClosedError: in place of `BrokenPipeError`, which typer would take for its own.
    """
    try:
        print(line)
    except BrokenPipeError:
        raise PipeClosedError from None
