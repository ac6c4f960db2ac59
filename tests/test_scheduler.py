"""Real schedulers run their jobs from our store as they do from the stock store.

The tests wait for events, never for a time to pass. The machine's speed affects only how long a
test takes.
"""

from collections import Counter
from copy import deepcopy
from datetime import timedelta
from random import Random
from threading import Condition, Event

import pytest
from apscheduler.events import (
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
)
from apscheduler.executors.debug import DebugExecutor
from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

import jobstore
from jobstore import ConflictingIdError, JobLookupError
from support.scheduler_runs import PATIENCE, Runs, running, sequence, utc_now

STORES = {"stock": StockMemoryJobStore, "ours": jobstore.MemoryJobStore}
EVERY_RUN = {"misfire_grace_time": None, "coalesce": False, "max_instances": 1000}
TICK = timedelta(milliseconds=20)
HOUR = timedelta(hours=1)


@pytest.fixture(params=STORES)
def store(request):
    return STORES[request.param]()


# Each expected run happens once

SCHEDULERS = [BackgroundScheduler, BlockingScheduler, AsyncIOScheduler]


@pytest.mark.parametrize("scheduler_class", SCHEDULERS)
def test_scheduler_runs_interval_date_and_cron_jobs_once_at_each_expected_time(
    scheduler_class, store
):
    scheduler = scheduler_class(
        jobstores={"default": store}, job_defaults=EVERY_RUN, timezone="Europe/Berlin"
    )
    runs = Runs(scheduler)
    called = Counter()
    expected = {}

    def call(job_id):
        called[job_id] += 1

    async def call_async(job_id):
        called[job_id] += 1

    def add(job_id, times, trigger, **trigger_args):
        expected[job_id] = times
        is_async = scheduler_class is AsyncIOScheduler and len(expected) % 2
        options = {"id": job_id, "args": [job_id], "next_run_time": times[0]}
        scheduler.add_job(call_async if is_async else call, trigger, **options, **trigger_args)

    def add_all(name, start):
        for n in range(8):
            first = start + timedelta(milliseconds=7 * n)
            end = {"start_date": first, "end_date": first + TICK * 19.5}
            add(f"{name} interval {n}", sequence(first, TICK, 20), "interval", seconds=0.02, **end)
        for n in range(8):
            run_date = start + TICK * (n // 2)  # two at each time
            add(f"{name} date {n}", [run_date], "date", run_date=run_date)
        second = start.replace(microsecond=0)
        first, end = second - timedelta(seconds=3), second + timedelta(seconds=1.5)
        times = sequence(first, timedelta(seconds=1), 5)
        add(f"{name} cron", times, "cron", second="*", start_date=first, end_date=end)

    add_all("pending", utc_now())
    with running(scheduler):
        add_all("added", utc_now())
        for job_id, times in expected.items():
            runs.wait(job_id, len(times))
        assert scheduler.get_jobs() == []
    for job_id, times in expected.items():
        assert runs.of(job_id, EVENT_JOB_SUBMITTED) == times
        assert sorted(runs.of(job_id)) == times
        assert called[job_id] == len(times)


@pytest.mark.parametrize(
    ("options", "missed", "executed"),
    [
        ({"coalesce": False, "misfire_grace_time": None}, [], [0, 1, 2, 3]),
        ({"coalesce": True, "misfire_grace_time": None}, [], [3]),
        ({"coalesce": False, "misfire_grace_time": 7200}, [0, 1], [2, 3]),
        ({"coalesce": True, "misfire_grace_time": 60}, [3], []),
    ],
)
def test_late_runs_are_caught_up_coalesced_or_missed(store, options, missed, executed):
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone="UTC")
    runs = Runs(scheduler)
    first = utc_now() - HOUR * 3.5
    trigger = {"trigger": "interval", "hours": 1, "start_date": first}
    scheduler.add_job(int, id="late", next_run_time=first, **trigger, **options)
    with running(scheduler):
        runs.wait("late", len(missed), EVENT_JOB_MISSED)
        runs.wait("late", len(executed))
    assert runs.of("late", EVENT_JOB_MISSED) == [first + HOUR * n for n in missed]
    assert runs.of("late") == [first + HOUR * n for n in executed]


def test_max_instances_skips_runs_and_loses_none(store):
    scheduler = BackgroundScheduler(
        jobstores={"default": store}, job_defaults=EVERY_RUN, timezone="UTC"
    )
    runs = Runs(scheduler)
    released = Event()
    busy = Condition()
    now_running, most_running = 0, 0

    def hold():
        nonlocal now_running, most_running
        with busy:
            now_running += 1
            most_running = max(most_running, now_running)
            busy.notify_all()
        assert released.wait(PATIENCE)
        with busy:
            now_running -= 1

    with running(scheduler):
        scheduler.add_job(hold, "interval", seconds=0.02, id="a", max_instances=2)
        runs.wait("a", 3, EVENT_JOB_MAX_INSTANCES)
        with busy:
            assert busy.wait_for(lambda: now_running == 2, PATIENCE)
        assert runs.of("a") == []
        released.set()
        runs.wait("a", 10)
        scheduler.remove_job("a")
    submitted = runs.of("a", EVENT_JOB_SUBMITTED)
    skipped = runs.of("a", EVENT_JOB_MAX_INSTANCES)
    first = min(submitted)
    assert sorted(submitted + skipped) == sequence(first, TICK, len(submitted) + len(skipped))
    assert sorted(runs.of("a")) == submitted
    assert most_running == 2


# Changes while jobs are running. The executor runs a job within the scheduler's cycle: so no run
# of the old state starts after a change has returned.


@pytest.fixture
def scheduler(store):
    return BackgroundScheduler(
        jobstores={"default": store},
        executors={"default": DebugExecutor()},
        job_defaults=EVERY_RUN,
        timezone="UTC",
    )


@pytest.fixture
def runs(scheduler):
    """Record the runs of a started scheduler, whose job "other" runs all the time."""
    runs = Runs(scheduler)
    with running(scheduler):
        scheduler.add_job(int, "interval", seconds=0.02, id="other")
        yield runs


def tick(scheduler, **options):
    return scheduler.add_job(int, "interval", seconds=0.02, id="a", **options)


def test_paused_job_does_not_run_until_it_is_resumed(scheduler, runs):
    job = tick(scheduler)
    runs.wait("a", 2)
    job.pause()
    before = runs.of("a")
    runs.wait_more("other")
    assert runs.of("a") == before
    assert scheduler.get_job("a").next_run_time is None
    assert [job.id for job in scheduler.get_jobs()] == ["other", "a"]
    resumed = utc_now()
    job.resume()
    runs.wait_more("a", "other")
    after = runs.of("a")[len(before) :]
    assert after[0] >= resumed
    assert after == sequence(after[0], TICK, len(after))


def test_job_added_paused_runs_after_it_is_resumed(scheduler, runs):
    job = tick(scheduler, next_run_time=None)
    runs.wait_more("other")
    assert runs.of("a") == []
    job.resume()
    runs.wait("a", 3)


def test_paused_scheduler_runs_nothing_and_catches_up_when_resumed(scheduler):
    runs = Runs(scheduler)
    resumed = Event()
    scheduler.start(paused=True)
    first = utc_now()
    scheduler.add_job(resumed.is_set, "interval", seconds=0.02, id="a", next_run_time=first)
    scheduler.wakeup()
    resumed.set()
    scheduler.resume()
    runs.wait("a", 5)
    scheduler.shutdown()
    assert runs.of("a") == sequence(first, TICK, len(runs.of("a")))
    assert all(runs.returned["a"])


def test_rescheduled_job_runs_at_its_new_times_only(scheduler, runs):
    job = scheduler.add_job(int, "interval", hours=1, id="a")
    runs.wait_more("other")
    assert runs.of("a") == []
    job.reschedule("interval", seconds=0.02)
    runs.wait("a", 3)
    job.reschedule("interval", hours=1)
    before = runs.of("a")
    runs.wait_more("other")
    assert runs.of("a") == before
    assert job.next_run_time > utc_now() + HOUR / 2


def test_job_with_a_changed_run_time_runs_then_and_continues_from_there(scheduler, runs):
    job = scheduler.add_job(int, "interval", hours=1, id="a")
    now = utc_now()
    job.modify(next_run_time=now)
    assert runs.wait("a", 1) == [now]
    assert scheduler.get_job("a").next_run_time == now + HOUR


def test_removed_job_runs_no_more_and_frees_its_id(scheduler, runs):
    job = tick(scheduler)
    runs.wait("a", 2)
    job.remove()
    before = runs.of("a")
    runs.wait_more("other")
    assert runs.of("a") == before
    assert scheduler.get_job("a") is None
    with pytest.raises(JobLookupError):
        scheduler.remove_job("a")
    tick(scheduler)
    runs.wait_more("a")


def test_scheduler_runs_nothing_after_remove_all_jobs_until_a_job_is_added(scheduler, runs):
    tick(scheduler)
    runs.wait("a", 2)
    scheduler.remove_all_jobs()
    before = runs.of("other")
    assert scheduler.get_jobs() == []
    tick(scheduler)
    runs.wait_more("a")
    assert runs.of("other") == before


def test_job_with_a_taken_id_is_refused_and_the_stored_job_continues(scheduler, runs):
    job = tick(scheduler)
    with pytest.raises(ConflictingIdError):
        scheduler.add_job(str, "interval", seconds=0.02, id="a")
    runs.wait("a", 3)
    assert scheduler.get_job("a") is job
    assert set(runs.returned["a"]) == {0}


def test_replace_existing_replaces_the_old_job(scheduler, runs):
    tick(scheduler)
    runs.wait("a", 2)
    old = scheduler.get_job("a")
    new = scheduler.add_job(str, "interval", seconds=0.02, id="a", replace_existing=True)
    runs.wait_more("a")
    assert scheduler.get_job("a") is new is not old
    assert [job.id for job in scheduler.get_jobs()].count("a") == 1
    returned = runs.returned["a"].copy()
    assert set(returned[: returned.index("")]) == {0}
    assert set(returned[returned.index("") :]) == {""}


def test_replace_existing_works_before_the_start(scheduler):
    tick(scheduler)
    new = scheduler.add_job(str, "interval", seconds=0.02, id="a", replace_existing=True)
    runs = Runs(scheduler)
    with running(scheduler):
        runs.wait("a", 3)
        assert scheduler.get_jobs() == [new]
    assert set(runs.returned["a"]) == {""}


def test_jobs_with_equal_times_run_in_the_order_of_their_ids(scheduler):
    ran = []
    job_ids = [f"{n:02}" for n in range(50)]
    now = utc_now()
    for job_id in Random(1).sample(job_ids, 50):
        scheduler.add_job(ran.append, "date", run_date=now, id=job_id, args=[job_id])
    runs = Runs(scheduler)
    with running(scheduler):
        runs.wait(job_ids[-1], 1)
    assert ran == job_ids


@pytest.mark.parametrize("executor", ["default", "pool"])
def test_running_job_can_add_and_remove_other_jobs(scheduler, runs, executor):
    def add_next(n):
        options = {"args": [n + 1], "executor": executor}
        if n < 20:
            scheduler.add_job(add_next, "date", run_date=utc_now(), id=f"{n + 1:02}", **options)
            scheduler.add_job(add_next, "date", run_date=utc_now() + HOUR, id=f"not {n}", **options)
            scheduler.remove_job(f"not {n}")

    scheduler.add_executor("threadpool", "pool")
    scheduler.add_job(add_next, "date", run_date=utc_now(), id="00", args=[0], executor=executor)
    for n in range(21):
        runs.wait(f"{n:02}", 1)
    assert [job.id for job in scheduler.get_jobs()] == ["other"]
    assert all(len(runs.of(f"{n:02}")) == 1 for n in range(21))


def test_restarted_scheduler_begins_with_an_empty_store(scheduler):
    runs = Runs(scheduler)
    with running(scheduler):
        tick(scheduler)
        runs.wait("a", 2)
    before = runs.of("a")
    with running(scheduler):
        assert scheduler.get_jobs() == []
        scheduler.add_job(int, "interval", seconds=0.02, id="b")
        runs.wait("b", 3)
    assert runs.of("a") == before


# The alias


CONFIGURED = {
    "alias": {"jobstores": {"fast": {"type": "fastmemory"}}},
    "class": {"jobstores": {"fast": {"class": "jobstore:MemoryJobStore"}}},
    "flat": {"gconfig": {"apscheduler.jobstores.fast.type": "fastmemory"}},
}


def assert_runs_from_our_store(scheduler):
    runs = Runs(scheduler)
    with running(scheduler):
        scheduler.add_job(int, "interval", seconds=0.02, id="a", jobstore="fast")
        runs.wait("a", 2)
        assert type(scheduler._lookup_jobstore("fast")) is jobstore.MemoryJobStore


@pytest.mark.parametrize("config", CONFIGURED.values(), ids=CONFIGURED)
def test_store_can_be_chosen_in_the_configuration(config):
    assert_runs_from_our_store(BackgroundScheduler(**deepcopy(config)))


def test_store_can_be_added_by_its_alias():
    scheduler = BackgroundScheduler()
    scheduler.add_jobstore("fastmemory", "fast")
    assert_runs_from_our_store(scheduler)
