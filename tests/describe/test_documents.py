"""Damaged documents are described, with the reason why they are not a job's."""

import pickle
from datetime import datetime, timezone

import pytest
from bson import Binary, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp

from jobstore import JobInfo
from jobstore.describe import about_state, describe
from jobstore.run_times import UnreadableError
from support.damaged_documents import Fatal, Raises, corpus, damaged, good
from support.jobs import at

DAMAGES = corpus()
WRONG = [
    None,
    5,
    -1.5,
    float("nan"),
    float("inf"),
    1e300,
    2**70,
    True,
    "text",
    "\ud800",
    b"bytes",
    Binary(b"bytes", 128),
    [],
    [1.0],
    {},
    {"a": {"b": 1}},
    datetime(2030, 1, 1),
    datetime(2030, 1, 1, tzinfo=timezone.utc),
    ObjectId(),
    Decimal128("1.5"),
    Regex("a"),
    Timestamp(1, 2),
    MinKey(),
    MaxKey(),
    {"reason": 5, "since": "x", "next_run_time": {}},
    {"reason": "\ud800", "since": float("nan"), "next_run_time": 1e300},
    {"at": "x", "until": 5},
]
FIELDS = ["_id", "next_run_time", "job_state", "quarantine", "acquired_by", "acquired_until"]
FIELDS += ["attempts", "held", "about", "unknown"]
# These can't be known without running code, or concern other processes: the executors, the zone.
READABLE = {"no module", "no function", "executor", "fatal", "memory", "surrogate"}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_document_is_described(name):
    difference, _ = DAMAGES[name]
    info = describe(damaged(name, difference))
    assert type(info) is JobInfo
    assert info.id == name
    assert isinstance(info.key, str)
    if name in READABLE or name.startswith("time "):
        assert info.func is not None
    elif name != "without next_run_time":  # the one in the document is in force
        assert info.unreadable


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_may_have_any_value(name):
    for value in WRONG:
        info = describe({**good("a"), name: value})
        assert type(info) is JobInfo
        assert isinstance(info.paused, bool)
        assert isinstance(info.tags, tuple)
        assert repr(info)
        assert isinstance(info.key, str)


@pytest.mark.parametrize("name", FIELDS[:3])
def test_a_field_may_be_missing(name):
    document = good("a")
    del document[name]
    info = describe(document)
    assert type(info) is JobInfo
    assert isinstance(info.key, str)


def test_an_empty_document_is_described():
    info = describe({})
    assert info.unreadable
    assert info.bytes is None or info.bytes == 0


def test_an_argument_that_raises_is_not_called():
    for error in (Fatal("bang"), MemoryError(), KeyboardInterrupt(), SystemExit(3)):
        info = describe(good("a", args=(Raises(error),)))
        assert info.unreadable is None
        assert "throw" in info.args


@pytest.mark.parametrize("field", ["func", "trigger", "executor", "name", "args", "kwargs"])
def test_a_state_may_have_any_value(field):
    state = pickle.loads(good("a")["job_state"])
    for value in [*WRONG[:18], [[]], ((),), {1: 2}, {"a": 1}, Fatal, at, at(5)]:
        document = {**good("a"), "job_state": pickle.dumps({**state, field: value})}
        info = describe(document)
        assert type(info) is JobInfo
        assert getattr(info, field) is None or isinstance(getattr(info, field), str)


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_state_that_is_cut_off_is_not_that_of_a_job(cut):
    state = good("a")["job_state"]
    part = state[: len(state) * cut // 60]
    assert describe({**good("a"), "job_state": part}).unreadable
    with pytest.raises(UnreadableError):
        about_state(part)


def test_the_reason_for_a_long_value_is_short():
    info = describe({**good("a"), "next_run_time": "x" * 10**6})
    assert "its next_run_time is a str: 'xxx" in info.unreadable
    assert len(info.unreadable) <= 501
