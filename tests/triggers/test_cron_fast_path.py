"""For ordinary triggers the compiled search finds the run times; the stock method has few cases."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
import pytz
from apscheduler.job import Job
from apscheduler.triggers.cron import CronTrigger as StockCronTrigger

from support.cron_cases import METHODS, CronTrigger

UTC = timezone.utc
ZONES = [UTC, timezone(timedelta(hours=-3)), *map(ZoneInfo, ("UTC", "Europe/Berlin", "Asia/Tokyo"))]
ORDINARY = [
    {"minute": "*/5", "hour": "8-18", "day_of_week": "mon-fri"},
    {"second": "*/10"},
    {"hour": 4, "minute": 30},
    {"day_of_week": "mon"},
    {"day": "last", "hour": 12},
    {"day": "2nd tue,4th tue", "hour": 9},
    {"month": "*/3", "day": 1, "hour": 5},
    {"week": "10,40", "day_of_week": "fri"},
    {"year": "2020-2090/2", "month": "feb", "day": 29},
]


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


@pytest.fixture
def stock_calls(monkeypatch):
    """List the calls of the stock method."""
    calls = []
    stock_method = StockCronTrigger.get_next_fire_time

    def counted(*arguments):
        calls.append(arguments)
        return stock_method(*arguments)

    monkeypatch.setattr(StockCronTrigger, "get_next_fire_time", counted)
    return calls


@pytest.mark.parametrize("arguments", ORDINARY, ids=str)
@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_the_stock_method_finds_no_run_time_of_an_ordinary_trigger(
    method, stock_calls, arguments, zone
):
    trigger = CronTrigger(timezone=zone, **arguments)
    time = method(trigger, None, datetime(2026, 1, 1, tzinfo=UTC))
    for _ in range(100):
        now = time.astimezone(UTC) + timedelta(milliseconds=2)
        if time.year > 2085:
            break
        time = method(trigger, time, now)
        assert time.tzinfo is zone
    assert not stock_calls


@pytest.mark.parametrize(
    "limits",
    [
        {"start_date": datetime(2026, 5, 1)},
        {"end_date": datetime(2030, 5, 1)},
        {"start_date": "2026-05-01", "end_date": "2027-01-01 12:00:00"},
        {"jitter": 60},
    ],
    ids=str,
)
def test_nor_with_a_start_an_end_or_jitter(method, stock_calls, limits):
    trigger = CronTrigger(hour="*/2", timezone=ZONES[-1], **limits)
    if isinstance(trigger.timezone, ZoneInfo):  # APScheduler 3.10 makes pytz zones of names only
        assert method(trigger, None, datetime(2026, 1, 1, tzinfo=ZONES[-1])) is not None
        assert not stock_calls


def test_the_stock_method_finds_run_times_in_a_gap_and_in_a_second_occurrence(method, stock_calls):
    zone = ZoneInfo("Europe/Berlin")
    trigger = CronTrigger(hour="*", minute="*/30", timezone=zone)
    twice = datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=1)
    method(trigger, twice, twice + timedelta(hours=5))
    assert len(stock_calls) == 1
    in_gap = CronTrigger(month=3, day=29, hour=2, timezone=zone)
    method(in_gap, None, datetime(2026, 3, 1, tzinfo=zone))
    assert len(stock_calls) == 2


@pytest.mark.parametrize("zone", [pytz.timezone("Europe/Berlin"), pytz.utc], ids=str)
def test_the_stock_method_finds_all_run_times_in_other_zones(method, stock_calls, zone):
    trigger = CronTrigger(hour="*", timezone=UTC)
    trigger.timezone = zone
    method(trigger, None, datetime(2026, 1, 1, tzinfo=UTC))
    assert len(stock_calls) == 1


def test_a_subclass_has_the_stock_method(method, stock_calls):
    class Subclass(CronTrigger):
        __slots__ = ()

    method(Subclass(hour="*", timezone=UTC), None, datetime(2026, 1, 1, tzinfo=UTC))
    assert len(stock_calls) == 1


def test_a_cycle_s_second_question_has_the_first_one_s_answer(method, scheduler_job):
    now = datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)
    first = method(scheduler_job.trigger, scheduler_job.next_run_time, now)
    assert method(scheduler_job.trigger, scheduler_job.next_run_time, now) is first


def test_the_remembered_answer_is_not_given_after_a_change_of_the_trigger(method, scheduler_job):
    trigger, previous = scheduler_job.trigger, scheduler_job.next_run_time
    now = datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)
    method(trigger, previous, now)
    trigger.end_date = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
    assert method(trigger, previous, now) is None
    trigger.end_date = None
    trigger.fields = CronTrigger(hour="*", minute=17, timezone=UTC).fields
    assert method(trigger, previous, now).minute == 17
    trigger.fields[6] = CronTrigger(minute=18, timezone=UTC).fields[6]
    assert method(trigger, previous, now).minute == 18
    trigger.timezone = timezone(timedelta(minutes=1))
    assert method(trigger, previous, now).tzinfo is trigger.timezone
    trigger.jitter = 3600
    assert len({method(trigger, previous, now) for _ in range(5)}) == 5


@pytest.fixture
def scheduler_job():
    job = Job.__new__(Job)
    job.trigger = CronTrigger(hour="*", timezone=UTC)
    job.next_run_time = datetime(2026, 1, 1, 12, tzinfo=UTC)
    return job
