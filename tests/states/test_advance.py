"""An advanced state unpickles as a pickled one does; the states of ordinary jobs are advanced."""

import pickle
import re
from datetime import datetime, timedelta, timezone

import pytest
import pytz
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from hypothesis import given, settings
from hypothesis import strategies as st

from states.write_states import read
from support.states import (
    BERLIN,
    UTC,
    ZONES,
    advance,
    advance_rightly,
    make_job,
    restored,
    zones_of_triggers,
)

TRIGGER_ZONES = zones_of_triggers()
PROTOCOLS = st.integers(0, 5)
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=30),
    st.binary(max_size=30),
)
# Bytes and objects that are in the ends of states, too.
LOOKALIKES = st.sampled_from(
    [
        "next_run_time",
        "datetime",
        datetime,
        b"\x8c\rnext_run_time\x94h\x18C\n",
        b"\x94h\x15\x86\x94R\x94u.",
        "\x94u.",
        BERLIN,
        UTC,
    ]
)
ARGS = st.lists(st.one_of(ATOMS, LOOKALIKES), max_size=4).map(tuple)
KWARGS = st.dictionaries(st.text(max_size=20), st.one_of(ATOMS, LOOKALIKES), max_size=4)
MANY_ARGS = st.integers(0, 300).map(lambda count: tuple(map(str, range(count))))
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))


def has_many_objects(zone):
    """Whether run times and triggers have different objects: pytz has one for each offset."""
    return isinstance(zone, pytz.tzinfo.DstTzInfo)


@st.composite
def run_times(draw, zone):
    run_time = draw(TIMES)
    if hasattr(zone, "localize"):  # of pytz
        return zone.localize(run_time, is_dst=draw(st.booleans()))
    return run_time.replace(tzinfo=zone, fold=draw(st.integers(0, 1)))


@st.composite
def triggers(draw, zone):
    start, end = (draw(st.none() | run_times(zone)) for _ in range(2))
    jitter = draw(st.none() | st.integers(1, 60))
    every = draw(st.integers(1, 10**6))
    simple = [
        IntervalTrigger(0, 0, 0, 0, every, start or datetime(2026, 1, 1), end, zone, jitter),
        CronTrigger(minute=f"*/{every % 59 + 1}", timezone=zone, jitter=jitter),
        CronTrigger(day="last", hour="1-5", start_date=start, end_date=end, timezone=zone),
        DateTrigger(draw(run_times(zone)), zone),
    ]
    both = draw(st.lists(st.sampled_from(simple), min_size=1, max_size=3))
    kinds = [*simple, AndTrigger(both, jitter), OrTrigger(both, jitter)]
    return draw(st.sampled_from(kinds))


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_advanced_state_of_any_job_unpickles_as_a_pickled_one(data):
    zone, other = data.draw(st.sampled_from(ZONES)), data.draw(st.sampled_from([*ZONES, None]))
    old = data.draw(run_times(zone))
    new = data.draw(run_times(data.draw(st.sampled_from([zone, zone, other]))))
    trigger = data.draw(triggers(data.draw(st.sampled_from(TRIGGER_ZONES))))
    args = data.draw(ARGS | MANY_ARGS)
    if data.draw(st.booleans()):
        args += data.draw(st.sampled_from([(old,), (new,), (zone,), (other,), (old.date(),)]))
    job = make_job(trigger, old, args=args, kwargs=data.draw(KWARGS), id=data.draw(st.text()))
    state = pickle.dumps(job.__getstate__(), data.draw(PROTOCOLS))
    restored_time = restored(state).next_run_time
    if restored_time == old and restored_time.tzinfo is zone:
        advance_rightly(state, old, new)
    # as it is in the store: both times have the zone that was unpickled
    advance_rightly(state, restored_time, new.replace(tzinfo=restored_time.tzinfo))
    advance_rightly(state, restored_time, new)


def test_references_to_late_objects_are_recognised():
    """The pickler writes them with four bytes behind the 256th object."""
    offset = timezone(timedelta(hours=1))
    crons = [CronTrigger(minute=minute, timezone=BERLIN) for minute in range(8)]
    interval = IntervalTrigger(minutes=5, start_date=datetime(2026, 1, 1), timezone=offset)
    for last, zone, end in [
        (interval, BERLIN, rb"time\x94j.{4}C\n.{10}\x94h.\x86"),
        (interval, offset, rb"time\x94j.{4}C\n.{10}\x94j.{4}\x86"),
        (CronTrigger(timezone=offset), offset, rb"time\x94j.{4}\x8c\x08datetime.*j.{4}\x86"),
    ]:
        old = datetime(2026, 1, 31, tzinfo=zone)
        job = make_job(OrTrigger([*crons, last]), old)
        state = pickle.dumps(job.__getstate__(), 5)
        assert re.search(end, state[-80:], re.DOTALL)
        assert advance_rightly(state, old, old + timedelta(days=1))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_state_of_an_ordinary_job_is_always_advanced(data):
    """The zone of the run time is the trigger's, and the arguments are atoms."""
    zone = data.draw(
        st.sampled_from([zone for zone in TRIGGER_ZONES if not has_many_objects(zone)])
    )
    trigger = data.draw(triggers(zone))
    args = data.draw(st.lists(ATOMS, max_size=4).map(tuple) | MANY_ARGS)
    job = make_job(trigger, data.draw(run_times(zone)), args=args)
    state = pickle.dumps(job.__getstate__(), data.draw(st.integers(4, 5)))
    old = restored(state).next_run_time
    new = data.draw(run_times(zone)).replace(tzinfo=old.tzinfo)
    assert advance_rightly(state, old, new)


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("zone", TRIGGER_ZONES, ids=repr)
def test_recurring_job_is_advanced_from_one_run_to_the_next(zone, protocol):
    every = [
        IntervalTrigger(minutes=5, timezone=zone, start_date=datetime(2026, 1, 1)),
        CronTrigger(minute="*/5", timezone=zone),
        CronTrigger(hour=2, timezone=zone, start_date=datetime(2026, 1, 1)),
        OrTrigger([CronTrigger(minute="*/5", timezone=zone), CronTrigger(hour=2, timezone=zone)]),
        AndTrigger([CronTrigger(hour=2, timezone=zone), CronTrigger(hour=2, timezone=zone)]),
    ]
    for trigger in every:
        now = datetime(2026, 1, 2, 3, tzinfo=UTC).astimezone(zone)
        job = make_job(trigger, trigger.get_next_fire_time(None, now), args=("x",))
        state = pickle.dumps(job.__getstate__(), protocol)
        job = restored(state)
        advanced = 0
        for _ in range(20):
            old = job.next_run_time
            job.next_run_time = job.trigger.get_next_fire_time(old, old)
            if advance_rightly(state, old, job.next_run_time):
                advanced += 1
                state = advance(state, old, job.next_run_time)
            else:
                state = pickle.dumps(job.__getstate__(), protocol)
                job = restored(state)
        # a start date brings the object of the run times into the state, a bare zone another one
        follows = not has_many_objects(zone) or getattr(trigger, "start_date", None) is not None
        assert advanced == (20 if follows else 0), trigger


# APScheduler 3.10 keeps zones of pytz; only run times have the object of their offset.
OWN_ZONES = ["3.10.2: cron, pytz, protocol 5", "3.10.2: and, pytz, protocol 5"]


@pytest.mark.parametrize(("name", "state"), list(read()), ids=[name for name, _ in read()])
def test_state_that_stock_wrote_is_advanced_if_its_end_has_the_run_time(name, state):
    old = pickle.loads(state)["next_run_time"]
    advanced = advance_rightly(state, old, old + timedelta(days=3, microseconds=1))
    shares_its_time = ": date," in name
    has_a_zone_of_its_own = name in OWN_ZONES
    assert advanced != (shares_its_time or has_a_zone_of_its_own or int(name[-1]) < 4)


def test_fold_is_written_into_the_state():
    old = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    new = old.replace(fold=1)
    state = pickle.dumps({"zone": BERLIN, "next_run_time": old}, 5)
    assert advance_rightly(state, old, new)
    assert pickle.loads(advance(state, old, new))["next_run_time"].fold == 1
    assert advance_rightly(advance(state, old, new), new, old)
    assert advance(state, new, old) is None  # the state has the other fold


ZONE = timezone(timedelta(hours=1))
OLD, NEW = datetime(2026, 1, 31, tzinfo=ZONE), datetime(2026, 2, 28, 1, 2, 3, 4, tzinfo=ZONE)
STATE = pickle.dumps({"zone": ZONE, "next_run_time": OLD}, 5)


class Subclass(datetime):
    pass


class Bytes(bytes):
    pass


def test_these_states_are_pickled_as_ever():
    assert advance_rightly(STATE, OLD, NEW)
    key = "next_run_time"
    others = {
        "the run time comes last, but has another key": {"zone": ZONE, "other": OLD},
        "the run time does not come last": {"next_run_time": OLD, "zone": ZONE},
        "the run time is the only item": {"next_run_time": OLD},
        "the string occurred before": {"zone": ZONE, "key": key, key: OLD},
        "the run time occurred before": {"zone": ZONE, "time": OLD, "next_run_time": OLD},
        "the zone did not occur before": {"zone": UTC, "next_run_time": OLD},
        "the run time is in a list": {"zone": ZONE, "next_run_time": [OLD]},
        "the run time is a subclass's": {"zone": ZONE, "next_run_time": Subclass(2026, 1, 31)},
        "the run time is naive": {"zone": ZONE, "next_run_time": OLD.replace(tzinfo=None)},
        "the state has several frames": {"x": "x" * 70_000, "zone": ZONE, "next_run_time": OLD},
        "the job is paused": {"zone": ZONE, "next_run_time": None},
    }
    for reason, content in others.items():
        for protocol in range(6):
            assert advance(pickle.dumps(content, protocol), OLD, NEW) is None, reason


@pytest.mark.parametrize("value", [None, 1, "", b"", STATE, Bytes(STATE), bytearray(STATE), OLD])
def test_arguments_of_other_types_give_none(value):
    subclass = Subclass(2026, 1, 31, tzinfo=ZONE)
    for old, new in [(OLD, NEW), (value, NEW), (OLD, value), (subclass, NEW), (OLD, subclass)]:
        for state in (value, memoryview(STATE), Bytes(STATE)):
            expected = state is STATE and (old, new) == (OLD, NEW) and type(new) is datetime
            if old is OLD and new is NEW:
                assert (advance(state, old, new) is not None) == expected
            else:
                advance(state, old, new)
    if value is not OLD:
        assert advance(STATE, value, NEW) is None
        assert advance(STATE, OLD, value) is None
    assert advance(STATE, subclass, NEW) is None
    assert advance(STATE, OLD, subclass) is None


def test_run_times_without_the_same_zone_give_none():
    for old, new in [
        (OLD, NEW.replace(tzinfo=timezone(timedelta(hours=1)))),
        (OLD, NEW.replace(tzinfo=None)),
        (OLD.replace(tzinfo=None), NEW.replace(tzinfo=None)),
        (OLD.replace(tzinfo=None), NEW),
    ]:
        assert advance(STATE, old, new) is None


def test_bytes_that_are_not_those_of_the_old_run_time_give_none():
    assert advance(STATE, OLD + timedelta(microseconds=1), NEW) is None
    assert advance(STATE, OLD.replace(fold=1), NEW) is None


def test_bytes_behind_the_end_of_the_state_give_none():
    """Unpickling stops where the stream ends."""
    assert advance(STATE + b".", OLD, NEW) is None
    longer = (len(STATE) - 10).to_bytes(8, "little")  # as if the frame had one byte more
    assert advance(STATE[:3] + longer + STATE[11:] + b".", OLD, NEW) is None
    assert advance(STATE + STATE, OLD, NEW) is None


def test_every_beginning_and_end_of_a_state_gives_none():
    for at in range(len(STATE)):
        assert advance(STATE[:at], OLD, NEW) is None
        assert at == 0 or advance(STATE[at:], OLD, NEW) is None
