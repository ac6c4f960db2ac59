"""The memory store with `in_flight=`: a cycle hands out only what its executors have room for."""

from datetime import timedelta

import pytest
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MemoryJobStore
from jobstore._index_py import JobIndex as PythonIndex
from support.full_executors import SCHEDULERS, STORE, by_hand, due_jobs, in_flight_of, scheduler_of
from support.jobs import at, job
from support.scheduler_runs import Runs, running, utc_now
from support.waiting import in_thread, until

# The argument


@pytest.mark.parametrize("bound", [0, -3, 2.0, "5", True, "none"])
def test_wrong_bound_is_refused_at_once(bound):
    with pytest.raises(ValueError, match="in_flight is"):
        MemoryJobStore(in_flight=bound)


@pytest.mark.parametrize("bound", ["auto", 7, None])
def test_bound_can_be_set_in_a_configuration(bound):
    scheduler = BackgroundScheduler(
        {
            "apscheduler.jobstores.default": {
                "class": "jobstore:MemoryJobStore",
                "in_flight": bound,
            },
            "apscheduler.executors.default": {"type": "threadpool", "max_workers": "3"},
            "apscheduler.timezone": "UTC",
        }
    )
    scheduler.start(paused=True)
    free = scheduler._jobstores["default"]._backlog._in_flight.rooms().free("default")
    assert free == {"auto": 6, 7: 7, None: float("inf")}[bound]
    scheduler.shutdown()


def test_wrong_bound_in_a_configuration_names_the_value():
    with pytest.raises(ValueError, match="in_flight is '5'"):
        BackgroundScheduler({"apscheduler.jobstores.a": {"class": STORE, "in_flight": "5"}})


# The bound


@pytest.mark.parametrize("bound", [1, 3, 25, "auto"])
@pytest.mark.parametrize("kind", SCHEDULERS)
def test_no_more_runs_are_in_flight_than_allowed_and_every_job_runs_once(kind, bound, gate):
    store = MemoryJobStore(in_flight=bound)
    pool = ThreadPoolExecutor(4)
    scheduler = scheduler_of(store, kind, default=pool)
    runs = Runs(scheduler)
    jobs = due_jobs(60, func=gate, scheduler=scheduler)
    store.add_jobs(jobs)
    allowed = 8 if bound == "auto" else bound
    with running(scheduler), gate:
        until(lambda: gate.begun == min(allowed, 4))
        until(lambda: len(store) == 60 - allowed)
        assert in_flight_of(pool) == allowed
        assert [each.id for each in store.get_due_jobs(at(9))] == [
            each.id for each in jobs[allowed:]
        ]
        gate.open()
        for each in jobs:
            runs.wait(each.id, 1)
        until(lambda: len(store) == 0)
    assert gate.begun == 60


def test_bound_larger_than_any_index_hands_out_all_due_jobs():
    store = MemoryJobStore(in_flight=10**30)
    scheduler = by_hand(store, DebugExecutor())
    store.add_jobs(due_jobs(9, scheduler=scheduler))
    scheduler._process_jobs()
    assert len(store) == 0
    scheduler.shutdown()


def test_without_a_bound_all_due_jobs_are_handed_out(gate):
    store = MemoryJobStore()
    pool = ThreadPoolExecutor(1)
    scheduler = scheduler_of(store, default=pool)
    store.add_jobs(due_jobs(500, func=gate, scheduler=scheduler))
    with running(scheduler), gate:
        until(lambda: len(store) == 0)
        assert in_flight_of(pool) == 500


def test_jobs_are_handed_out_in_order(gate):
    store = MemoryJobStore(in_flight=2)
    scheduler = scheduler_of(store, default=ThreadPoolExecutor(1))
    called = []
    jobs = [
        job(f"{n:03}", 99 - n, every=None, func=called.append, args=(n,), scheduler=scheduler)
        for n in range(100)
    ]
    store.add_jobs(jobs)
    with running(scheduler), gate:
        until(lambda: len(called) == 100)
    assert called == list(range(99, -1, -1))


def test_only_the_cycle_is_bounded():
    store = MemoryJobStore(in_flight=1)
    scheduler = by_hand(store, ThreadPoolExecutor(1))
    store.add_jobs(due_jobs(5, scheduler=scheduler))
    assert len(store.get_due_jobs(at(1))) == 5
    assert len(in_thread(store.get_due_jobs, at(1))) == 5
    assert store.get_next_run_time() == at(0)
    scheduler._process_jobs()
    assert len(store) == 4
    assert len(store.get_due_jobs(at(1))) == 4
    assert store.get_next_run_time() == store.get_all_jobs()[0].next_run_time
    scheduler.shutdown()


def test_store_without_a_scheduler_gives_all_due_jobs():
    store = MemoryJobStore(in_flight=1)
    store.start(None, "alias")
    store.add_jobs(due_jobs(5))
    assert len(store.get_due_jobs(at(1))) == 5
    store.shutdown()


# Fair between executors


@pytest.mark.parametrize("index", [None, PythonIndex], ids=["compiled", "twin"])
@pytest.mark.parametrize("bound", ["auto", 2])
def test_jobs_of_another_executor_pass_thousands_that_wait(gate, bound, index):
    store = MemoryJobStore(in_flight=bound)
    if index:
        store._index = index()
    slow, default = ThreadPoolExecutor(2), ThreadPoolExecutor(2)
    scheduler = scheduler_of(store, slow=slow, default=default)
    runs = Runs(scheduler)
    store.add_jobs(due_jobs(3000, "slow", func=gate, executor="slow", scheduler=scheduler))
    quick = [job(f"quick-{n}", 10 + n, every=None, scheduler=scheduler) for n in range(30)]
    store.add_jobs(quick)
    with running(scheduler), gate:
        for each in quick:
            runs.wait(each.id, 1)
        until(lambda: gate.begun == 2)
        assert gate.ended == 0
        scheduler.add_job(int, "date", run_date=at(0), id="new", misfire_grace_time=None)
        runs.wait("new", 1)
        soon = utc_now() + timedelta(milliseconds=50)
        scheduler.add_job(int, "date", run_date=soon, id="soon", misfire_grace_time=None)
        runs.wait("soon", 1)
        assert gate.ended == 0
        scheduler.remove_all_jobs()


def test_jobs_of_an_executor_without_a_bound_pass_those_that_wait(gate):
    store = MemoryJobStore(in_flight="auto")
    pool = ThreadPoolExecutor(1)
    scheduler = scheduler_of(store, slow=pool, default=DebugExecutor())
    runs = Runs(scheduler)
    store.add_jobs(due_jobs(50, "slow", func=gate, executor="slow", scheduler=scheduler))
    store.add_jobs(due_jobs(50, "sync", scheduler=scheduler))
    with running(scheduler), gate:
        for n in range(50):
            runs.wait(f"sync-{n:05}", 1)
        assert in_flight_of(pool) == 2
        store.remove_all_jobs()


def test_one_full_executor_reads_few_of_the_jobs_that_wait(gate):
    """The cost of a cycle does not grow with the backlog, as only the first jobs are read."""

    class Index(PythonIndex):
        read = 0

        def due(self, now, *limit):
            jobs = super().due(now, *limit)
            self.read += len(jobs)
            return jobs

    store = MemoryJobStore(in_flight=5)
    store._index = Index()
    scheduler = by_hand(store, ThreadPoolExecutor(2))
    store.add_jobs(due_jobs(5000, func=gate, scheduler=scheduler))
    for _ in range(10):
        scheduler._process_jobs()
    assert store._index.read <= 10 * 6
    gate.open()
    scheduler.shutdown()
