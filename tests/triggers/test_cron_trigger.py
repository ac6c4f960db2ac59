"""The fast cron trigger as users see it: the stock class's interface, texts, errors and pickles."""

import copy
import inspect
import os
import pickle
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger as StockCronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobstore.triggers import CronTrigger, check_fast_cron, use_fast_cron
from support.manual_scheduler import BY_HAND

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2030, 3, 30, 12, 30, 7, tzinfo=BERLIN)
ARGUMENTS = [
    {},
    {"minute": "*/5", "hour": "8-18", "day_of_week": "mon-fri", "timezone": "Europe/Berlin"},
    {"year": 2040, "month": "jan-mar,dec", "day": "last sun", "timezone": timezone.utc},
    {"day": "2nd fri", "hour": 3, "start_date": START, "end_date": START + timedelta(days=99)},
    {"week": "1,53", "second": "*/20", "jitter": 30, "start_date": "2030-01-01 00:00:00"},
]
EVERY_PROTOCOL = range(pickle.HIGHEST_PROTOCOL + 1)
# The two kinds of picklers check a reduction in code of their own.
DUMPS = pytest.mark.parametrize("dumps", [pickle.dumps, pickle._dumps], ids=["C", "Python"])


class OwnTrigger(CronTrigger):
    """A user's own class."""


class OwnStockTrigger(StockCronTrigger):
    """A user's own subclass of the stock class."""


def task(*args):
    """Do nothing: the function of the jobs."""


def job_of(trigger):
    return Job(
        BY_HAND,
        id="a",
        func=task,
        trigger=trigger,
        executor="default",
        args=(1, "two"),
        kwargs={},
        misfire_grace_time=1,
        coalesce=True,
        max_instances=1,
        next_run_time=START,
    )


def converted(arguments):
    job = SimpleNamespace(trigger=StockCronTrigger(**arguments))
    use_fast_cron(job)
    return job.trigger


def run_times(trigger, count=20):
    """Return the first run times from START on, each computed as a scheduler does."""
    times, last = [], None
    while len(times) < count and (last := trigger.get_next_fire_time(last, last or START)):
        times.append(last)
    return times


def attributes(trigger):
    texts = [(type(field), field.name, str(field), field.is_default) for field in trigger.fields]
    return texts, trigger.timezone, trigger.start_date, trigger.end_date, trigger.jitter


def raised(call):
    with pytest.raises(Exception) as caught:  # noqa: PT011  # any error: the types are compared
        call()
    return type(caught.value), str(caught.value)


# Interface


@pytest.mark.parametrize("make", [lambda arguments: CronTrigger(**arguments), converted])
@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_attributes_and_texts_are_those_of_the_stock_class(arguments, make):
    fast, stock = make(arguments), StockCronTrigger(**arguments)
    assert type(fast) is CronTrigger
    assert attributes(fast) == attributes(stock)
    assert (repr(fast), str(fast)) == (repr(stock), str(stock))


def test_the_signatures_are_those_of_the_stock_class():
    for name in ("__init__", "from_crontab"):
        fast, stock = (getattr(each, name) for each in (CronTrigger, StockCronTrigger))
        assert inspect.signature(fast) == inspect.signature(stock)


def test_a_crontab_expression_makes_a_fast_trigger():
    fast = CronTrigger.from_crontab("*/5 8-18 * * mon-fri", BERLIN)
    stock = StockCronTrigger.from_crontab("*/5 8-18 * * mon-fri", BERLIN)
    assert type(fast) is CronTrigger
    assert attributes(fast) == attributes(stock)


@pytest.mark.parametrize(
    "fail",
    [
        lambda of: of(minute="60"),
        lambda of: of(day="third sun"),
        lambda of: of(hour="5-2"),
        lambda of: of(nonsense=1),
        lambda of: of(timezone="No/Where"),
        lambda of: of(start_date="tomorrow"),
        lambda of: of.from_crontab("* * * *"),
        lambda of: of(timezone=timezone.utc).__setstate__({"version": 3}),
    ],
)
def test_errors_are_those_of_the_stock_class(fail):
    assert raised(lambda: fail(CronTrigger)) == raised(lambda: fail(StockCronTrigger))


def test_isinstance_knows_it_as_a_stock_trigger_and_no_stock_trigger_as_a_fast_one():
    fast, stock = CronTrigger(), StockCronTrigger()
    for kind in (CronTrigger, StockCronTrigger, BaseTrigger):
        assert isinstance(fast, kind)
    assert not isinstance(stock, CronTrigger)
    assert not isinstance(fast, OwnTrigger)
    assert isinstance(OwnTrigger(), CronTrigger)
    assert (fast.__class__, OwnTrigger().__class__) == (StockCronTrigger, OwnTrigger)


@pytest.mark.parametrize("combine", [AndTrigger, OrTrigger])
def test_combined_triggers_of_it_fire_as_those_of_stock_triggers(combine):
    fast, stock = (
        combine([kind(hour="*/2", timezone=BERLIN), kind(day="last,1-3", timezone=BERLIN)])
        for kind in (CronTrigger, StockCronTrigger)
    )
    # Without a previous run time: with one, an AndTrigger of the stock triggers may never end.
    for now in (START + timedelta(hours=11 * i) for i in range(50)):
        assert fast.get_next_fire_time(None, now) == stock.get_next_fire_time(None, now)
    assert (repr(fast), str(fast)) == (repr(stock), str(stock))


def test_alias_fastcron_makes_a_fast_trigger_in_the_schedulers_time_zone():
    scheduler = BackgroundScheduler(timezone="Europe/Berlin")
    scheduler.start(paused=True)
    try:
        job = scheduler.add_job(task, "fastcron", hour="*/5", minute=30)
        assert type(job.trigger) is CronTrigger
        assert str(job.trigger.timezone) == "Europe/Berlin"
        assert (job.next_run_time.hour % 5, job.next_run_time.minute) == (0, 30)
        job.reschedule("fastcron", year=2100)
        assert job.next_run_time.year == 2100
    finally:
        scheduler.shutdown()


# Pickles


@DUMPS
@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_it_pickles_byte_for_byte_as_an_equal_stock_trigger(arguments, protocol, dumps):
    expected = dumps(StockCronTrigger(**arguments), protocol)
    for fast in (CronTrigger(**arguments), converted(arguments)):
        run_times(fast, 2)  # results that it remembers are not pickled
        assert dumps(fast, protocol) == expected
    assert type(pickle.loads(expected)) is StockCronTrigger


@DUMPS
@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: OrTrigger([t, AndTrigger([t])])])
@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_the_state_of_a_job_has_the_bytes_of_a_job_with_a_stock_trigger(
    arguments, wrap, protocol, dumps
):
    fast, stock = (job_of(wrap(kind(**arguments))) for kind in (CronTrigger, StockCronTrigger))
    assert dumps(fast.__getstate__(), protocol) == dumps(stock.__getstate__(), protocol)
    assert dumps(fast, protocol) == dumps(stock, protocol)


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
def test_a_process_without_jobstore_reads_it(protocol):
    trigger = CronTrigger(**ARGUMENTS[1])
    code = (
        "import pickle, sys\n"
        "sys.modules['jobstore'] = None  # each import of it fails\n"
        "triggers = pickle.load(sys.stdin.buffer)['trigger'].triggers\n"
        "print(*(type(trigger).__module__ for trigger in triggers), triggers[0])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps({"trigger": OrTrigger([trigger, CronTrigger()])}, protocol),
        env=os.environ,
        capture_output=True,
        timeout=60,
    )
    module = StockCronTrigger.__module__
    assert ran.stdout.decode().strip() == f"{module} {module} {trigger}", ran.stderr


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
def test_a_restored_trigger_fires_at_the_same_times(protocol):
    fast = CronTrigger(**ARGUMENTS[3])
    assert run_times(pickle.loads(pickle.dumps(fast, protocol))) == run_times(fast)


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
def test_a_subclass_pickles_as_itself(protocol):
    own = OwnTrigger(**ARGUMENTS[3])
    restored = pickle.loads(pickle.dumps(own, protocol))
    assert type(restored) is OwnTrigger
    assert attributes(restored) == attributes(own)


# Copies


@pytest.mark.parametrize("kind", [CronTrigger, OwnTrigger])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_is_of_the_same_class_and_equal(copied, kind):
    fast = kind(**ARGUMENTS[3])
    times = run_times(fast)
    other = copied(fast)
    assert type(other) is kind
    assert attributes(other) == attributes(fast)
    assert run_times(other) == times


def test_only_a_deep_copy_has_its_own_fields():
    fast = CronTrigger(**ARGUMENTS[3])
    assert copy.copy(fast).fields is fast.fields
    assert copy.deepcopy(fast).fields is not fast.fields


def test_a_trigger_that_occurs_twice_is_copied_deeply_once():
    fast = CronTrigger()
    first, second = copy.deepcopy([fast, fast])
    assert first is second is not fast


# use_fast_cron


def test_use_fast_cron_shares_the_attributes_of_the_stock_trigger():
    stock = StockCronTrigger(**ARGUMENTS[3])
    job = job_of(stock)
    use_fast_cron(job)
    assert type(job.trigger) is CronTrigger
    for name in StockCronTrigger.__slots__:
        assert getattr(job.trigger, name) is getattr(stock, name)
    assert run_times(job.trigger) == run_times(stock)


@pytest.mark.parametrize(
    "trigger",
    [
        CronTrigger(),
        OwnTrigger(),
        OwnStockTrigger(),
        IntervalTrigger(hours=1),
        OrTrigger([StockCronTrigger()]),
    ],
    ids=lambda trigger: type(trigger).__name__,
)
def test_use_fast_cron_leaves_every_other_trigger_alone(trigger):
    job = job_of(trigger)
    use_fast_cron(job)
    assert job.trigger is trigger


@pytest.mark.parametrize("value", [None, "true", "", 2, [], object])
def test_a_value_that_is_neither_true_nor_false_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"fast_cron is .*: it must be True or False") as caught:
        check_fast_cron(value)
    assert repr(value) in str(caught.value)
