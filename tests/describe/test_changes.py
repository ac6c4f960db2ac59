"""The results of calls that a pickle changes: the twins agree, and Python changes no others."""

import io
import pickle
import random
import struct
from contextlib import suppress
from datetime import datetime, timezone

import pytest
from apscheduler.triggers.cron import CronTrigger

from jobstore import _changes_c
from jobstore.inert import _changes_py
from jobstore.run_times import UnreadableError
from support.hostile_places import states
from support.opcodes import STOP, called, made, named, number, text, tuple_of

CHANGES = pytest.mark.parametrize("changes", [_changes_py.changes, _changes_c.changes])
FIRST, AGAIN, SECOND = named("a", "First"), named("a", "Again"), named("b", "Second")
SIZE = 10  # of the random pickles


def frame(length):
    """Begin a frame of that many bytes."""
    return b"\x95" + struct.pack("<Q", length)


class Result:
    """The result of a call: tells when it is changed."""

    def __init__(self, place):
        self.place = place

    def __call__(self, *args):
        return Result(None)  # which has no name

    def change(self, *args):
        CHANGED.append((self.place, True))

    __setstate__ = __setitem__ = append = extend = add = change


class Watched(type):
    """A class of classes that tell when they are changed."""

    def __getattribute__(cls, name):
        if name in ("__setstate__", "append", "extend", "add", "__dict__"):
            CHANGED.append((type.__getattribute__(cls, "place"), False))
        return type.__getattribute__(cls, name)

    def __setitem__(cls, key, value):
        CHANGED.append((cls.place, False))

    def __call__(cls, *args, **kwargs):
        return cls.__new__(cls)


CHANGED = []


def named_class(at):
    def make(cls, *args, **kwargs):
        return Result(at)

    return Watched("Named", (), {"place": at, "__new__": make})


class Unpickler(pickle.Unpickler):
    count = 0

    def find_class(self, module, name):
        self.count += 1
        return named_class(self.count - 1)


def changed_by_pickle(state):
    """Unpickle; return the changed things, also if the pickle is damaged further on."""
    CHANGED.clear()
    with suppress(Exception):  # of whatever kind
        Unpickler(io.BytesIO(state)).load()
    return CHANGED


def outcome(changes, state):
    try:
        return changes(state)
    except UnreadableError as error:
        return type(error), str(error)


@CHANGES
@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (b"N.", b""),
        (FIRST + STOP, b"\0"),
        (called(FIRST) + called(SECOND) + b"0.", b"\0\0"),
        (made(FIRST, b"}") + STOP, b"\1"),
        (made(FIRST, called(SECOND)) + STOP, b"\1\0"),
        (called(FIRST) + b"(NNu.", b"\1"),
        (called(FIRST) + b"(Ne.", b"\1"),
        (called(FIRST) + b"(N\x90.", b"\1"),
        (called(FIRST) + b"NNs.", b"\1"),
        (called(FIRST) + b"Na.", b"\1"),
        (FIRST + b"q\0" + SECOND + b"0h\0)R}b.", b"\1\0"),
        (FIRST + b"\x94" + SECOND + b"\x940g0\n)R}b.", b"\1\0"),
        (b"(ia\nFirst\n}b.", b"\1"),
        (b"(" + FIRST + b"No}b.", b"\1"),
        (FIRST + b")}\x92}b.", b"\1"),
        (called(FIRST) + b"2}b0.", b"\1"),
        (b"](" + called(FIRST) + b"e.", b"\0"),
    ],
)
def test_the_results_that_a_pickle_changes_are_told(changes, state, expected):
    assert changes(state) == expected


@CHANGES
@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_trigger_gets_a_state_and_its_times_do_not(changes, protocol):
    trigger = CronTrigger(hour=3, start_date=datetime.now(timezone.utc), timezone="UTC")
    state = pickle.dumps(trigger, protocol)
    Unpickler(io.BytesIO(state))
    seen = []

    class Names(pickle.Unpickler):
        def find_class(self, module, name):
            seen.append(name)
            return super().find_class(module, name)

    Names(io.BytesIO(state)).load()
    by_name = dict(zip(seen, changes(state), strict=True))
    assert by_name["CronTrigger"] == by_name["BaseField"] == by_name["RangeExpression"] == 1
    assert by_name["datetime"] == 0


@CHANGES
@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (FIRST + b"}b.", "changes a class or a function"),
        (FIRST + b"Na.", "changes a class or a function"),
        (FIRST + b"(NNu.", "changes a class or a function"),
        (FIRST + b"q\0N0h\0}b.", "changes a class or a function"),
        (FIRST + b")R)R}b.", "a call that has no name"),
        (b"N)R}b.", "a call that has no name"),
        (called(FIRST) + b"}b}b.", "two states"),
        (called(FIRST) + b"q\0}b0h\0}b.", "two states"),
        (called(FIRST) + b"2}b0}b.", "two states"),
        (FIRST + b"q\0)R}b0h\0)R}b.", None),
        (b"\x82\x05.", "extension code"),
        (b"\x84\0\0\0\0.", "extension code"),
        (b"Pid\n.", "persistent id"),
        (b"\x97.", "buffer"),
        (b"}}b.", "damaged"),
        (b"N}b.", "damaged"),
        (b"N(0b.", "damaged"),
        (b"N(1.", None),
        (b"N(.", "damaged"),
        (b"", "damaged"),
        (b"N", "damaged"),
        (b"NN\x93", "damaged"),
        (b"h\0.", "damaged"),
        (b"Nr\xff\xff\xff\x7f.", "damaged"),
        (b"Np-1\n.", "damaged"),
        (b"Np99999999999999999999999\n.", "damaged"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "damaged"),
        (b"\x8b\xff\xff\xff\xff.", "damaged"),
        (frame(2) + b"\x8c\x01a.", "damaged"),
        (frame(0) + b"\x8c\x01a.", None),
        (frame(3) + b"\x8c\x01a.", None),
        (frame(9) + b"\x8c\x01a.", "damaged"),
        (frame(9) + frame(1) + b"N.", "damaged"),
        (frame(2**63) + b"N.", "damaged"),
        (b"\x80\x06N.", "protocol 6"),
        (b"\xff.", "no pickle"),
    ],
)
def test_a_pickle_that_changes_what_it_did_not_make_is_refused(changes, state, reason):
    if reason is None:
        assert len(changes(state)) == state.count(FIRST)
        return
    with pytest.raises(UnreadableError, match=reason):
        changes(state)


@pytest.mark.parametrize("group", ["calls", "data", "names", "stack", "lengths", "texts"])
def test_the_twins_agree_on_hostile_pickles(group):
    for name, state in states(group):
        assert outcome(_changes_c.changes, state) == outcome(_changes_py.changes, state), name


def random_pickle(rng):
    """Make a pickle of names, calls and changes, and of operations that move values about."""
    pieces = [FIRST, AGAIN, text("b") + text("S") + b"\x93", b"N", b")", b"}", b"]", b"\x8f"]
    pieces += [b"("] * 4 + [
        b"R",
        b"\x81",
        b"o",
        b"b",
        b"b",
        b"a",
        b"s",
        b"e",
        b"u",
        b"\x90",
        b"\x92",
    ]
    pieces += [
        b"0",
        b"1",
        b"2",
        b"t",
        b"l",
        b"d",
        b"\x91",
        b"\x85",
        b"\x86",
        b"\x87",
        b")R",
        b")R}b",
    ]
    pieces += [
        b"\x94",
        b"q\0",
        b"q\1",
        b"r\2\0\0\0",
        b"p1\n",
        b"h\0",
        b"h\1",
        b"g0\n",
        b"j\1\0\0\0",
    ]
    pieces += [
        b"(ia\nB\n",
        b"S'a'\n",
        b"I5\n",
        b"K\1",
        *map(frame, range(7)),
        number(3),
        tuple_of(b"N"),
    ]
    start = FIRST + rng.choice([b"\x94", b")R\x94", b"q\1", b""])
    return start + b"".join(rng.choices(pieces, k=rng.randrange(2, SIZE))) + STOP


@pytest.mark.parametrize("seed", range(4))
def test_pickle_changes_no_more_than_is_told(seed):
    rng = random.Random(seed)
    read = told = 0
    for _ in range(20_000):
        state = random_pickle(rng)
        expected = outcome(_changes_py.changes, state)
        assert outcome(_changes_c.changes, state) == expected, state
        if type(expected) is bytes:
            read += 1
            for place, is_result in changed_by_pickle(state):
                assert is_result, state
                assert place is not None, state
                assert expected[place] == 1, state
                told += 1
    assert read > 1000
    assert told > 100


@CHANGES
def test_only_bytes_are_taken(changes):
    with pytest.raises(TypeError):
        changes("text" if changes is _changes_c.changes else None)
