"""The fire times of pickled triggers, computed without the pickle's code."""

import pickle
import random
from datetime import datetime, timedelta, timezone
from itertools import cycle
from zoneinfo import ZoneInfo

import pytest
import pytz
from apscheduler import version_info
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from dateutil import tz

from jobstore.firing import FireTimes, NextRun, around, firing, never, put_forward
from jobstore.inert.reader import read
from jobstore.run_times import UnreadableError
from support.cron_cases import Case
from support.described import PROTOCOLS, TRIGGERS

UTC = timezone.utc
NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
IS_OLD = version_info < (3, 11)  # APScheduler
MOMENTS = [
    NOON,
    NOON + timedelta(microseconds=1),
    datetime(1900, 1, 1, tzinfo=UTC),
    datetime(2030, 1, 1, 4, 30, tzinfo=UTC),
    datetime(2099, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC),  # before a change of the clocks
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
]


def first_of(trigger, protocol=5, anchor=None):
    return firing(read(pickle.dumps(trigger, protocol)), anchor)


def text_of_reason(trigger):
    with pytest.raises(UnreadableError) as raised:
        first_of(trigger)
    return str(raised.value)


def is_known(trigger):
    """Whether the times of a trigger can be told."""
    if isinstance(trigger, OrTrigger):
        return all(map(is_known, trigger.triggers))
    if isinstance(trigger, DateTrigger):
        return has_name(trigger.run_date.tzinfo)
    kinds = CronTrigger, IntervalTrigger
    return isinstance(trigger, kinds) and not trigger.jitter and has_name(trigger.timezone)


def has_name(zone):
    """Whether the pickle of a zone tells which one it is."""
    has_key = type(zone).__module__.startswith("pytz") or isinstance(zone, tz.tzutc)
    return has_key or isinstance(zone, timezone | ZoneInfo)


def crosses_changes(trigger):
    """Whether APScheduler 3.10 computes other times across a change of the clocks.

    It adds intervals to wall times, and pytz has no times after such a change but by `normalize`.
    """
    if isinstance(trigger, OrTrigger):
        return any(map(crosses_changes, trigger.triggers))
    is_interval = isinstance(trigger, IntervalTrigger)
    return isinstance(trigger, CronTrigger | IntervalTrigger) and (
        is_interval or hasattr(trigger.timezone, "normalize")
    )


@pytest.mark.parametrize("name", TRIGGERS)
def test_the_times_are_those_of_the_trigger_itself(name):
    trigger = TRIGGERS[name]
    if not is_known(trigger):
        assert text_of_reason(trigger)
        return
    moments = MOMENTS[:1] if IS_OLD and crosses_changes(trigger) else MOMENTS
    for protocol, moment in zip(cycle(PROTOCOLS), moments):
        first = first_of(trigger, protocol)
        if isinstance(trigger, DateTrigger):
            expected = trigger.run_date if trigger.run_date >= moment else None
        else:
            expected = trigger.get_next_fire_time(None, moment)
        if name.startswith("or") and expected is not None and expected < moment:
            continue  # an interval whose start was computed after a while
        found = first(moment)
        assert (found is None) == (expected is None), moment
        assert expected is None or abs(found - expected) < timedelta(milliseconds=1), moment
        assert found is None or found.tzinfo is UTC


def test_random_cron_triggers_have_the_times_of_their_own():
    chance = random.Random(29)
    checked = 0
    while checked < 200:
        case = Case(chance)
        if getattr(case.stock, "jitter", None):
            continue
        try:
            first = first_of(case.stock, chance.choice(PROTOCOLS))
        except UnreadableError:  # zones of a kind without a name
            assert not isinstance(case.zone, ZoneInfo)
            continue
        try:
            expected = case.stock.get_next_fire_time(None, case.now)
        except (OverflowError, ValueError):
            continue
        if put_forward(case.now, case.stock.timezone):
            continue  # a run before the change may be followed by another one
        # A time in a fold equals none in another zone.
        assert first(case.now) == (expected and expected.astimezone(UTC)), case
        checked += 1


@pytest.mark.parametrize(
    "zone",
    [UTC, pytz.utc, pytz.timezone("Europe/Berlin"), BERLIN, timezone(timedelta(hours=5.5))],
    ids=["utc", "pytz.utc", "pytz", "zoneinfo", "fixed"],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_zones_of_python_and_pytz_are_known(zone, protocol):
    trigger = CronTrigger(hour=3, timezone=zone)
    assert first_of(trigger, protocol)(NOON) == trigger.get_next_fire_time(None, NOON)


def test_dates_in_a_zone_of_pytz_keep_their_offset():
    for fold in (True, False):  # 02:30 comes twice
        date = pytz.timezone("Europe/Berlin").localize(datetime(2026, 10, 25, 2, 30), is_dst=fold)
        trigger = DateTrigger(NOON, UTC)
        trigger.run_date = date
        assert first_of(trigger)(NOON - timedelta(days=99)) == date.astimezone(UTC)


def test_an_interval_counts_from_a_run_time_of_the_job():
    trigger = IntervalTrigger(minutes=5, start_date=NOON, timezone=UTC)
    anchor = NOON + timedelta(hours=2, seconds=7)
    first = first_of(trigger, anchor=anchor)
    assert first(anchor) == anchor
    assert first(anchor - timedelta(minutes=1)) == anchor
    assert first(anchor + timedelta(seconds=1)) == anchor + timedelta(minutes=5)
    assert first(NOON - timedelta(days=9)) == NOON + timedelta(seconds=7)


@pytest.mark.parametrize(
    ("trigger", "times"),
    [
        (CronTrigger(hour=3, timezone=UTC), (NOON.replace(hour=3), NOON + timedelta(hours=15))),
        (CronTrigger(hour=12, timezone=UTC), (NOON - timedelta(days=1), NOON)),
        (CronTrigger(second="*", timezone=UTC), (NOON - timedelta(seconds=1), NOON)),
        (
            CronTrigger(month=2, day=29, timezone=UTC),
            (datetime(2024, 2, 29, tzinfo=UTC), datetime(2028, 2, 29, tzinfo=UTC)),
        ),
        (DateTrigger(NOON - timedelta(days=40), UTC), (NOON - timedelta(days=40), None)),
        (DateTrigger(NOON + timedelta(days=40), UTC), (None, NOON + timedelta(days=40))),
        (CronTrigger(month=2, day=30, timezone=UTC), (None, None)),
    ],
    ids=["day", "now", "second", "leap day", "past", "future", "never"],
)
def test_the_times_around_a_moment(trigger, times):
    assert around(first_of(trigger), NOON) == FireTimes(*times)


def test_the_times_around_a_moment_of_a_random_cron_have_none_between():
    chance = random.Random(30)
    for _ in range(50):
        trigger = CronTrigger(minute=f"*/{chance.randint(1, 59)}", hour="8-18", timezone=BERLIN)
        first, moment = first_of(trigger), NOON + timedelta(seconds=chance.randint(0, 10**7))
        before, after, *_ = around(first, moment)
        assert before < moment <= after
        assert first(before + timedelta(microseconds=1)) == after


def test_an_interval_goes_on_from_a_run_before_its_start():
    """As after `add_job(..., next_run_time=now)`, whose trigger starts an interval later."""
    trigger = IntervalTrigger(hours=1, start_date=NOON + timedelta(hours=1, seconds=1))
    first = first_of(trigger, anchor=NOON + timedelta(hours=1))
    assert first(NOON) == first(NOON + timedelta(hours=1)) == NOON + timedelta(hours=1)
    assert first(NOON + timedelta(hours=1, seconds=1)) == NOON + timedelta(hours=2)


@pytest.mark.parametrize(
    "fields",
    [{"hour": 2, "minute": 15}, {"hour": 2, "minute": "*/20"}, {"minute": "*/7"}, {"hour": "*"}],
    ids=str,
)
@pytest.mark.parametrize(
    ("zone", "change"),
    [
        (BERLIN, datetime(2027, 3, 28, 1, tzinfo=UTC)),
        (ZoneInfo("Australia/Lord_Howe"), datetime(2027, 10, 2, 15, 30, tzinfo=UTC)),
    ],
    ids=["an hour", "half an hour"],
)
def test_a_wall_time_that_a_change_of_the_clocks_skips_is_a_fire_time(zone, change, fields):
    trigger = CronTrigger(**fields, timezone=zone)
    first = first_of(trigger)
    time = trigger.get_next_fire_time(None, change - timedelta(hours=25)).astimezone(UTC)
    while time < change + timedelta(hours=5):
        following = trigger.get_next_fire_time(time, time).astimezone(UTC)
        assert first(time) == time
        assert first(time + timedelta(microseconds=1)) == following
        assert around(first, following)[:2] == (time, following)
        time = following


def test_a_next_run_is_a_fire_time_and_none_is_between_its_setting_and_it():
    first = first_of(CronTrigger(hour=3, timezone=UTC))
    known = NextRun(NOON, NOON + timedelta(days=2))
    first_before, first_after = NOON.replace(hour=3), NOON + timedelta(days=2, hours=15)
    for hours in (1, 15, 47):
        at = NOON + timedelta(hours=hours)
        assert around(first, at, [known]) == (first_before, known.run_time, "", known)
    assert around(first, NOON, [known]) == (first_before, known.run_time, "", None)
    assert around(first, known.run_time, [known]) == (first_before, known.run_time, "", None)
    later = known.run_time + timedelta(seconds=1)
    assert around(first, later, [known]) == (known.run_time, first_after, "", None)


def test_a_next_run_that_is_over_leaves_out_nothing():
    first = first_of(CronTrigger(hour=3, timezone=UTC))
    known = NextRun(NOON, NOON - timedelta(hours=5))
    assert around(first, NOON, [known])[:2] == (known.run_time, NOON + timedelta(hours=15))
    assert around(first, known.run_time, [known])[:2] == (NOON.replace(hour=3), known.run_time)
    assert around(never, NOON, [known])[:2] == (known.run_time, None)


@pytest.mark.parametrize("moment", [datetime.min, datetime.max], ids=["first", "last"])
def test_the_ends_of_time_are_no_errors(moment):
    for trigger in TRIGGERS.values():
        if is_known(trigger):
            around(first_of(trigger), moment.replace(tzinfo=UTC))


class Never(BaseTrigger):
    def get_next_fire_time(self, previous, now):
        raise AssertionError("called")

    def __getstate__(self):
        return {"version": 1}


class Called:
    """Its pickle calls a function that would fail the test."""

    def __reduce__(self):
        return fail, ()


def fail():
    raise AssertionError("called")


def changed(trigger, **state):
    """Return a trigger whose state has other values."""
    for name, value in state.items():
        setattr(trigger, name, value)
    return trigger


def daily(**state):
    return changed(CronTrigger(hour=3, timezone=UTC), **state)


def hourly(**state):
    return changed(IntervalTrigger(hours=1, timezone=UTC), **state)


UNKNOWN = {
    "a class of others": (Never(), "Never can't be computed here"),
    "and": (AndTrigger([daily(), hourly()]), "its trigger and can't be computed here"),
    "or of others": (OrTrigger([daily(), Never()]), "Never can't be computed here"),
    "or of none": (OrTrigger([]), "its trigger or has parts that can't be read here"),
    "or of or": (OrTrigger([OrTrigger([OrTrigger([OrTrigger([daily()])])])]), "can't be computed"),
    "jitter": (hourly(jitter=3), "its trigger has jitter"),
    "a start": (daily(start_date=Called()), "its trigger cron has parts"),
    "a zone": (daily(timezone=Called()), "its trigger cron has parts"),
    "a zone of dateutil": (daily(timezone=tz.gettz("Europe/Berlin")), "its trigger cron has parts"),
    "a field": (daily(fields=[Called()]), "its trigger cron has parts"),
    "an interval": (hourly(interval=Called()), "its trigger interval has parts"),
    "an interval of 0": (hourly(interval=timedelta(0)), "its trigger interval has parts"),
    "a negative interval": (hourly(interval=timedelta(-1)), "its trigger interval has parts"),
    "no start": (hourly(start_date=None), "its trigger interval has parts"),
    "a naive start": (hourly(start_date=datetime(2026, 1, 1)), "its trigger interval has parts"),
    "no date": (changed(DateTrigger(NOON, UTC), run_date=None), "its trigger date has parts"),
    "a function": (Called(), "can't be computed here"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_times_that_cannot_be_told_have_a_reason_and_nothing_is_called(name):
    trigger, reason = UNKNOWN[name]
    assert reason in text_of_reason(trigger)


@pytest.mark.parametrize(
    "key", ["Europe/Nowhere", "../../etc/passwd", "/etc/passwd", "", "a.b/c", "a\nb", "x" * 9999]
)
def test_a_zone_of_a_strange_name_is_refused(key):
    pickled = pickle.dumps(daily(timezone=BERLIN)).replace(
        b"\x8c\x0dEurope/Berlin", b"X" + len(key).to_bytes(4, "little") + key.encode()
    )
    frame = pickled.index(b"\x95")
    pickled = pickled[:frame] + pickled[frame + 9 :]  # its length has changed
    with pytest.raises(UnreadableError, match="its trigger cron has parts"):
        firing(read(pickled))
