"""The operations of a pickle that ordinary states have rarely."""

import pickle
from codecs import escape_decode, raw_unicode_escape_decode  # which import no `encodings`
from collections.abc import Callable
from struct import unpack
from typing import Any

from ..run_times import UnreadableError
from .machine import Machine, add_items, add_pairs
from .values import FrozenItems, Items, Pairs

__all__ = ["RARE", "code"]

HIGHEST_PROTOCOL = 5


def code(name: str) -> int:
    """Return the byte of an operation."""
    byte: bytes = getattr(pickle, name)
    return byte[0]


def to_pairs(values: list[Any]) -> Pairs:
    """Make a dict of keys and values, in turn."""
    pairs = Pairs()
    add_pairs(values, pairs)
    return pairs


def check_protocol(machine: Machine) -> None:
    protocol = machine.number(1)
    if protocol > HIGHEST_PROTOCOL:
        raise UnreadableError(f"its state has the pickle protocol {protocol}")


def whole_number(line: bytes) -> int | bool:
    """Convert the text of an int; protocols 0 and 1 write True and False as 01 and 00."""
    return line == b"01" if line in (b"00", b"01") else int(line)


def quoted(line: bytes) -> str:
    """Return a text between quotes, as Python 2 wrote it.

    Its escapes are read as by an unpickler: they could hide the name of a class.
    """
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("a text without quotes")
    if b"\\" not in line:
        return line[1:-1].decode("latin-1")
    try:
        unescaped: bytes = escape_decode(line[1:-1])[0]
    except Warning:  # an escape that means nothing, where warnings are errors
        raise ValueError("a text with a wrong escape") from None
    return unescaped.decode("latin-1")


def unicode_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def pop(machine: Machine) -> None:
    if machine.marks and machine.marks[-1] == len(machine.stack):
        machine.marks.pop()
    else:
        machine.stack.pop()


def put(machine: Machine, place: int) -> None:
    machine.memo[place] = machine.stack[-1]


def tuple_of(machine: Machine, count: int) -> None:
    values = machine.stack[-count:]
    if len(values) < count:
        raise IndexError
    machine.stack[-count:] = [tuple(values)]


def call(machine: Machine, func: Any, args: list[Any]) -> None:
    machine.push(machine.call(func, tuple(args)))


def make_object(machine: Machine) -> None:
    func, *args = machine.pop_mark()
    call(machine, func, args)


def new_with_keywords(machine: Machine) -> None:
    keywords, args = machine.stack.pop(), machine.stack.pop()
    machine.stack[-1] = machine.call(machine.stack[-1], args, keywords)


def extension(machine: Machine, size: int) -> None:
    """Name a class by its number in `copyreg`, where any process may have registered another."""
    machine.push(machine.name("copyreg", f"extension {machine.number(size, signed=size == 4)}"))


def refuse(kind: str) -> Callable[[Machine], None]:
    def raises(machine: Machine) -> None:
        raise UnreadableError(f"its state has {kind}, which no scheduler can load")

    return raises


def unknown(machine: Machine) -> None:
    raise UnreadableError("its state is no pickle")


OPERATIONS: dict[str, Callable[[Machine], object]] = {
    "PROTO": check_protocol,
    "FRAME": lambda it: it.take(8),
    "NEWTRUE": lambda it: it.push(True),
    "NEWFALSE": lambda it: it.push(False),
    "BININT": lambda it: it.push(it.number(4, signed=True)),
    "BININT2": lambda it: it.push(it.number(2)),
    "LONG1": lambda it: it.push(it.number(it.number(1), signed=True)),
    "LONG4": lambda it: it.push(it.number(it.number(4, signed=True), signed=True)),
    "INT": lambda it: it.push(whole_number(it.digits())),
    "LONG": lambda it: it.push(int(it.digits().removesuffix(b"L"))),
    "FLOAT": lambda it: it.push(float(it.digits())),
    "BINFLOAT": lambda it: it.push(unpack(">d", it.take(8))[0]),
    "SHORT_BINBYTES": lambda it: it.push(it.take(it.number(1))),
    "BINBYTES": lambda it: it.push(it.take(it.number(4))),
    "BINBYTES8": lambda it: it.push(it.take(it.number(8))),
    "BYTEARRAY8": lambda it: it.push(bytearray(it.take(it.number(8)))),
    "BINUNICODE": lambda it: it.push(unicode_text(it.take(it.number(4)))),
    "BINUNICODE8": lambda it: it.push(unicode_text(it.take(it.number(8)))),
    "UNICODE": lambda it: it.push(raw_unicode_escape_decode(it.line())[0]),
    "STRING": lambda it: it.push(quoted(it.line())),
    "SHORT_BINSTRING": lambda it: it.push(it.take(it.number(1)).decode("latin-1")),
    "BINSTRING": lambda it: it.push(it.take(it.number(4, signed=True)).decode("latin-1")),
    "EMPTY_SET": lambda it: it.push(Items()),
    "TUPLE1": lambda it: tuple_of(it, 1),
    "TUPLE3": lambda it: tuple_of(it, 3),
    "TUPLE": lambda it: it.push(tuple(it.pop_mark())),
    "LIST": lambda it: it.push(it.pop_mark()),
    "DICT": lambda it: it.push(to_pairs(it.pop_mark())),
    "FROZENSET": lambda it: it.push(FrozenItems(it.pop_mark())),
    "APPENDS": lambda it: add_items(it.pop_mark(), it.stack[-1]),
    "ADDITEMS": lambda it: add_items(it.pop_mark(), it.stack[-1]),
    "POP": pop,
    "POP_MARK": lambda it: it.pop_mark(),
    "DUP": lambda it: it.push(it.stack[-1]),
    "GET": lambda it: it.push(it.memo[int(it.digits())]),
    "LONG_BINGET": lambda it: it.push(it.memo[it.number(4)]),
    "PUT": lambda it: put(it, int(it.digits())),
    "BINPUT": lambda it: put(it, it.number(1)),
    "LONG_BINPUT": lambda it: put(it, it.number(4)),
    "GLOBAL": lambda it: it.push(it.name(it.line().decode(), it.line().decode())),
    "INST": lambda it: call(it, it.name(it.line().decode(), it.line().decode()), it.pop_mark()),
    "OBJ": make_object,
    "NEWOBJ_EX": new_with_keywords,
    "EXT1": lambda it: extension(it, 1),
    "EXT2": lambda it: extension(it, 2),
    "EXT4": lambda it: extension(it, 4),
    "PERSID": refuse("a persistent id"),
    "BINPERSID": refuse("a persistent id"),
    "NEXT_BUFFER": refuse("a buffer out of band"),
    "READONLY_BUFFER": refuse("a buffer out of band"),
}
BY_CODE = {code(name): operation for name, operation in OPERATIONS.items()}
RARE = [BY_CODE.get(byte, unknown) for byte in range(256)]
