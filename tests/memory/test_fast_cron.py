"""`MemoryJobStore(fast_cron=True)`: due jobs with stock cron triggers get fast ones."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore
from apscheduler.schedulers import base
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger as StockCronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobstore import MemoryJobStore, add_jobs
from jobstore.triggers import CronTrigger
from support.manual_scheduler import by_hand
from support.scheduler_runs import Runs, running

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2031, 3, 29, 12, tzinfo=timezone.utc)  # 13 hours before Berlin's clocks change
MINUTE = timedelta(minutes=1)
# The minutes of these would not all be due at once.
SCHEDULES = [
    {"minute": "*/5"},
    {"minute": "*/5", "hour": "8-18", "day_of_week": "mon-fri"},
    {"minute": 30, "hour": 2},
    {"hour": "*/3", "day": "last,1-4,2nd tue"},
    {"hour": 1, "week": "13,14", "day_of_week": "sun,mon"},
    {"minute": "*", "end_date": NOON.replace(tzinfo=None) + timedelta(days=3)},
    {"month": "apr", "day": 1, "hour": 0, "start_date": "2031-03-30"},
    {"year": 2032},
]


class OwnTrigger(StockCronTrigger):
    """A user's own class."""


class Clock:
    """Stands in for `datetime` in the scheduler's module, which asks only for `now`."""

    def __init__(self, time):
        self.time = time

    def now(self, zone):
        return self.time.astimezone(zone)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock(NOON)
    monkeypatch.setattr(base, "datetime", clock)
    return clock


def task():
    """Do nothing: the function of the jobs."""


def due(scheduler, trigger, **options):
    """Add a job that is due in the scheduler's next cycle."""
    return scheduler.add_job(task, trigger, next_run_time=NOON, misfire_grace_time=None, **options)


def history(store, clock):
    """Run 200 cycles on a store; return what they submitted and left behind."""
    clock.time = NOON
    scheduler = by_hand(store)
    for zone in (timezone.utc, BERLIN):
        for i, schedule in enumerate(SCHEDULES):
            for coalesce in (True, False):
                trigger = StockCronTrigger(timezone=zone, **schedule)
                scheduler.add_job(task, trigger, id=f"{i} {zone} {coalesce}", coalesce=coalesce)
    steps = []
    for i in range(200):
        clock.time += MINUTE * (1, 4, 11, 60)[i % 4]
        wait = scheduler._process_jobs()
        left = [(job.id, job.next_run_time.isoformat()) for job in store.get_all_jobs()]
        steps.append((wait, scheduler.executor.submitted.copy(), left))
        scheduler.executor.submitted.clear()
    return steps


@pytest.mark.parametrize("in_flight", [None, 1000])
def test_every_cycle_fires_the_same_runs_as_on_the_stock_store(clock, in_flight):
    store = MemoryJobStore(fast_cron=True, in_flight=in_flight)
    fast, stock = history(store, clock), history(StockMemoryJobStore(), clock)
    assert fast == stock
    assert sum(len(submitted) for _, submitted, _ in stock) > 1000
    fired = {job_id for _, submitted, _ in stock for job_id, _ in submitted}
    for job in store.get_all_jobs():
        assert type(job.trigger) is (CronTrigger if job.id in fired else StockCronTrigger)


# Which jobs, and when


def by_add_job(scheduler):
    return due(scheduler, "cron")


def by_add_jobs(scheduler):
    return add_jobs(scheduler, [{"func": task, "trigger": "cron", "next_run_time": NOON}])[0]


def by_modify(scheduler):
    return due(scheduler, "interval").modify(trigger=StockCronTrigger())


def by_reschedule(scheduler):
    job = due(scheduler, "interval").reschedule("cron")
    return job.modify(next_run_time=NOON)


def by_replacement(scheduler):
    due(scheduler, "interval", id="a")
    return due(scheduler, "cron", id="a", replace_existing=True)


WAYS = [by_add_job, by_add_jobs, by_modify, by_reschedule, by_replacement]


@pytest.mark.parametrize("in_flight", [None, 1])
@pytest.mark.parametrize("add", WAYS)
def test_a_job_gets_the_fast_trigger_when_a_cycle_hands_it_out(clock, add, in_flight):
    store = MemoryJobStore(fast_cron=True, in_flight=in_flight)
    scheduler = by_hand(store)
    job = add(scheduler)
    stock = job.trigger
    assert type(stock) is StockCronTrigger
    scheduler._process_jobs()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == [job.id]
    assert type(job.trigger) is CronTrigger
    assert job.trigger.fields is stock.fields
    assert scheduler.get_job(job.id) is job
    assert type(stock) is StockCronTrigger


@pytest.mark.parametrize("add", WAYS)
def test_without_fast_cron_a_job_keeps_the_trigger_that_it_has(clock, add):
    scheduler = by_hand(MemoryJobStore())
    job = add(scheduler)
    stock = job.trigger
    scheduler._process_jobs()
    assert scheduler.executor.submitted
    assert job.trigger is stock
    assert type(stock) is StockCronTrigger


@pytest.mark.parametrize(
    "trigger",
    [
        OwnTrigger(),
        CronTrigger(),
        OrTrigger([StockCronTrigger()]),
        IntervalTrigger(hours=1),
        DateTrigger(NOON),
    ],
    ids=lambda trigger: type(trigger).__name__,
)
def test_a_trigger_of_any_other_class_stays(clock, trigger):
    scheduler = by_hand(MemoryJobStore(fast_cron=True))
    job = due(scheduler, trigger)
    scheduler._process_jobs()
    assert scheduler.executor.submitted
    assert job.trigger is trigger


def test_a_job_that_is_not_due_or_only_read_by_the_application_keeps_its_trigger(clock):
    store = MemoryJobStore(fast_cron=True)
    scheduler = by_hand(store)
    job = due(scheduler, "cron")
    later = scheduler.add_job(task, "cron", year=2040)
    assert store.get_due_jobs(NOON) == [job]
    assert store.get_all_jobs() == [job, later]
    assert type(job.trigger) is StockCronTrigger
    scheduler._process_jobs()
    assert type(job.trigger) is CronTrigger
    assert type(later.trigger) is StockCronTrigger


def test_a_trigger_that_jobs_share_stays_that_of_a_job_in_another_store(clock):
    scheduler = by_hand(MemoryJobStore(fast_cron=True))
    scheduler.add_jobstore(MemoryJobStore(), "other")
    shared = StockCronTrigger(timezone=BERLIN)
    job, other = due(scheduler, shared), due(scheduler, shared, jobstore="other")
    scheduler._process_jobs()
    assert len(scheduler.executor.submitted) == 2
    assert type(job.trigger) is CronTrigger
    assert other.trigger is shared
    assert job.next_run_time == other.next_run_time


def test_a_job_that_its_executor_refuses_stays_due_with_the_fast_trigger(clock):
    scheduler = by_hand(MemoryJobStore(fast_cron=True))
    broken = ThreadPoolExecutor(1)
    broken._pool.shutdown()
    scheduler.add_executor(broken, "broken")
    job = due(scheduler, "cron", executor="broken")
    scheduler._process_jobs()
    assert type(job.trigger) is CronTrigger
    assert job.next_run_time == NOON


def test_a_job_added_before_the_start_of_a_threaded_scheduler_runs_with_the_fast_trigger():
    scheduler = BackgroundScheduler(jobstores={"default": MemoryJobStore(fast_cron=True)})
    runs = Runs(scheduler)
    job = scheduler.add_job(task, "cron", second="*", id="a", misfire_grace_time=None)
    with running(scheduler):
        runs.wait("a", 2)
        assert type(job.trigger) is CronTrigger


# The argument


CONFIGURED = {
    "nested": lambda value: {"apscheduler.jobstores.default": {"type": "fastmemory", **value}},
    "flat": lambda value: {
        "apscheduler.jobstores.default.type": "fastmemory",
        **{f"apscheduler.jobstores.default.{name}": each for name, each in value.items()},
    },
}


@pytest.mark.parametrize("configuration", CONFIGURED.values(), ids=CONFIGURED)
def test_fast_cron_can_be_set_in_a_configuration(configuration):
    scheduler = BackgroundScheduler(configuration({"fast_cron": True}))
    runs = Runs(scheduler)
    with running(scheduler):
        job = scheduler.add_job(task, "cron", second="*", id="a", misfire_grace_time=None)
        runs.wait("a", 1)
        assert type(job.trigger) is CronTrigger


@pytest.mark.parametrize("configuration", CONFIGURED.values(), ids=CONFIGURED)
def test_a_text_in_a_configuration_is_refused_as_for_every_argument(configuration):
    with pytest.raises(ValueError, match="fast_cron is 'true': it must be True or False"):
        BackgroundScheduler(configuration({"fast_cron": "true"}))


@pytest.mark.parametrize("value", [None, "auto", 2, [True]])
def test_any_value_but_true_and_false_is_refused(value):
    with pytest.raises(ValueError, match=r"fast_cron is .*: it must be True or False"):
        MemoryJobStore(fast_cron=value)
