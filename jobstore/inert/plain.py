"""Makes plain values of inert ones, where the class is one of a short list of data classes."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from .values import FrozenItems, Global, Inert, Items, Pairs

__all__ = ["MAX_ATTRIBUTES", "Zoned", "args_of", "class_of", "plain", "state_of", "zone_key"]

MAX_ATTRIBUTES = 500  # of an object that are read; no text has more
MAX_LENGTH = 1000  # of a text that becomes a number
# The names of modules in protocols 0 to 2, which Python 2 could read.
RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class Zoned:
    """A time in a zone, of which only the name is known.

    :ivar wall_time: the time without its zone.
    :ivar zone: the inert zone.
    """

    __slots__ = ("wall_time", "zone")

    def __init__(self, wall_time: datetime, zone: Any) -> None:
        self.wall_time = wall_time
        self.zone = zone


def class_of(value: Inert) -> Global | None:
    """Return the class of an object, or the function that makes it; None if it has no name."""
    func = value.func
    if type(func) is not Global:
        return None
    name = named(func)
    if name == ("copyreg", "_reconstructor") and type(value.args) is tuple and value.args:
        # How protocols 0 and 1 make objects: the class is the first argument.
        first = value.args[0]
        return first if type(first) is Global else None
    return func


def args_of(value: Inert) -> tuple[Any, ...]:
    """Return the arguments of an object's class, or of the function that makes it."""
    if type(value.args) is not tuple:
        return ()
    if class_of(value) is value.func or type(value.func) is not Global:
        return value.args
    return tuple(each for each in value.args[2:] if each is not None)  # in protocols 0 and 1


def named(func: Global) -> tuple[str, str]:
    """Return the module and the name, as Python 3 has them."""
    return RENAMED.get(func.module, func.module), func.name


def state_of(value: Any) -> dict[str, Any]:
    """Return the attributes that the state of an object gives; {} if it gives none."""
    state = value.state if type(value) is Inert else None
    if type(state) is tuple and len(state) == 2:  # of an object with slots: its dict, and these
        pairs = [*pairs_of(state[0]), *pairs_of(state[1])]
    else:
        pairs = pairs_of(state)
    return {key: each for key, each in pairs if type(key) is str}


def pairs_of(value: Any) -> list[tuple[Any, Any]]:
    return value[:MAX_ATTRIBUTES] if type(value) is Pairs else []


def plain(value: Any) -> Any:
    """Return the plain value of an object of a data class; other values stay.

    A datetime, date, time, timedelta, timezone, Decimal, UUID, complex, bytearray, set. The items
    of the set stay inert.
    """
    if type(value) is not Inert:
        return value
    cls = class_of(value)
    maker = None if cls is None else MAKERS.get(named(cls))
    if maker is None or type(value.args) is not tuple:
        return value
    try:
        return maker(value)
    except (ValueError, TypeError, OverflowError, ArithmeticError, LookupError):
        return value  # the state is not one that the class would write


def zone_key(zone: Any) -> str | None:
    """Return the key of an inert `ZoneInfo`; None if it is another object."""
    if type(zone) is not Inert or type(zone.args) is not tuple or not zone.args:
        return None
    func, key = zone.func, zone.args[0]
    # Its pickles call `ZoneInfo._unpickle`, which has a name of its own from protocol 4 on.
    is_zone = func == Global("zoneinfo", "ZoneInfo._unpickle") or (
        type(func) is Inert
        and type(func.func) is Global
        and named(func.func) == ("builtins", "getattr")
        and func.args == (Global("zoneinfo", "ZoneInfo"), "_unpickle")
    )
    return key if is_zone and type(key) is str else None


def to_bytes(value: Any) -> bytes:
    """Return bytes; protocols 0 to 2 call a codec to make them of a text.

    :raises TypeError: if the value is neither.
    """
    if type(value) is Inert and value.func == Global("_codecs", "encode"):
        text, codec = value.args
        if codec == "latin1":
            return bytes(text, codec)
    if type(value) is not bytes:
        raise TypeError
    return value


def to_text(value: Any) -> str:
    """Return a short text.

    :raises TypeError: if the value is none, or is long.
    """
    if type(value) is not str or len(value) > MAX_LENGTH:
        raise TypeError
    return value


def plain_if(value: Any, name: str) -> Any:
    """Return the plain value of an object of one class of `datetime`.

    Of other classes it is not asked, as they could be nested endlessly.
    """
    cls = class_of(value) if type(value) is Inert else None
    return plain(value) if cls == ("datetime", name) else value


def to_datetime(value: Inert) -> datetime | Zoned:
    packed, *zones = value.args
    wall_time = datetime(to_bytes(packed))  # type: ignore[call-arg,arg-type]
    if not zones:
        return wall_time
    zone = plain_if(zones[0], "timezone")
    return wall_time.replace(tzinfo=zone) if type(zone) is timezone else Zoned(wall_time, zone)


def to_timezone(value: Inert) -> timezone:
    offset, *names = value.args
    return timezone(plain_if(offset, "timedelta"), *map(to_text, names))


def to_set(value: Inert) -> Items | FrozenItems:
    """Make a set as protocols 0 to 3 write it: a call with a list."""
    kind = Items if value.func.name == "set" else FrozenItems
    (items,) = value.args
    if type(items) is not list:
        raise TypeError
    return kind(items[:MAX_ATTRIBUTES])


def to_complex(value: Inert) -> complex:
    real, imaginary = value.args
    if type(real) is not float or type(imaginary) is not float:
        raise TypeError
    return complex(real, imaginary)


def to_bytearray(value: Inert) -> bytearray:
    packed = value.args[0] if value.args else b""
    return bytearray(packed if type(packed) is bytes else to_bytes(packed))


def to_uuid(value: Inert) -> UUID:
    number = state_of(value)["int"]
    if type(number) is not int:
        raise TypeError
    return UUID(int=number)


def whole_numbers(value: Inert) -> tuple[int, ...]:
    if any(type(each) is not int for each in value.args):
        raise TypeError
    return tuple(value.args)


# Each checks its arguments, and makes an object of the size that the state itself has, at most.
MAKERS: dict[tuple[str, str], Callable[[Inert], Any]] = {
    ("_codecs", "encode"): to_bytes,
    ("builtins", "bytearray"): to_bytearray,
    ("builtins", "bytes"): lambda value: b"" if not value.args else value,
    ("builtins", "complex"): to_complex,
    ("builtins", "frozenset"): to_set,
    ("builtins", "set"): to_set,
    ("datetime", "date"): lambda value: date(to_bytes(*value.args)),  # type: ignore[call-arg,arg-type]
    ("datetime", "datetime"): to_datetime,
    ("datetime", "time"): lambda value: time(to_bytes(*value.args)),  # type: ignore[arg-type]
    ("datetime", "timedelta"): lambda value: timedelta(*whole_numbers(value)),
    ("datetime", "timezone"): to_timezone,
    ("decimal", "Decimal"): lambda value: Decimal(to_text(*value.args)),
    ("uuid", "UUID"): to_uuid,
}
