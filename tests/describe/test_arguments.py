"""Arguments are described by their `repr`, as far as it needs no code, and is not too long."""

import functools
import pickle
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from fractions import Fraction
from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest

from jobstore.describe import describe_job
from support.described import ONE_HOUR, PROTOCOLS, RUN_TIME, described_arguments
from support.states import make_job, work

Point = namedtuple("Point", "x y")


class Colour(Enum):
    RED = 1


class Level(IntEnum):
    HIGH = 3


class Permission(Flag):
    READ = 1
    WRITE = 2


@dataclass
class Order:
    number: int
    note: str = "secret"

    def send(self):
        pass

    def __repr__(self):
        raise AssertionError("called")


class Settings(dict):
    def __repr__(self):
        raise AssertionError("called")


class Words(list):
    def __repr__(self):
        raise AssertionError("called")


class Name(str):
    __slots__ = ()

    def __repr__(self):
        raise AssertionError("called")


class Slots:
    __slots__ = ("a",)

    def __repr__(self):
        raise AssertionError("called")


class Picky:
    """Has a state that is no dict, and arguments of its class."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return Picky, (self.value,), ("a state", 5)

    def __setstate__(self, state):
        pass

    def __repr__(self):
        raise AssertionError("called")


SLOTS = Slots()
SLOTS.a = 77

# Values whose text is their `repr`.
SAME = {
    "nothing": None,
    "flags": [True, False],
    "numbers": [0, 1, -1, 255, 256, 65535, 65536, 2**31, -(2**31) - 1, 2**63, -(2**64), 10**50],
    "floats": [0.0, -0.0, 1.5, 1e300, float("inf"), float("-inf"), float("nan")],
    "complex": 1 + 2j,
    "texts": ["", "a", "it's", 'a "b"', "a'\"", "\n\t\\", "\0", "ä€\U0001f600", "\ud800"],
    "bytes": [b"", b"a", b"it's", bytes(range(0, 256, 9))],
    "a bytearray": bytearray(b"ab\xff"),
    "tuples": [(), (1,), (1, 2), (1, (2, (3, ())))],
    "lists": [[], [1], [[[]]]],
    "dicts": [{}, {1: 2}, {"a": {"b": [{}]}}, {(1, 2): (3,)}],
    "sets": [set(), {1}, frozenset(), frozenset({1})],
    "a datetime": datetime(2030, 1, 2, 3, 4, 5, 6),
    "a datetime with a fold": datetime(2030, 1, 2, 3, fold=1),
    "a datetime in UTC": datetime(2030, 1, 2, 3, 4, tzinfo=timezone.utc),
    "a datetime with an offset": datetime(2030, 1, 2, tzinfo=timezone(timedelta(hours=-3))),
    "a date": date(2030, 1, 2),
    "a time": time(1, 2, 3, 4),
    "timedeltas": [timedelta(), timedelta(1), timedelta(-1, 5, 6), timedelta.max],
    "timezones": [timezone.utc, timezone(timedelta(hours=1)), timezone(timedelta(1) / 2, "x")],
    "decimals": [Decimal("1.50"), Decimal("NaN"), Decimal("-1E+99")],
    "a UUID": uuid.UUID(int=5),
}

# Values whose text names the class and has these parts.
PARTS = {
    "an enum": (Colour.RED, ["Colour"]),
    "an enum of numbers": (Level.HIGH, ["Level"]),
    "flags": (Permission.READ | Permission.WRITE, ["Permission"]),
    "a dataclass": (Order(5), ["Order", "number", "5", "note", "secret"]),
    "a subclass of dict": (Settings(a=[1, 2]), ["Settings", "'a'", "[1, 2]"]),
    "a subclass of list": (Words(["b", "c"]), ["Words", "'b', 'c'"]),
    "a subclass of str": (Name("d"), ["Name", "'d'"]),
    "slots": (SLOTS, ["Slots", "a", "77"]),
    "a state that is no dict": (Picky(66), ["Picky", "66"]),
    "a named tuple": (Point(3, 4), ["Point", "3, 4"]),
    "an OrderedDict": (OrderedDict(b=1, a=2), ["OrderedDict", "'b'", "1", "'a'", "2"]),
    "a defaultdict": (defaultdict(list, b=1), ["defaultdict", "list", "'b'", "1"]),
    "a Counter": (Counter("aab"), ["Counter", "'a'", "2", "'b'", "1"]),
    "a deque": (deque([1, 2], 7), ["deque", "1, 2", "7"]),
    "a partial": (functools.partial(work, 1, end=2), ["partial", "work", "1", "end", "2"]),
    "a function": (work, ["support.states", "work"]),
    "a builtin function": (print, ["print"]),
    "a class": (Order, [__name__, "Order"]),
    "a bound method": (Order(5).send, ["Order", "5", "send"]),
    "a bound method of a list": ([1, 2].append, ["[1, 2]", "append"]),
    "a namespace": (SimpleNamespace(a=99), ["SimpleNamespace", "a", "99"]),
    "a range": (range(1, 9, 2), ["range", "1, 9, 2"]),
    "a fraction": (Fraction(1, 3), ["Fraction", "1", "3"]),
    "a path": (PurePosixPath("/a/b"), ["PurePosixPath"]),
    "an error": (KeyError("gone"), ["KeyError", "'gone'"]),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", SAME)
def test_the_text_of_data_is_its_repr(name, protocol):
    value = SAME[name]
    if protocol == 0 and name == "texts":
        value = value[:-1]  # no lone surrogate
    args, kwargs = described_arguments(value, protocol=protocol, a=value)
    kept = pickle.loads(pickle.dumps(value, protocol))  # before protocol 4, without the fold
    assert args == repr((kept,))
    assert kwargs == repr({"a": kept})


@pytest.mark.parametrize("name", SAME)
def test_a_live_job_has_the_text_of_its_document(name):
    live = describe_job(make_job(ONE_HOUR, RUN_TIME, args=(SAME[name],), kwargs={"a": SAME[name]}))
    assert (live.args, live.kwargs) == described_arguments(SAME[name], a=SAME[name])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", [name for name in PARTS if name != "slots"])
def test_an_object_is_described_by_its_class_and_content(name, protocol):
    value, parts = PARTS[name]
    args, _ = described_arguments(value, protocol=protocol)
    for part in parts:
        assert part in args


@pytest.mark.parametrize("protocol", PROTOCOLS[2:])
def test_an_object_with_slots_is_described_by_them(protocol):
    args, _ = described_arguments(SLOTS, protocol=protocol)
    assert "Slots" in args
    assert "77" in args


@pytest.mark.parametrize("name", PARTS)
def test_a_live_object_runs_no_code_of_its_own(name):
    job = make_job(ONE_HOUR, RUN_TIME, args=(PARTS[name][0],))
    info = describe_job(job)
    assert info.args.startswith("(")
    assert info.args.endswith(",)")


CALLS = []  # of the code of `Watched` and of its metaclass


def noted(method):
    """Note each call of a method. To raise there would disturb tests that look at all objects."""

    @functools.wraps(method)
    def noting(*args):
        CALLS.append(method.__name__)
        return method(*args)

    return noting


class Watching(type):
    """A class of classes, whose code must not run."""

    __getattribute__ = noted(type.__getattribute__)
    __instancecheck__ = noted(type.__instancecheck__)
    __subclasscheck__ = noted(type.__subclasscheck__)
    __hash__ = noted(type.__hash__)
    __eq__ = noted(type.__eq__)


class Watched(metaclass=Watching):
    __getattribute__ = noted(object.__getattribute__)
    __class__ = property(noted(type))


def test_a_live_object_runs_no_code_of_its_class_or_metaclass():
    job = make_job(ONE_HOUR, RUN_TIME, args=(Watched(), Watched))
    CALLS.clear()
    args = describe_job(job).args
    assert CALLS == []
    assert args == f"(<{__name__}.Watched>, {__name__}.Watched)"


def test_repeated_values_are_described_again():
    shared = [1, 2]
    assert described_arguments(shared, shared)[0] == repr((shared, shared))


def test_values_that_contain_themselves_are_cut():
    value = [1]
    value.append(value)
    pairs = {}
    pairs["a"] = pairs
    args, _ = described_arguments(value, pairs)
    assert args.startswith("([1, [1, [1, ")
    assert args.count("…") == 2
    assert args.endswith("}}})")
    assert describe_job(make_job(ONE_HOUR, RUN_TIME, args=(value, pairs))).args == args


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, b"x" * 10**6, list(range(10**5)), dict.fromkeys(range(10**5)), [[[0] * 99] * 99]],
    ids=["a text", "bytes", "a list", "a dict", "lists"],
)
def test_a_long_text_is_cut(value):
    for each in (
        described_arguments(value),
        tuple(
            getattr(describe_job(make_job(ONE_HOUR, RUN_TIME, args=(value,))), name)
            for name in ("args", "kwargs")
        ),
    ):
        assert len(each[0]) == 501
        assert each[0][:50] == repr((value,))[:50]
        assert each[0].endswith("…")
        assert each[1] == "{}"
