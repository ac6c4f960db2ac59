"""Bounded texts of inert and of live values; no code of users is called."""

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from itertools import islice
from types import BuiltinFunctionType, FunctionType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from .plain import Zoned, args_of, class_of, named, plain, state_of, zone_key
from .values import FrozenItems, Global, Inert, Items, Pairs

__all__ = ["CUT", "MAX_TEXT", "cut", "is_standard", "text_of"]

MAX_TEXT = 500  # characters
MAX_DEPTH = 8  # of containers in each other
MAX_BITS = 1000  # of a whole number that is shown in digits
CUT = "…"
# Classes whose `repr` calls nothing but themselves, and is short.
SHORT = {bool, type(None), float, complex, date, timedelta, Decimal, UUID, timezone, ZoneInfo}


def text_of(value: Any, limit: int = MAX_TEXT) -> str:
    """Return at most `limit` characters of a value's `repr`, and "…" if it is longer; O(limit).

    The texts of objects of other than well-known classes name their class, and the arguments and
    the state of inert ones.

    >>> text_of([1, "two", {"three": 3.0}])
    "[1, 'two', {'three': 3.0}]"
    """
    writer = Writer(limit)
    writer.write(value, 0)
    return cut("".join(writer.parts), limit)


def cut(text: str, limit: int = MAX_TEXT) -> str:
    """Return at most `limit` characters of a text, and "…" if it is longer."""
    return text if len(text) <= limit else text[:limit] + CUT


class Writer:
    """Collects the parts of a text, until they exceed the limit."""

    def __init__(self, limit: int) -> None:
        self.parts: list[str] = []
        self.left = limit

    def add(self, part: str) -> None:
        self.parts.append(part)
        self.left -= len(part)

    def write(self, value: Any, depth: int) -> None:
        """Add the text of a value."""
        value = plain(value)
        cls = type(value)
        if cls is str or cls is bytes:
            # One character more than there is room for: then the text is longer, and gets cut.
            self.add(repr(value[: max(self.left, 0) + 1]))
        elif cls is int:
            self.add(repr(value) if value.bit_length() <= MAX_BITS else huge(value))
        elif type(cls) is not type:  # to look it up would call the metaclass
            self.add(name_of(value, cls))
        elif cls in SHORT:
            self.add(repr(value))
        elif depth > MAX_DEPTH:
            self.add(CUT)
        elif cls in WRITERS:
            WRITERS[cls](self, value, depth + 1)
        else:
            self.add(name_of(value, cls))

    def write_all(self, values: Iterable[Any], depth: int) -> None:
        """Add the texts of values, with commas between them."""
        for place, value in enumerate(values):
            if self.left < 0:
                return
            if place:
                self.add(", ")
            self.write(value, depth)

    def write_pairs(self, pairs: Iterable[tuple[Any, Any]], depth: int) -> None:
        """Add the texts of keys and values."""
        for place, (key, value) in enumerate(pairs):
            if self.left < 0:
                return
            if place:
                self.add(", ")
            self.write(key, depth)
            self.add(": ")
            self.write(value, depth)

    def write_sequence(self, value: Iterable[Any], depth: int) -> None:
        """Add the text of a list, a tuple or a set, live or inert."""
        before, after = BRACKETS[type(value)]
        items = list(islice(value, MAX_TEXT)) if isinstance(value, set | frozenset) else value
        if not items and before[-1:] == "{":
            before, after = before[:-1] or "set(", ")"
        self.add(before)
        self.write_all(items, depth)
        self.add(",)" if type(items) is tuple and len(items) == 1 else after)

    def write_dict(self, value: dict[Any, Any], depth: int) -> None:
        self.add("{")
        self.write_pairs(list(islice(value.items(), MAX_TEXT)), depth)
        self.add("}")

    def write_inert_dict(self, value: Pairs, depth: int) -> None:
        self.add("{")
        self.write_pairs(value, depth)
        self.add("}")

    def write_bytearray(self, value: bytearray, depth: int) -> None:
        self.add("bytearray(")
        self.write(bytes(value[: max(self.left, 0) + 1]), depth)
        self.add(")")

    def write_time(self, value: datetime | time, depth: int) -> None:
        """Add the text of a live time, whose zone may be of any class."""
        if is_standard(value.tzinfo):
            self.add(repr(value))
        else:
            self.write_zoned(value.replace(tzinfo=None), value.tzinfo, depth)

    def write_inert_time(self, value: Zoned, depth: int) -> None:
        self.write_zoned(value.wall_time, value.zone, depth)

    def write_zoned(self, wall_time: datetime | time, zone: Any, depth: int) -> None:
        self.add(f"{repr(wall_time)[:-1]}, tzinfo=")
        self.write(zone, depth)
        self.add(")")

    def write_inert(self, value: Inert, depth: int) -> None:
        """Add the text of an object that was not made: its class, arguments, state and items."""
        key, cls = zone_key(value), class_of(value)
        if key is not None:
            self.add(f"zoneinfo.ZoneInfo(key={key[:MAX_TEXT]!r})")
            return
        self.write(value.func if cls is None else cls, depth)
        self.add("(")
        is_first = True
        if args := args_of(value):
            self.write_all(args, depth)
            is_first = False
        attributes = state_of(value)
        if value.state and not attributes:
            attributes = {"state": value.state}  # in a form of the class's own
        for name, each in attributes.items():
            if self.left < 0:
                return
            self.add(f"{'' if is_first else ', '}{name[:MAX_TEXT]}=")
            self.write(each, depth)
            is_first = False
        if value.items:
            self.add("" if is_first else ", ")
            self.write(value.items, depth)
        self.add(")")

    def write_global(self, value: Global, depth: int) -> None:
        module, name = named(value)
        self.add(f"{module[:MAX_TEXT]}.{name[:MAX_TEXT]}")


BRACKETS = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    Items: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    FrozenItems: ("frozenset({", "})"),
}
WRITERS: dict[type, Any] = {
    **dict.fromkeys(BRACKETS, Writer.write_sequence),
    dict: Writer.write_dict,
    Pairs: Writer.write_inert_dict,
    bytearray: Writer.write_bytearray,
    datetime: Writer.write_time,
    time: Writer.write_time,
    Zoned: Writer.write_inert_time,
    Inert: Writer.write_inert,
    Global: Writer.write_global,
}


def is_standard(zone: tzinfo | None) -> bool:
    """Whether the zone is None or Python's own, whose `str` and `repr` call nothing else."""
    return zone is None or type(zone) is timezone or type(zone) is ZoneInfo


def huge(number: int) -> str:
    """Stand for a number that takes long to write in digits."""
    return f"<a number of {number.bit_length():,} bits>"


def name_of(value: Any, cls: type) -> str:
    """Name a live function or class, or the class of any other live object."""
    if issubclass(cls, type):
        return name_of_class(value)
    if cls is FunctionType or cls is BuiltinFunctionType:
        return f"{value.__module__}.{value.__qualname__}"
    return f"<{name_of_class(cls)}>"


def name_of_class(cls: type) -> str:
    """Name a live class, without code of its metaclass."""
    module, name = (type.__getattribute__(cls, key) for key in ("__module__", "__qualname__"))
    return f"{module}.{name}" if isinstance(module, str) else str(name)
