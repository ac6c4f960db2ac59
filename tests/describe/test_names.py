"""The names in a state are listed wherever they stand, by both readers alike."""

import pickle
from datetime import timedelta, timezone

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


def test_a_state_that_is_no_pickle_is_refused():
    with pytest.raises(UnreadableError, match="no pickle"):
        names_in(b"\xff")
