"""The classes and functions that the pickles of APScheduler's jobs name, which are always allowed.

Some can do more than such a pickle needs: `getattr`, `bytes` with a codec's name, or the factory of
a zone. For each of these stands a `Narrow` function here, which takes only the arguments that
pickles have.
"""

import re
from collections.abc import Callable
from datetime import timezone
from importlib import import_module
from typing import Any
from zoneinfo import ZoneInfo

from .untrusted import UntrustedError

__all__ = ["COMBINING", "FRESH", "NARROW", "PLAIN", "WIDE"]

CRON = "apscheduler.triggers.cron"
ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,4}").fullmatch

COMBINING = frozenset(
    ("apscheduler.triggers.combining", f"{kind}Trigger") for kind in ("And", "Or")
)
# Classes whose calls make new objects, which the pickle then gives a state.
FRESH = frozenset(
    [
        ("apscheduler.triggers.calendarinterval", "CalendarIntervalTrigger"),
        *COMBINING,
        (CRON, "CronTrigger"),
        ("apscheduler.triggers.date", "DateTrigger"),
        ("apscheduler.triggers.interval", "IntervalTrigger"),
        *((f"{CRON}.fields", f"{kind}Field") for kind in ("Base", "Week", "DayOfMonth")),
        *((f"{CRON}.fields", f"{kind}Field") for kind in ("DayOfWeek", "Month")),
        *((f"{CRON}.expressions", f"{kind}Expression") for kind in ("All", "Range", "MonthRange")),
        *((f"{CRON}.expressions", f"Weekday{kind}Expression") for kind in ("Range", "Position")),
        (f"{CRON}.expressions", "LastDayOfMonthExpression"),
    ]
)
# Classes of plain values, which take no state.
PLAIN = frozenset(
    [
        *(("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")),
        *(("builtins", name) for name in ("complex", "frozenset", "object", "range", "set")),
        ("builtins", "slice"),
    ]
)


class Narrow:
    """Stands for a function, or a class; takes only the arguments that pickles have.

    :param name: its name.
    :param call: gets these arguments; raises TypeError for any others.
    """

    __slots__ = ("_call", "_name")

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self._name, self._call = name, call

    def __call__(self, *args: Any) -> Any:
        try:
            return self._call(*args)
        except TypeError:
            raise UntrustedError(
                f"it calls {self._name} with other arguments than APScheduler's jobs have"
            ) from None

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a stand-in can't be pickled")


def require(*conditions: bool) -> None:
    """Refuse arguments that no pickle of APScheduler's jobs has."""
    if not all(conditions):
        raise TypeError


def new_object(cls: Any, base: Any, state: Any) -> Any:
    """Do as `copyreg._reconstructor`, for classes without a builtin base."""
    require(issubclass(type(cls), type), base is object, state is None)
    return object.__new__(cls)


def encoded(text: str, codec: str) -> bytes:
    """Do as `codecs.encode` for bytes, which protocols 0 to 2 write as a text."""
    require(type(text) is str, codec == "latin1")
    return text.encode("latin-1")


def no_bytes() -> bytes:
    return b""


def byte_array(value: Any = b"", codec: str | None = None) -> bytearray:
    require(codec in (None, "latin-1"), type(value) is (bytes if codec is None else str))
    return bytearray(value if codec is None else value.encode("latin-1"))


def zone_class() -> Any:
    """Stand for `ZoneInfo`, which pickles name in order to call its `_unpickle`."""
    raise TypeError


def zone_method(owner: Any, name: str) -> Narrow:
    """Do as `getattr` for the method by which the pickles of `ZoneInfo` make one."""
    require(owner is ZONE_CLASS or owner is ZoneInfo, name == "_unpickle")
    return ZONE


def any_attribute(owner: Any, name: str) -> Any:
    """Do as `getattr`, also for the methods of zones."""
    return getattr(ZoneInfo if owner is ZONE_CLASS else owner, name)


def zone(key: str, from_cache: int) -> ZoneInfo:
    require(type(key) is str, type(from_cache) in (int, bool))
    require(ZONE_KEY(key) is not None)  # a part of it may become the name of a module
    return ZoneInfo(key) if from_cache else ZoneInfo.no_cache(key)


def pytz_zone(key: str, *numbers: Any) -> Any:
    """Do as `pytz._p`, which gets the key, and of some zones both offsets and the name."""
    require(type(key) is str, len(numbers) in (0, 3))
    if numbers:
        utc_offset, dst_offset, name = numbers
        require(type(utc_offset) is int, type(dst_offset) is int, type(name) is str)
    return import_module("pytz")._p(key, *numbers)


def pytz_utc() -> Any:
    return import_module("pytz")._UTC()


def pytz_fixed(minutes: int) -> Any:
    require(type(minutes) is int)
    return import_module("pytz").FixedOffset(minutes)


def shim(wrapped: Any, key: str | None) -> Any:
    """Make a zone of `pytz_deprecation_shim`, which older versions of `tzlocal` return."""
    require(type(wrapped) in (ZoneInfo, timezone), key is None or type(key) is str)
    return import_module("pytz_deprecation_shim._impl").wrap_zone(wrapped, key)


ZONE_CLASS = Narrow("zoneinfo:ZoneInfo", zone_class)
ZONE = Narrow("zoneinfo:ZoneInfo._unpickle", zone)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "_codecs:encode": encoded,
    "builtins:bytearray": byte_array,
    "builtins:bytes": no_bytes,
    "builtins:getattr": zone_method,
    "copyreg:_reconstructor": new_object,
    "pytz:FixedOffset": pytz_fixed,
    "pytz:_UTC": pytz_utc,
    "pytz:_p": pytz_zone,
    "pytz_deprecation_shim._impl:wrap_zone": shim,
}
NARROW = {
    ("zoneinfo", "ZoneInfo"): ZONE_CLASS,
    ("zoneinfo", "ZoneInfo._unpickle"): ZONE,
    **{tuple(name.split(":")): Narrow(name, call) for name, call in FUNCTIONS.items()},
}
# Where a pattern allows the function itself, but it must know of another stand-in.
WIDE = {("builtins", "getattr"): any_attribute}
