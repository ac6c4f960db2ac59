"""`jobstore.add_jobs` has the effect of a loop of `scheduler.add_job`, but in one step."""

import logging
from datetime import datetime, timedelta, timezone
from threading import Thread

import pytest
from apscheduler.events import EVENT_JOB_ADDED
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from apscheduler.util import undefined

import jobstore
from jobstore import ConflictingIdsError, add_jobs
from support.counting_scheduler import (
    FUTURE,
    STORES,
    CountingScheduler,
    StockMemoryJobStore,
    loop,
    named,
    ready,
    state,
    task,
    work,
)


@pytest.fixture(params=STORES)
def store(request):
    return STORES[request.param]()


# None of these first run times depends on the time of the call, so two schedulers agree on them.
ALL_KINDS = [
    {"func": work, "id": "date", "trigger": "date", "run_date": FUTURE},
    {"func": work, "id": "long ago", "run_date": datetime(2000, 1, 1)},
    {"func": work, "id": "cron", "trigger": "cron", "year": 2100, "timezone": "Europe/Berlin"},
    {"func": work, "id": "over", "trigger": "cron", "year": 2000},
    {"func": work, "id": "interval", "trigger": "interval", "hours": 1, "start_date": FUTURE},
    {"func": work, "id": "instance", "trigger": IntervalTrigger(hours=1, start_date=FUTURE)},
    {"func": work, "id": "paused", "run_date": FUTURE, "next_run_time": None},
    {"func": work, "id": "early", "run_date": FUTURE, "next_run_time": "2050-01-01 12:00:00"},
    {"func": work, "id": "options", "run_date": FUTURE, "name": "own name", "executor": "other"},
    {"func": work, "id": "limits", "run_date": FUTURE, "misfire_grace_time": None}
    | {"coalesce": True, "max_instances": 3},
    {"func": work, "id": "undefined", "run_date": FUTURE, "max_instances": undefined},
    {"func": task, "id": "arguments", "run_date": FUTURE, "args": [1], "kwargs": {"second": 2}},
    {"func": f"{__name__}:work", "id": "reference", "run_date": FUTURE},
]


@pytest.mark.parametrize("started", [True, False], ids=["started", "pending"])
def test_add_jobs_stores_announces_and_returns_jobs_as_a_loop_of_add_job_does(store, started):
    defaults = {"misfire_grace_time": 30, "coalesce": False, "max_instances": 7}
    ours = CountingScheduler(store, start=started, job_defaults=defaults)
    host = CountingScheduler(StockMemoryJobStore(), start=started, job_defaults=defaults)
    added = add_jobs(ours, ALL_KINDS)
    expected = loop(host, ALL_KINDS)
    if not started:
        assert ours.announced == ours.stored == []
        assert ours.get_jobs() == added
        assert all(job.pending for job in added)
        assert [str(job) for job in added] == [str(job) for job in expected]  # no run times yet
        ours.start()
        host.start()
    assert [state(job) for job in added] == [state(job) for job in expected]
    assert ours.announced == host.announced
    assert ours.stored == host.stored
    assert len(ours.stored) == len(ALL_KINDS)


def test_job_without_an_id_gets_a_unique_one(store):
    scheduler = CountingScheduler(store)
    first, second = add_jobs(scheduler, [{"func": work}, {"func": work, "id": None}])
    assert first.id != second.id
    assert scheduler.stored_ids == sorted([first.id, second.id])


def test_first_run_time_is_computed_from_now(store):
    before = datetime.now(timezone.utc)
    (job,) = add_jobs(CountingScheduler(store), [{"func": work, "trigger": "interval", "hours": 1}])
    after = datetime.now(timezone.utc)
    assert before <= job.next_run_time - timedelta(hours=1) <= after


def test_mappings_are_read_once_and_not_changed(store):
    jobs = named("a", "b", trigger="date")
    copies = [dict(job) for job in jobs]
    added = add_jobs(CountingScheduler(store), iter(jobs))
    assert [job.id for job in added] == ["a", "b"]
    assert jobs == copies


@pytest.mark.parametrize("started", [True, False], ids=["started", "pending"])
def test_jobs_go_to_the_store_of_the_given_alias(store, started):
    scheduler = CountingScheduler(StockMemoryJobStore(), start=started)
    scheduler.add_jobstore(store, "other")
    (job,) = add_jobs(scheduler, named("a"), "other")
    if not started:
        scheduler.start()
    assert store.lookup_job("a") is job
    assert scheduler.stored == []
    assert scheduler.announced == [("a", "other")]
    job.remove()
    assert store.lookup_job("a") is None


def test_add_jobs_logs_each_stored_job_with_its_id_and_its_name(store, caplog):
    caplog.set_level(logging.INFO, "apscheduler.scheduler")
    scheduler = CountingScheduler(store)
    caplog.clear()
    add_jobs(scheduler, named("c", "d"))
    line = 'Added job "{}" (work) to job store "default"'
    assert caplog.messages == [line.format("c"), line.format("d")]


# One step


def test_batch_wakes_a_running_scheduler_once(store):
    scheduler = CountingScheduler(store)
    add_jobs(scheduler, named("a", "b", "c"))
    assert scheduler.wakeups == 1


def test_batch_without_a_stored_job_does_not_wake_the_scheduler(store):
    scheduler = CountingScheduler(store)
    assert add_jobs(scheduler, []) == []
    assert scheduler.wakeups == 0
    add_jobs(scheduler, named("there"))
    scheduler.forget()
    with pytest.raises(ConflictingIdsError):
        add_jobs(scheduler, named("there", "there"))
    assert scheduler.wakeups == 0
    assert scheduler.announced == []


def test_paused_scheduler_stores_a_batch_without_being_woken(store):
    scheduler = CountingScheduler(store)
    scheduler.pause()
    add_jobs(scheduler, named("a", "b"))
    assert scheduler.stored_ids == ["a", "b"]
    assert scheduler.wakeups == 0


def test_batch_does_not_wake_a_scheduler_before_its_start(store):
    scheduler = CountingScheduler(store, start=False)
    add_jobs(scheduler, named("a", "b"))
    assert scheduler.wakeups == 0


@pytest.mark.parametrize("replace_existing", [True, False])
def test_store_with_bulk_operations_is_called_once(replace_existing):
    calls = []

    class Store(jobstore.MemoryJobStore):
        def add_jobs(self, jobs, replace_existing=False):
            calls.append(([job.id for job in jobs], replace_existing))
            super().add_jobs(jobs, replace_existing)

        def add_job(self, job):
            raise AssertionError("one by one")

        update_job = add_job

    add_jobs(CountingScheduler(Store()), named("a", "b"), replace_existing=replace_existing)
    assert calls == [(["a", "b"], replace_existing)]


def test_listener_finds_the_whole_batch_stored_and_not_pending(store):
    scheduler = CountingScheduler(store)
    seen = []
    scheduler.add_listener(
        lambda event: seen.append([(job.id, job.pending) for job in scheduler.get_jobs()]),
        EVENT_JOB_ADDED,
    )
    add_jobs(scheduler, named("a", "b"))
    assert seen == [[("a", False), ("b", False)]] * 2


def finishes(function, timeout):
    """Return whether another thread finishes the call within `timeout` seconds."""
    thread = Thread(target=function, daemon=True)
    thread.start()
    thread.join(timeout)
    return not thread.is_alive()


def test_other_threads_see_no_partly_stored_batch():
    class Store(jobstore.MemoryJobStore):
        def add_jobs(self, jobs, replace_existing=False):
            super().add_jobs(jobs[:1])
            kept_waiting.append(not finishes(scheduler.get_jobs, 0.05))
            super().add_jobs(jobs[1:])

    kept_waiting = []
    scheduler = CountingScheduler(Store())
    add_jobs(scheduler, named("a", "b"))
    assert kept_waiting == [True]


def test_other_threads_can_use_the_scheduler_while_jobs_are_built(store):
    class SlowTrigger(DateTrigger):
        def get_next_fire_time(self, previous_fire_time, now):
            not_kept_waiting.append(finishes(scheduler.get_jobs, 30))
            return super().get_next_fire_time(previous_fire_time, now)

    def jobs():
        not_kept_waiting.append(finishes(scheduler.get_jobs, 30))
        yield {"func": work, "trigger": SlowTrigger(FUTURE)}

    not_kept_waiting = []
    scheduler = CountingScheduler(store)
    add_jobs(scheduler, jobs())
    assert not_kept_waiting == [True, True]


class Meanwhile:
    """A lock that runs an action before it is first acquired."""

    def __init__(self, lock, happening):
        self.lock = lock
        self.happenings = [happening]

    def __enter__(self):
        while self.happenings:
            self.happenings.pop()()
        return self.lock.__enter__()

    def __exit__(self, *error):
        return self.lock.__exit__(*error)


def test_scheduler_started_during_add_jobs_gets_complete_jobs(store):
    scheduler = CountingScheduler(store, start=False)
    scheduler._jobstores_lock = Meanwhile(scheduler._jobstores_lock, scheduler.start)
    (job,) = add_jobs(scheduler, named("a"))
    assert (job.next_run_time, job.max_instances, job.pending) == (FUTURE, 1, False)
    assert scheduler.stored_ids == ["a"]


def test_scheduler_shut_down_during_add_jobs_keeps_the_jobs_pending(store):
    scheduler = CountingScheduler(store)
    scheduler._jobstores_lock = Meanwhile(scheduler._jobstores_lock, scheduler.shutdown)
    (job,) = add_jobs(scheduler, named("a"))
    assert job.pending
    assert scheduler.stored == scheduler.announced == []
    scheduler.start()
    assert scheduler.stored_ids == ["a"]


# Ready jobs


def test_ready_job_is_stored_itself_with_missing_options_set_to_defaults(store):
    scheduler = CountingScheduler(store, job_defaults={"coalesce": False, "max_instances": 7})
    jobs = ready("a", trigger=DateTrigger(FUTURE), max_instances=2)
    assert add_jobs(scheduler, jobs) == jobs
    assert store.lookup_job("a") is jobs[0]
    assert (jobs[0].coalesce, jobs[0].max_instances) == (False, 2)
    assert jobs[0].next_run_time == FUTURE


def test_ready_jobs_keep_their_run_times_when_moved_to_another_scheduler(store):
    old = CountingScheduler(StockMemoryJobStore())
    moved = add_jobs(old, [*named("a", "b"), *named("paused", next_run_time=None)])
    expected = old.stored
    old.shutdown()
    scheduler = CountingScheduler(store)
    add_jobs(scheduler, moved)
    assert scheduler.stored == expected
    moved[0].pause()
    assert [job.id for job in scheduler.get_jobs()] == ["b", "a", "paused"]
    moved[0].remove()
    assert scheduler.stored_ids == ["b", "paused"]


def test_ready_jobs_and_mappings_wait_for_the_start_together(store):
    scheduler = CountingScheduler(store, start=False)
    old = CountingScheduler(StockMemoryJobStore())
    old.add_jobstore(StockMemoryJobStore(), "other")
    (job,) = add_jobs(old, named("a"), "other")
    added = add_jobs(scheduler, [job, *named("b")])
    assert all(job.pending for job in added)
    scheduler.remove_job("b")
    job.remove()
    assert scheduler.get_jobs() == []
