"""Whatever a call is given, it has the stock trigger's result or error, and never crashes."""

import gc
import random
import struct
import sys
import weakref
from datetime import datetime, timedelta, timezone, tzinfo
from io import BytesIO
from threading import Thread
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.cron import expressions
from apscheduler.triggers.cron.fields import BaseField

from jobstore import _cron_c
from support.cron_cases import METHODS, CronTrigger, StockCronTrigger, outcome
from support.parameters import kind
from support.threads import run_interleaved

UTC = timezone.utc
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)
PREVIOUS = datetime(2026, 1, 1, 12, tzinfo=BERLIN)


class Subclass(datetime):
    pass


class RaisingZone(tzinfo):
    def utcoffset(self, moment):
        if moment is not None:
            raise ZeroDivisionError("no offset")

    dst = utcoffset

    def tzname(self, moment):
        return "raising"


class LongOffset(RaisingZone):
    def utcoffset(self, moment):
        return timedelta(days=3)


class ZoneInfoSubclass(ZoneInfo):
    pass


def damaged_zone(offset):
    """Make a ZoneInfo from a file with one offset, in seconds, which may be longer than a day."""
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    data = b"TZif" + bytes(16) + counts + struct.pack(">lbb", offset, 0, 0) + b"BAD\0"
    return ZoneInfo.from_file(BytesIO(data), "damaged")


class OtherField(BaseField):
    def get_next_value(self, date):
        return 7


class OtherExpression(expressions.AllExpression):
    def get_next_value(self, date, field):
        return 7


TIMES = [
    None, 0, "", "2026", 5, object(), [], NOW.date(), NOW.time(), PREVIOUS, NOW,
    datetime(2026, 1, 1), datetime.min, datetime.max, Subclass(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=RaisingZone()), datetime(2026, 1, 1, tzinfo=LongOffset()),
    datetime(2026, 1, 1, tzinfo=ZoneInfoSubclass("Europe/Berlin")),
    datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=BERLIN),
    datetime(2026, 10, 25, 2, tzinfo=BERLIN, fold=1), datetime(2026, 3, 29, 2, tzinfo=BERLIN),
]  # fmt: skip
VALUES = {
    "timezone": [UTC, None, 5, "UTC", RaisingZone(), LongOffset(), ZoneInfoSubclass("Asia/Tokyo")],
    "start_date": TIMES,
    "end_date": TIMES,
    "jitter": [None, 0, -1, 2.5, "5", float("nan"), object()],
    "fields": [None, [], (), 5, [None] * 8, [object()] * 3, {}],
}


def junk_fields():
    """Yield lists of fields that the stock class never makes."""
    for place, change in [
        (5, OtherField("hour", "*")),
        (2, OtherField("day", "*")),
        (5, None),
        (6, "minute"),
    ]:
        fields = CronTrigger(hour="8-18", timezone=UTC).fields
        fields[place] = change
        yield fields
    good = CronTrigger(hour="8-18", timezone=UTC).fields
    yield good[:7]
    yield [*good, good[0]]
    yield tuple(good)
    yield list(reversed(good))
    for name, value in [
        ("name", "minute"), ("name", 5), ("expressions", None), ("expressions", []),
        ("expressions", ()), ("expressions", [None]), ("expressions", [OtherExpression()]),
        ("expressions", [expressions.LastDayOfMonthExpression()]),
    ]:  # fmt: skip
        fields = CronTrigger(hour="8-18", timezone=UTC).fields
        setattr(fields[5], name, value)
        yield fields
    for name in "first", "last", "step":
        for value in None, "x", -3, 10**30, 2.0, True, 0:
            fields = CronTrigger(hour="8-18", timezone=UTC).fields
            setattr(fields[5].expressions[0], name, value)
            yield fields
    for name in "expressions", "name":
        fields = CronTrigger(hour="8-18", timezone=UTC).fields
        delattr(fields[5], name)
        yield fields


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def pair(**changes):
    triggers = [cls(minute="*/5", timezone=BERLIN) for cls in (StockCronTrigger, CronTrigger)]
    for trigger in triggers:
        trigger.timezone = BERLIN
        for name, value in changes.items():
            setattr(trigger, name, value)
    return triggers


def agree(method, stock, fast, previous, now):
    random.seed(1)
    expected = outcome(StockCronTrigger.get_next_fire_time, stock, previous, now)
    random.seed(1)
    assert outcome(method, fast, previous, now)[:2] == expected[:2]


@pytest.mark.parametrize("previous", TIMES, ids=kind)
def test_any_arguments(method, previous):
    for now in TIMES:
        agree(method, *pair(), previous, now)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in VALUES for value in VALUES[name]], ids=kind
)
@pytest.mark.parametrize("previous", [None, PREVIOUS, NOW], ids=str)
def test_any_attribute(method, previous, name, value):
    agree(method, *pair(**{name: value}), previous, NOW)


@pytest.mark.parametrize("name", VALUES)
def test_a_trigger_without_an_attribute(method, name):
    stock, fast = pair()
    for trigger in stock, fast:
        delattr(trigger, name)
    agree(method, stock, fast, PREVIOUS, NOW)
    agree(method, *(cls.__new__(cls) for cls in (StockCronTrigger, CronTrigger)), PREVIOUS, NOW)


@pytest.mark.parametrize("offset", [-(2**31), 2**31 - 1, 86400], ids=str)
def test_a_zone_whose_file_is_damaged(method, offset):
    agree(method, *pair(timezone=damaged_zone(offset)), PREVIOUS, NOW)


def test_an_end_date_whose_offset_has_microseconds(method):
    end = datetime(2027, 1, 1, tzinfo=timezone(timedelta(microseconds=1)))
    agree(method, *pair(timezone=timezone(timedelta(hours=-1)), end_date=end), PREVIOUS, NOW)


def test_junk_in_the_fields(method):
    end = datetime(2026, 2, 1, tzinfo=BERLIN)  # else a search without a result ends in 9999
    for fields in junk_fields():
        agree(method, *pair(fields=fields, end_date=end), PREVIOUS, NOW)


@pytest.mark.parametrize("junk", [None, 5, "", object()], ids=kind)
def test_junk_in_the_slot_of_the_schedule_is_replaced(method, junk):
    stock, fast = pair()
    fast._schedule = junk
    agree(method, stock, fast, PREVIOUS, NOW)


@pytest.mark.parametrize("trigger", [None, 5, object(), StockCronTrigger(timezone=UTC)], ids=kind)
def test_any_object_as_the_trigger(method, trigger):
    expected = outcome(StockCronTrigger.get_next_fire_time, trigger, PREVIOUS, NOW)
    assert outcome(method, trigger, PREVIOUS, NOW)[:2] == expected[:2]


def test_a_class_that_cannot_be_adopted_leaves_the_adopted_one_alone(method):
    class Large:
        __slots__ = (*(f"a{number}" for number in range(10_000)), "timezone")

    with pytest.raises(AttributeError, match="start_date"):
        _cron_c.adopt(Large)
    agree(method, *pair(), PREVIOUS, NOW)


def test_a_zone_that_changes_the_trigger_while_it_is_asked(method):
    class Changing(RaisingZone):
        def utcoffset(self, moment):
            for name in VALUES:
                if hasattr(fast, name):
                    delattr(fast, name)
            fast._schedule = None
            gc.collect()
            return timedelta(0)

    _, fast = pair(end_date=datetime(2027, 1, 1, tzinfo=Changing()))
    with pytest.raises(AttributeError):
        method(fast, PREVIOUS, NOW)
    _, fast = pair()
    with pytest.raises((AttributeError, ZeroDivisionError)):
        method(fast, datetime(2026, 1, 1, tzinfo=Changing()), NOW)


def test_a_finalizer_that_calls_again_and_changes_the_trigger(method):
    class Field(BaseField):
        def __del__(self):
            method(other, PREVIOUS, NOW)
            fast.fields = other.fields

    _, fast = pair()
    _, other = pair()
    fast.fields[7] = Field("second", "0")
    method(fast, PREVIOUS, NOW)
    fast.fields = pair()[1].fields  # only the old schedule holds the field now
    assert method(fast, PREVIOUS, NOW) == method(other, PREVIOUS, NOW)


def test_no_reference_is_kept_or_lost(method):
    zone = ZoneInfo.no_cache("Europe/Berlin")
    held = [object(), zone, PREVIOUS, NOW]
    _, trigger = pair(timezone=zone)
    calls = [(trigger, time, now) for time in (None, PREVIOUS, NOW, 5) for now in (NOW, "now")]

    def run():
        for _ in range(1000):
            for call in calls:
                outcome(method, *call)

    run()
    before = [sys.getrefcount(each) for each in held]
    run()
    after = [sys.getrefcount(each) for each in held]
    assert all(abs(one - other) < 100 for one, other in zip(before, after, strict=True))


def test_a_trigger_is_freed_with_its_schedule(method):
    class Weak(CronTrigger):
        __slots__ = ("__weakref__",)

    field = weakref.ref((trigger := pair()[1]).fields[0])
    method(trigger, PREVIOUS, NOW)
    method(pair()[1], PREVIOUS, NOW)  # another search takes the place of the remembered one
    del trigger
    gc.collect()
    assert field() is None


def test_threads_that_share_triggers_get_their_own_answers(method):
    zones = [ZoneInfo(name) for name in ("Europe/Berlin", "Asia/Tokyo", "America/New_York")]
    triggers = [CronTrigger(minute=minute, timezone=zone) for minute in (7, 21) for zone in zones]
    for trigger, zone in zip(triggers, zones * 2, strict=True):
        trigger.timezone = zone
    wrong = []

    def ask(start):
        for i in range(start, start + 600):
            trigger = triggers[i % len(triggers)]
            now = NOW + timedelta(minutes=i)
            time = method(trigger, now - timedelta(seconds=1), now)
            expected = StockCronTrigger.get_next_fire_time(trigger, now - timedelta(seconds=1), now)
            if time != expected or time.tzinfo is not trigger.timezone:
                wrong.append((trigger, now))

    run_interleaved([Thread(target=ask, args=(i,)) for i in range(4)], 1e-6)
    assert not wrong
