"""`jobstore.add_jobs(..., fast_cron=True)`: stock cron triggers become fast ones."""

from datetime import datetime, timezone

import pytest
from apscheduler.triggers.cron import CronTrigger as StockCronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobstore import ConflictingIdsError, add_jobs
from jobstore.triggers import CronTrigger
from support.counting_scheduler import STORES, CountingScheduler, named, ready, work

YEAR_2100 = datetime(2100, 1, 1, tzinfo=timezone.utc)


def cron(kind=StockCronTrigger, **arguments):
    return kind(**{"year": 2100, "timezone": timezone.utc, **arguments})


@pytest.fixture(params=STORES)
def store(request):
    return STORES[request.param]()


@pytest.mark.parametrize("started", [True, False], ids=["started", "pending"])
def test_jobs_with_stock_cron_triggers_get_fast_ones_before_their_first_run_times(
    store, started, monkeypatch
):
    def only_for_fast(trigger, previous, now):
        assert type(trigger) is CronTrigger  # which may leave a hard case to this method
        return original(trigger, previous, now)

    original = StockCronTrigger.get_next_fire_time
    trigger = cron()
    ready_jobs = ready("ready", trigger=trigger)
    jobs = [
        {"func": work, "id": "alias", "trigger": "cron", "year": 2100, "timezone": "UTC"},
        {"func": work, "id": "instance", "trigger": trigger},
        *ready_jobs,
    ]
    scheduler = CountingScheduler(store, start=started)
    with monkeypatch.context() as patch:
        patch.setattr(StockCronTrigger, "get_next_fire_time", only_for_fast)
        added = add_jobs(scheduler, jobs, fast_cron=True)
        if not started:
            scheduler.start()
    assert added[2] is ready_jobs[0]
    assert [type(job.trigger) for job in added] == [CronTrigger] * 3
    assert [job.next_run_time for job in added] == [YEAR_2100] * 3
    assert type(trigger) is StockCronTrigger


@pytest.mark.parametrize("fast_cron", [True, False])
def test_triggers_that_are_no_stock_cron_triggers_stay(store, fast_cron):
    triggers = [cron(CronTrigger), IntervalTrigger(days=9)]
    jobs = [{"func": work, "trigger": trigger} for trigger in triggers]
    added = add_jobs(CountingScheduler(store), jobs, fast_cron=fast_cron)
    assert [job.trigger for job in added] == triggers


def test_without_fast_cron_a_job_keeps_its_stock_trigger(store):
    trigger = cron()
    jobs = [{"func": work, "trigger": trigger}, *ready("a", trigger=trigger)]
    added = add_jobs(CountingScheduler(store), jobs)
    assert [job.trigger for job in added] == [trigger, trigger]


@pytest.mark.parametrize("failure", ["conflict", "bad job", "unknown alias"])
def test_ready_job_that_is_not_added_gets_its_trigger_back(store, failure):
    scheduler, own = CountingScheduler(store), CountingScheduler(STORES["stock"]())
    add_jobs(scheduler, named("there"))
    trigger = cron()
    (job,) = ready("there" if failure == "conflict" else "free", trigger=trigger)
    job._scheduler = own
    jobs = [job, job, {"func": 3}] if failure == "bad job" else [job, job]
    with pytest.raises((ConflictingIdsError, KeyError, TypeError)):
        add_jobs(scheduler, jobs, "no" if failure == "unknown alias" else "default", fast_cron=True)
    assert job.trigger is trigger
    assert job._scheduler is own


def test_of_ready_jobs_only_the_refused_ones_get_their_triggers_back(store):
    scheduler = CountingScheduler(store)
    add_jobs(scheduler, named("b"))
    jobs = ready("a", "b", "c", trigger=cron())
    with pytest.raises(ConflictingIdsError):
        add_jobs(scheduler, jobs, fast_cron=True)
    assert [type(job.trigger) for job in jobs] == [CronTrigger, StockCronTrigger, CronTrigger]


@pytest.mark.parametrize("value", [None, "true", 2])
def test_any_value_but_true_and_false_is_refused_before_a_job_is_read(store, value):
    def jobs():
        raise AssertionError("read")
        yield

    with pytest.raises(ValueError, match=r"fast_cron is .*: it must be True or False"):
        add_jobs(CountingScheduler(store), jobs(), fast_cron=value)
