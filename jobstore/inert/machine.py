"""The machine that a pickle is a program for: its stack, and its memo of values."""

from typing import Any

from ..run_times import UnreadableError
from .values import Global, Inert, Items, Pairs

__all__ = ["MAX_STEPS", "Machine", "add_items", "add_pairs", "set_state", "text", "too_many_steps"]

MAX_STEPS = 1_000_000  # operations, of which the state of an ordinary job has 100 to 500
MAX_DIGITS = 4300  # of a decimal number, as in Python: see `sys.set_int_max_str_digits`


class Machine:
    """Reads the bytes of a pickle, and keeps its values.

    :param data: the pickle.
    :param seen: gets each `Global` and each `Inert` as it is made, and each state of an object.
    """

    def __init__(self, data: bytes, seen: list[Any] | None = None) -> None:
        self.data = data
        self.seen = seen
        self.at = 0  # the place of the next operation
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}

    def take(self, count: int) -> bytes:
        """Return the next bytes of the pickle, and move on."""
        start, self.at = self.at, self.at + count
        if count < 0 or self.at > len(self.data):
            raise IndexError
        return self.data[start : self.at]

    def number(self, size: int, signed: bool = False) -> int:
        """Read a number of that many bytes."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> bytes:
        """Read up to the end of a line."""
        return self.take(self.data.index(b"\n", self.at) + 1 - self.at)[:-1]

    def digits(self) -> bytes:
        """Read a line with a number."""
        line = self.line()
        if len(line) > MAX_DIGITS:
            raise UnreadableError(f"its state has a number of more than {MAX_DIGITS:,} digits")
        return line

    def push(self, value: Any) -> None:
        """Put a value onto the stack."""
        self.stack.append(value)

    def name(self, module: str, name: str) -> Global:
        """Name a class or a function."""
        named = Global(module, name)
        if self.seen is not None:
            self.seen.append(named)
        return named

    def call(self, func: Any, args: Any, keywords: Any = None) -> Inert:
        """Stand for a call."""
        made = Inert(func, args, keywords)
        if self.seen is not None:
            self.seen.append(made)
        return made

    def pop_mark(self) -> list[Any]:
        """Take all values above the last mark."""
        height = self.marks.pop()
        values = self.stack[height:]
        del self.stack[height:]
        return values


def text(value: Any) -> str:
    """Return a text unchanged.

    :raises TypeError: if it is none.
    """
    if type(value) is not str:
        raise TypeError(f"a {type(value).__name__} instead of a name")
    return value


def set_state(target: Any, state: Any) -> None:
    """Give an object its state."""
    if type(target) is not Inert:
        raise TypeError(f"a state for a {type(target).__name__}")
    target.state = state


def add_items(values: list[Any], target: Any) -> None:
    """Add items to a list, a set, or an object."""
    if type(target) is list or type(target) is Items:
        target += values
    elif type(target) is Inert:
        target.items += values
    else:
        raise TypeError(f"items for a {type(target).__name__}")


def add_pairs(values: list[Any], target: Any) -> None:
    """Add keys and values, in turn, to a dict or an object."""
    pairs = zip(values[::2], values[1::2], strict=True)
    if type(target) is Pairs:
        target += pairs
    elif type(target) is Inert:
        target.items += pairs
    else:
        raise TypeError(f"keys for a {type(target).__name__}")


def too_many_steps(max_steps: int) -> UnreadableError:
    """Return the error of a pickle with too many operations."""
    return UnreadableError(f"its state takes more than {max_steps:,} operations")
