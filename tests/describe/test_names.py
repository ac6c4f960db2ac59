"""The names in a state are listed wherever they stand, by both readers alike."""

import pickle
from datetime import timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobstore import _inert_c
from jobstore.inert import _reader_py, reader
from jobstore.inert.names import names_in
from jobstore.run_times import UnreadableError


@pytest.fixture(params=[_reader_py.run, _inert_c.run], ids=["twin", "compiled"], autouse=True)
def each_reader(request, monkeypatch):
    monkeypatch.setattr(reader, "run", request.param)


class Calls:
    def __init__(self, func, *args):
        self.reduced = func, args

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(6))
def test_names_nested_in_arguments_and_keys_are_listed(protocol):
    value = {(Calls(timedelta, 1),): [Calls(print, Calls(timezone, Calls(timedelta, 0)))]}
    assert names_in(pickle.dumps(value, protocol)) == (
        "builtins:print",
        "datetime:timedelta",
        "datetime:timezone",
    )


@pytest.mark.parametrize(
    "state",
    [
        b"cos\nsystem\n0N.",  # popped
        b"(cos\nsystem\n1N.",  # popped down to a mark
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x940N.",  # memoized, and popped
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x850N.",  # in a tuple that was popped
        b"(ios\nsystem\n0N.",
        b"\x80\x04}\x8c\x02os\x8c\x06system\x93Ns.",  # a key
    ],
)
def test_names_that_nothing_refers_to_are_listed(state):
    assert names_in(state) == ("os:system",)


@pytest.mark.parametrize(
    ("key", "reference"),
    [(rb"S'trig\x67ers'", rb"S'os:system'"), (rb"S'triggers'", rb"S'os\x3asyst\145m'")],
)
def test_names_behind_the_escapes_of_a_text_are_listed(key, reference):
    state = b"(dp0\n" + key + b"\n((" + reference + b"\n(dtts."
    and_trigger = b"capscheduler.triggers.combining\nAndTrigger\n)\x81"
    names = names_in(b"\x80\x02" + and_trigger + state[:-1] + b"b.")
    assert names == ("apscheduler.triggers.combining:AndTrigger", "os:system")


def test_names_by_extension_codes_are_listed_by_their_number():
    assert names_in(b"\x80\x02\x82\x05.") == ("copyreg:extension 5",)


def test_names_in_the_texts_of_combining_triggers_are_listed():
    inner = OrTrigger([IntervalTrigger(days=1)])
    names = names_in(pickle.dumps(AndTrigger([inner])))
    assert {
        "apscheduler.triggers.combining:AndTrigger",
        "apscheduler.triggers.combining:OrTrigger",
        "apscheduler.triggers.interval:IntervalTrigger",
    } < set(names)


def test_a_text_of_a_combining_trigger_that_is_replaced_later_is_listed():
    triggers = b"}\x94\x8c\x08triggers]\x8c\x09os:system}\x86as"
    replaced = b"h\x00\x8c\x08triggers]s0"
    state = b"\x80\x04" + triggers + b"0(iapp\nBoth\nh\x00b" + replaced + b"N."
    assert names_in(state) == ("app:Both", "os:system")


def test_a_state_that_a_second_one_replaces_is_listed():
    first, second = {"triggers": ["evil:module"]}, {"triggers": []}
    both = b"".join(pickle.dumps(each, 2)[2:-1] + b"b" for each in (first, second))
    assert names_in(b"\x80\x02capp\nBoth\n)\x81" + both + b".") == ("app:Both", "evil:module")


ZONE = ZoneInfo("Europe/Berlin")
OF_ZONE = ("zoneinfo:ZoneInfo", "zoneinfo:ZoneInfo._unpickle")


@pytest.mark.parametrize("protocol", range(6))
def test_a_zone_counts_as_its_method(protocol):
    state = pickle.dumps({"a": [ZONE, ZoneInfo("UTC")], "b": (ZONE,)}, protocol)
    assert names_in(state) == OF_ZONE


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "other",
    [
        getattr,
        {"k": [(getattr,)]},
        {getattr: 1},
        Calls(getattr, ZoneInfo, "from_file"),
        Calls(getattr, timedelta, "_unpickle"),
        Calls(timedelta, getattr),
        Calls(getattr, getattr, "__self__"),
        Calls(getattr, ZoneInfo, "_unpickle", None),
    ],
    ids=[
        "named",
        "an item",
        "a key",
        "of a zone",
        "of a class",
        "an argument",
        "of itself",
        "of three",
    ],
)
def test_another_use_of_getattr_beside_a_zone_is_listed(other, protocol):
    for value in [ZONE, other], [other, ZONE], {"k": ZONE, "args": (other,)}:
        assert "builtins:getattr" in names_in(pickle.dumps(value, protocol))


class Cyclic:
    def __init__(self, *parts):
        self.parts = [self, parts]


def test_objects_in_cycles_are_searched_once():
    name = f"{__name__}:Cyclic"
    assert names_in(pickle.dumps(Cyclic(ZONE))) == tuple(sorted((*OF_ZONE, name)))
    assert "builtins:getattr" in names_in(pickle.dumps(Cyclic(ZONE, getattr)))


def test_a_call_of_getattr_whose_result_is_dropped_is_listed():
    call = pickle.dumps(Calls(getattr, timedelta, "x"), 2)[2:-1]
    zone = pickle.dumps(ZONE, 2)[2:-1]
    for state in (call + b"0" + zone, zone + call + b"0", b"(" + call + b"1" + zone):
        assert "builtins:getattr" in names_in(b"\x80\x02" + state + b".")


def test_a_state_that_is_no_pickle_is_refused():
    with pytest.raises(UnreadableError, match="no pickle"):
        names_in(b"\xff")
