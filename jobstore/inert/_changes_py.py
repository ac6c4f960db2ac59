"""Follows a pickle's stack without its values: the Python twin of the compiled part.

A pickle can change an object that was there before: an operation that gives a state or items to a
class, a function, or the result of a call. `pickle.Unpickler` asks `find_class` for names only, so
these operations must be found before it runs. What is on the stack is one number each:

- `PLAIN`, a value that the pickle itself makes, which nobody else can hold;
- 2 k, the class or function that the pickle names at place k, counted from 0;
- 2 r + 1, the result of the call r of any of these;
- `UNKNOWN`, the result of a call of anything else.

A pickler gives each object one state. A second one could write through attributes of the first:
if that sets ``__dict__`` to a dict that others share, say.

Stack, marks and memo must always agree with CPython's `Modules/_pickle.c`: where they might not,
the pickle is refused. So is an operation that crosses the end of its frame: of a file, such an
unpickler skips bytes there that it reads of bytes.
"""

import pickle
import sys
from collections.abc import Callable

from ..run_times import UnreadableError
from .refused import RefusedError

__all__ = ["changes"]

PLAIN, UNKNOWN = -1, -2
HIGHEST_PROTOCOL = 5
MAX_DIGITS = 20  # of a place in the memo
END = sys.maxsize  # of the frame that an operation outside of all frames is in


def changes(data: bytes) -> bytes:
    """Return a byte for each class and function that a pickle names, in order; O(length).

    The byte is 1 if the pickle gives a state or items to the result of a call of it, else 0.

    :raises RefusedError: if it gives any to the class or the function itself, or to the result of a
        result; if it gives an object two states; if it names a class by an extension code.
    :raises UnreadableError: if it is damaged.
    """
    follower = Follower(data)
    try:
        while follower.at >= 0:
            if follower.at >= follower.frame_end:
                follower.frame_end = END
            op = data[follower.at]
            follower.at += 1
            STEPS[op](follower)
            if follower.at > follower.frame_end:  # an unpickler would drop the frame's rest
                raise IndexError
    except (IndexError, KeyError, ValueError):
        raise UnreadableError("its state is truncated or damaged") from None
    return bytes(follower.changed)


class Follower:
    """The stack of a pickle, its marks, and its memo."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0  # the place of the next operation; -1 after the last one
        self.frame_end = END
        self.stack: list[int] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, int] = {}
        self.changed = bytearray()  # a flag for each class and function
        self.results: list[int] = []  # for each call, the place of the callee
        self.has_state: list[bool] = []  # for each call, whether its result has got a state

    def skip(self, count: int) -> None:
        """Move over bytes."""
        if count > len(self.data) - self.at:
            raise IndexError
        self.at += count

    def number(self, size: int) -> int:
        """Read a number of that many bytes; a negative length is larger than any data."""
        self.skip(size)
        return int.from_bytes(self.data[self.at - size : self.at], "little")

    def line(self) -> bytes:
        """Read up to the end of a line."""
        start, end = self.at, self.data.index(b"\n", self.at)
        self.at = end + 1
        return self.data[start:end]

    def place(self) -> int:
        """Read a line with a place in the memo."""
        line = self.line()
        if not line.isdigit() or len(line) > MAX_DIGITS:
            raise ValueError
        return int(line)

    def top(self) -> int:
        """Return the uppermost value above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise IndexError
        return self.stack[-1]

    def pop(self) -> int:
        """Take the uppermost value above the last mark."""
        self.top()
        return self.stack.pop()

    def pop_mark(self) -> None:
        """Take all values above the last mark, and the mark."""
        del self.stack[self.marks.pop() :]

    def push(self, value: int = PLAIN) -> None:
        """Put a value onto the stack."""
        self.stack.append(value)

    def name(self) -> None:
        """Put the next class or function onto the stack."""
        self.push(2 * len(self.changed))
        self.changed.append(0)

    def call(self) -> None:
        """Replace a class or function by the result of its call."""
        func = self.pop()
        if func < 0 or func % 2:
            self.push(UNKNOWN)
        else:
            self.push(2 * len(self.results) + 1)
            self.results.append(func // 2)
            self.has_state.append(False)

    def change(self) -> None:
        """Give a state or items to the uppermost value."""
        target = self.top()
        if target == UNKNOWN:
            raise RefusedError("its state changes the result of a call that has no name")
        if target >= 0:
            if target % 2 == 0:
                raise RefusedError("its state changes a class or a function")
            self.changed[self.results[target // 2]] = 1


def stop(it: Follower) -> None:
    it.pop()
    it.at = -1


def pop(it: Follower) -> None:
    if it.marks and it.marks[-1] == len(it.stack):
        it.marks.pop()
    else:
        it.pop()


def take(count: int, then: Callable[[Follower], None]) -> Callable[[Follower], None]:
    """Return a step that takes values, and then does another step."""

    def step(it: Follower) -> None:
        for _ in range(count):
            it.pop()
        then(it)

    return step


def take_mark(then: Callable[[Follower], None]) -> Callable[[Follower], None]:
    """Return a step that takes the values above a mark, and then does another step."""

    def step(it: Follower) -> None:
        it.pop_mark()
        then(it)

    return step


def build(it: Follower) -> None:
    it.pop()
    target = it.top()
    if target == PLAIN:
        raise ValueError  # no value of a builtin class takes a state
    it.change()
    if it.has_state[target // 2]:
        raise RefusedError("its state gives an object two states")
    it.has_state[target // 2] = True


def call_first(it: Follower) -> None:
    """Call the first value above a mark with the others."""
    height = it.marks[-1]
    func = it.stack[height]
    it.pop_mark()
    it.push(func)
    it.call()


def call_named(it: Follower) -> None:
    """Call a class that stands in the operation itself."""
    it.pop_mark()
    it.line()
    it.line()
    it.name()
    it.call()


def name_in_lines(it: Follower) -> None:
    it.line()
    it.line()
    it.name()


def check_protocol(it: Follower) -> None:
    protocol = it.number(1)
    if protocol > HIGHEST_PROTOCOL:
        raise UnreadableError(f"its state has the pickle protocol {protocol}")


def put(it: Follower, place: int) -> None:
    if place > len(it.data):  # no pickler leaves places out, and each takes memory
        raise ValueError
    it.memo[place] = it.top()


def refuse(
    reason: str, error: type[UnreadableError] = UnreadableError
) -> Callable[[Follower], None]:
    def step(it: Follower) -> None:
        raise error(reason)

    return step


def push_after(size: int) -> Callable[[Follower], None]:
    """Return a step that moves over bytes, and pushes their value."""

    def step(it: Follower) -> None:
        it.skip(size)
        it.push()

    return step


def push_counted(size: int) -> Callable[[Follower], None]:
    """Return a step that moves over bytes whose number stands before them."""

    def step(it: Follower) -> None:
        it.skip(it.number(size))
        it.push()

    return step


def begin_frame(it: Follower) -> None:
    if it.frame_end != END:
        raise ValueError
    length = it.number(8)
    end = it.at + length
    if end > len(it.data):
        raise IndexError
    it.frame_end = end


def push_line(it: Follower) -> None:
    it.line()
    it.push()


EXTENSION = refuse(
    "its state names a class by an extension code, which allow can't check", RefusedError
)
ELSEWHERE = refuse("its state has a persistent id or a buffer, which no scheduler can load")
NAMED: dict[str, Callable[[Follower], None]] = {
    **dict.fromkeys(("NONE", "NEWTRUE", "NEWFALSE"), push_after(0)),
    **dict.fromkeys(("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET"), push_after(0)),
    "BININT1": push_after(1),
    "BININT2": push_after(2),
    "BININT": push_after(4),
    "BINFLOAT": push_after(8),
    **dict.fromkeys(("SHORT_BINUNICODE", "SHORT_BINBYTES", "LONG1"), push_counted(1)),
    **dict.fromkeys(("BINUNICODE", "BINBYTES", "LONG4"), push_counted(4)),
    **dict.fromkeys(("BINUNICODE8", "BINBYTES8", "BYTEARRAY8"), push_counted(8)),
    "SHORT_BINSTRING": push_counted(1),
    "BINSTRING": push_counted(4),
    **dict.fromkeys(("INT", "LONG", "FLOAT", "STRING", "UNICODE"), push_line),
    **{f"TUPLE{count}": take(count, Follower.push) for count in (1, 2, 3)},
    **dict.fromkeys(("TUPLE", "LIST", "DICT", "FROZENSET"), take_mark(Follower.push)),
    "MARK": lambda it: it.marks.append(len(it.stack)),
    "POP": pop,
    "POP_MARK": Follower.pop_mark,
    "DUP": lambda it: it.push(it.top()),
    "MEMOIZE": lambda it: put(it, len(it.memo)),
    "PUT": lambda it: put(it, it.place()),
    "BINPUT": lambda it: put(it, it.number(1)),
    "LONG_BINPUT": lambda it: put(it, it.number(4)),
    "GET": lambda it: it.push(it.memo[it.place()]),
    "BINGET": lambda it: it.push(it.memo[it.number(1)]),
    "LONG_BINGET": lambda it: it.push(it.memo[it.number(4)]),
    "GLOBAL": name_in_lines,
    "STACK_GLOBAL": take(2, Follower.name),
    "INST": call_named,
    "OBJ": call_first,
    **dict.fromkeys(("NEWOBJ", "REDUCE"), take(1, Follower.call)),
    "NEWOBJ_EX": take(2, Follower.call),
    "BUILD": build,
    "APPEND": take(1, Follower.change),
    "SETITEM": take(2, Follower.change),
    **dict.fromkeys(("APPENDS", "SETITEMS", "ADDITEMS"), take_mark(Follower.change)),
    "PROTO": check_protocol,
    "FRAME": begin_frame,
    "STOP": stop,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), EXTENSION),
    **dict.fromkeys(("PERSID", "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER"), ELSEWHERE),
}
BY_CODE = {getattr(pickle, name)[0]: step for name, step in NAMED.items()}
STEPS = [BY_CODE.get(byte, refuse("its state is no pickle")) for byte in range(256)]
