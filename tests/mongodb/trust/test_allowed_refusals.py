"""What isn't allowed is refused in plain words; none of it is looked up, called or changed."""

import pickle
import sys
import time
from datetime import datetime, timezone

import pytest
import pytz
from apscheduler.job import Job
from apscheduler.triggers.combining import AndTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobstore.mongodb.trust.allowed import Allowed
from jobstore.mongodb.trust.untrusted import UntrustedError
from jobstore.run_times import UnreadableError
from support import allowed_target
from support.allowed_target import Colour, Every, Order, Own
from support.not_allowed import AND, FUNCS, STATES, TARGET, target
from support.opcodes import (
    FIELDS,
    STOP,
    called,
    made,
    named,
    number,
    plain,
    state_of,
    text,
    tuple_of,
)

ALLOWED = Allowed(["support.*"])


@pytest.fixture(autouse=True)
def nothing_is_looked_up():
    allowed_target.lost.clear()
    modules = set(sys.modules)
    yield
    # Python asks each module for its `__path__` when something is imported from it.
    assert [name for name in allowed_target.lost if name != "__path__"] == []
    assert {name for name in set(sys.modules) - modules if "pytz" not in name} == set()
    assert allowed_target.SETTINGS == {"debug": False}
    assert "__setstate__" not in vars(Order)
    assert vars(allowed_target.send) == {}
    assert Colour.RED.value == 1


@pytest.mark.parametrize("ref", FUNCS, ids=range(len(FUNCS)))
def test_a_function_that_is_not_allowed_is_refused_by_its_name(ref):
    with pytest.raises(UntrustedError, match=FUNCS[ref]) as raised:
        ALLOWED.check_func(ref)
    assert str(raised.value).isascii()
    assert len(str(raised.value)) < 600


class Text(str):
    """A text that could be another one the next time."""

    __slots__ = ()


@pytest.mark.parametrize("ref", [None, 5, b"os:system", Text(f"{TARGET}:send"), ["a"], print])
def test_a_function_that_is_named_by_no_text_is_refused(ref):
    with pytest.raises(UntrustedError, match="an object that is no text"):
        ALLOWED.check_func(ref)


@pytest.mark.parametrize(
    ("patterns", "func"),
    [
        ([], "support.jobs:note"),
        (["support"], "support.jobs:note"),
        (["Support.*"], "support.jobs:note"),
        (["support.jobs"], "support.jobs:note"),
        (["support.jobs.*"], "support.jobs:note"),
        (["support.jobs:no"], "support.jobs:note"),
        (["port.*"], "support.jobs:note"),
        (["support.jobs:note."], "support.jobs:note"),
        (["*:send"], "os:system"),
    ],
)
def test_a_pattern_matches_whole_names_only(patterns, func):
    with pytest.raises(UntrustedError, match="which allow doesn't match"):
        Allowed(patterns).check_func(func)


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("place", ["the whole", "an argument", "popped"])
def test_a_state_that_is_not_allowed_is_refused_in_plain_words(name, place):
    value, reason = STATES[name]
    if place == "the whole":
        state = b"\x80\x04" + value + STOP
    elif place == "an argument":
        value = value.replace(b"\x94", b"q\0")
        state = b"\x80\x04" + state_of(id=text("an id"), args=tuple_of(value)) + STOP
    else:
        state = b"\x80\x04" + value + b"0N" + STOP
    with pytest.raises(UntrustedError, match=reason) as raised:
        ALLOWED.loads(state)
    assert str(raised.value).isascii()


def test_a_combining_trigger_ends_as_one_of_apschedulers_class():
    loaded = ALLOWED.loads(pickle.dumps([AndTrigger([Every(3)])] * 2))
    assert type(loaded[0]) is AndTrigger
    assert loaded[0] is loaded[1]


def test_deep_triggers_are_refused():
    state = {"triggers": [], "jitter": None}
    for _ in range(60):
        state = {
            "triggers": [("apscheduler.triggers.combining:OrTrigger", state)],
            "jitter": None,
        }
    with pytest.raises(UntrustedError, match="none that APScheduler writes"):
        ALLOWED.loads(b"\x80\x04" + AND + b")\x81" + plain(state) + b"b.")


def test_a_class_that_reads_its_state_itself_is_refused_by_a_text():
    state = pickle.dumps(AndTrigger([Own([IntervalTrigger(days=1, timezone=timezone.utc)])]))
    with pytest.raises(UntrustedError, match="a __setstate__ of its own"):
        ALLOWED.loads(state)


def test_shared_zones_stay_as_they_are():
    berlin = pytz.timezone("Europe/Berlin")
    before = dict(vars(berlin))
    for name in ("a state of a zone", "a state of UTC"):
        with pytest.raises(UntrustedError):
            ALLOWED.loads(b"\x80\x04" + STATES[name][0] + STOP)
    assert vars(berlin) == before
    assert pytz.utc.zone == "UTC"


def test_a_job_within_a_state_is_refused_whatever_is_allowed():
    """APScheduler imports the function that its state names."""
    job = Job.__new__(Job)
    state = b"\x80\x04" + made(named("apscheduler.job", "Job"), state_of(**FIELDS)) + STOP
    with pytest.raises(UntrustedError, match=r"it names apscheduler\.job:Job"):
        Allowed(["apscheduler.*", "*"]).loads(state)
    assert not hasattr(job, "func")


def test_a_state_may_change_what_a_function_of_the_application_makes():
    value = called(target("new_order")) + state_of(number=number(7)) + b"b"
    assert ALLOWED.loads(b"\x80\x04" + value + STOP).number == 7
    value = called(target("Registry")) + text("a") + number(1) + b"s"
    assert ALLOWED.loads(b"\x80\x04" + value + STOP) == {"a": 1}


def test_a_stand_in_can_not_be_pickled():
    stand_in = ALLOWED.loads(b"\x80\x04" + named("builtins", "bytes") + STOP)
    with pytest.raises(TypeError, match="stand-in"):
        pickle.dumps(stand_in)


def test_states_with_large_parts_are_unpickled():
    """Each part above 64 KiB is outside of all frames."""
    value = [b"x" * 200_000, "y" * 200_000, [bytes([i]) * 300 for i in range(256)], time.sleep]
    now = datetime.now(timezone.utc)
    for protocol in range(6):
        state = pickle.dumps([*value[:3], now], protocol)
        assert ALLOWED.loads(state) == [*value[:3], now]


@pytest.mark.parametrize("state", [b"", b"N", b"\x80\x04", b"garbage", b"\x80\x09N."])
def test_a_damaged_state_is_unreadable(state):
    with pytest.raises(UnreadableError) as raised:
        ALLOWED.loads(state)
    assert type(raised.value) is UnreadableError
