"""The memory store with `in_flight=`: a cycle hands out only what its executors have room for."""

import os
from datetime import timedelta
from threading import Event, Lock

import pytest
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

from jobstore import MemoryJobStore, in_flight
from jobstore._index_py import JobIndex as PythonIndex
from support.jobs import at, job
from support.manual_scheduler import ByHand
from support.scheduler_runs import Runs, running, utc_now
from support.waiting import in_thread, until

STORE = "jobstore:MemoryJobStore"
SCHEDULERS = [BackgroundScheduler, BlockingScheduler, AsyncIOScheduler]


class Gate:
    """The function of jobs that wait until the test opens the gate; counts the runs."""

    def __init__(self):
        self._open = Event()
        self._lock = Lock()
        self.begun = self.ended = self.most = 0

    def __call__(self):
        with self._lock:
            self.begun += 1
            self.most = max(self.most, self.begun - self.ended)
        assert self._open.wait(60)
        with self._lock:
            self.ended += 1

    def open(self):
        self._open.set()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.open()  # even if the test fails: a scheduler's shutdown waits for the runs


@pytest.fixture
def gate():
    with Gate() as gate:
        yield gate


class Looking(MemoryJobStore):
    """Records how many jobs each cycle got."""

    def __init__(self, **options):
        super().__init__(**options)
        self.handed_out = []

    def get_due_jobs(self, now):
        jobs = super().get_due_jobs(now)
        self.handed_out.append(len(jobs))
        return jobs


def scheduler_of(store, kind=BackgroundScheduler, **executors):
    return kind(jobstores={"default": store}, executors=executors, timezone="UTC")


def due_jobs(number, name="job", **options):
    return [job(f"{name}-{n:05}", n / 1e6, every=None, **options) for n in range(number)]


def in_flight_of(executor):
    return sum(executor._instances.values())


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


def by_hand(store, executor, **options):
    scheduler = ByHand(executors={"default": executor}, timezone="UTC", **options)
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    return scheduler


# When the next cycle is


def test_full_executor_keeps_no_cycle_busy(gate):
    store = Looking(in_flight=2)
    scheduler = scheduler_of(store, default=ThreadPoolExecutor(2))
    store.add_jobs(due_jobs(50, func=gate, scheduler=scheduler))
    with running(scheduler), gate:
        until(lambda: gate.begun == 2)
        begun = utc_now()
        until(lambda: len(store.handed_out) >= 4)  # looks again, as a run may send no event
        assert utc_now() - begun > timedelta(seconds=in_flight.RECHECK_SECONDS)
        store.remove_all_jobs()


def test_wait_ends_with_the_look_again_or_with_a_job_of_another_executor(gate):
    store = MemoryJobStore(in_flight=1)
    scheduler = by_hand(store, ThreadPoolExecutor(1))
    scheduler.add_executor(ThreadPoolExecutor(1), "other")
    again = in_flight.POLL_SECONDS
    store.add_jobs(due_jobs(9, func=gate, scheduler=scheduler))
    assert 0 < scheduler._process_jobs() <= again
    day = utc_now() + timedelta(days=1)
    store.add_job(job("far", next_run_time=day, executor="other", scheduler=scheduler))
    assert 0 < scheduler._process_jobs() <= again
    gate.open()
    scheduler.shutdown()


def test_job_of_another_executor_sets_an_earlier_cycle(gate, monkeypatch):
    monkeypatch.setattr(in_flight, "POLL_SECONDS", 1000)
    store = MemoryJobStore(in_flight=1)
    scheduler = by_hand(store, ThreadPoolExecutor(1))
    scheduler.add_executor(ThreadPoolExecutor(1), "other")
    soon, later = (utc_now() + timedelta(seconds=seconds) for seconds in (300, 600))
    store.add_jobs(due_jobs(9, func=gate, scheduler=scheduler))
    store.add_job(job("waits too", next_run_time=soon, scheduler=scheduler))
    store.add_job(job("later", next_run_time=later, executor="other", scheduler=scheduler))
    assert 500 < scheduler._process_jobs() <= 600
    store.remove_job("later")
    assert 900 < scheduler._process_jobs() <= 1000
    gate.open()
    scheduler.shutdown()


def test_cycle_comes_at_once_if_runs_have_ended_meanwhile():
    """A synchronous executor has room again as soon as the cycle is over."""
    store = Looking(in_flight=3)
    scheduler = by_hand(store, DebugExecutor())
    store.add_jobs(due_jobs(8, scheduler=scheduler))
    waits = [scheduler._process_jobs() for _ in range(3)]
    assert store.handed_out == [3, 3, 2]
    assert waits == [0, 0, None]
    scheduler.shutdown()


def test_job_that_becomes_due_fires_on_time_when_no_job_waits(gate):
    store = MemoryJobStore(in_flight=2)
    scheduler = by_hand(store, ThreadPoolExecutor(2))
    store.add_jobs(due_jobs(2, func=gate, scheduler=scheduler))
    soon = utc_now() + timedelta(seconds=300)
    store.add_job(job("soon", next_run_time=soon, scheduler=scheduler))
    assert 250 < scheduler._process_jobs() <= 300
    gate.open()
    scheduler.shutdown()


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_runs_that_end_wake_the_scheduler(kind, monkeypatch):
    monkeypatch.setattr(in_flight, "RECHECK_SECONDS", 1000)
    store = Looking(in_flight=20)
    scheduler = scheduler_of(store, kind, default=ThreadPoolExecutor(10))
    runs = Runs(scheduler)
    jobs = due_jobs(1000, scheduler=scheduler)
    store.add_jobs(jobs)
    with running(scheduler):
        for each in jobs:
            runs.wait(each.id, 1)
    # Half of the places at a time: about 100 cycles. One for each run would be 1,000.
    assert len(store.handed_out) < 250
    assert max(store.handed_out) <= 20


def test_short_jobs_are_handed_out_in_large_batches():
    store = Looking(in_flight="auto")
    scheduler = scheduler_of(store, default=ThreadPoolExecutor(2))
    runs = Runs(scheduler)
    jobs = due_jobs(2000, scheduler=scheduler)
    store.add_jobs(jobs)
    with running(scheduler):
        for each in jobs:
            runs.wait(each.id, 1)
    assert len(store.handed_out) < 2000 / 2


def test_run_that_ends_without_an_event_is_found_by_looking_again():
    store = MemoryJobStore(in_flight=1)
    pool = ProcessPoolExecutor(1)
    scheduler = scheduler_of(store, default=pool)
    runs = Runs(scheduler)
    dies = job("dies", 0, every=None, func=os._exit, args=(1,), scheduler=scheduler)
    store.add_jobs([dies, job("next", 1, every=None, func=os.getpid, scheduler=scheduler)])
    with running(scheduler):
        assert runs.wait("next", 1) == [at(1)]
    assert runs.of("dies") == []


def test_job_at_its_maximum_of_instances_keeps_no_place(gate):
    store = MemoryJobStore(in_flight=2)
    scheduler = scheduler_of(store, default=ThreadPoolExecutor(2))
    runs = Runs(scheduler)
    many = job("many", func=gate, scheduler=scheduler)
    store.add_job(many)
    with running(scheduler), gate:
        until(lambda: gate.begun == 1)
        scheduler.modify_job("many", next_run_time=at(0))
        scheduler.add_job(int, "date", run_date=at(1), id="one", misfire_grace_time=None)
        runs.wait("one", 1)
        until(lambda: many.next_run_time > utc_now())
        assert gate.begun == 1


# Two stores, replaced executors, restarts


def test_each_of_two_stores_has_the_whole_bound_of_one_executor(gate):
    first, second = MemoryJobStore(in_flight=3), MemoryJobStore(in_flight=2)
    pool = ThreadPoolExecutor(1)
    scheduler = BackgroundScheduler(
        jobstores={"default": first, "second": second}, executors={"default": pool}, timezone="UTC"
    )
    runs = Runs(scheduler)
    first.add_jobs(due_jobs(9, "first", func=gate, scheduler=scheduler))
    second.add_jobs(due_jobs(9, "second", func=gate, scheduler=scheduler))
    with running(scheduler), gate:
        until(lambda: gate.begun == 1 and len(second) == 7)
        assert len(first) == 6
        assert in_flight_of(pool) == 5
        gate.open()
        for n in range(9):
            runs.wait(f"first-{n:05}", 1)
            runs.wait(f"second-{n:05}", 1)
    assert gate.begun == 18


def test_executor_that_is_replaced_takes_the_jobs_that_wait(gate):
    store = MemoryJobStore(in_flight=1)
    stuck = ThreadPoolExecutor(1)
    scheduler = scheduler_of(store, default=stuck)
    runs = Runs(scheduler)
    store.add_job(job("stuck", 0, every=None, func=gate, scheduler=scheduler))
    store.add_job(job("next", 1, every=None, scheduler=scheduler))
    with running(scheduler), gate:
        until(lambda: gate.begun == 1)
        scheduler.remove_executor("default", shutdown=False)
        scheduler.add_executor(ThreadPoolExecutor(1), "default")
        runs.wait("next", 1)
        assert gate.ended == 0
    stuck.shutdown()


def test_shutdown_removes_the_listener_and_a_restart_bounds_again(gate):
    store = MemoryJobStore(in_flight=2)
    scheduler = by_hand(store, ThreadPoolExecutor(1))
    assert len(scheduler._listeners) == 1
    scheduler.shutdown()
    assert scheduler._listeners == []
    pool = ThreadPoolExecutor(1)
    scheduler._executors.clear()
    scheduler.start()
    scheduler.remove_executor("default")
    scheduler.add_executor(pool, "default")
    assert len(scheduler._listeners) == 1
    store.add_jobs(due_jobs(9, func=gate, scheduler=scheduler))
    scheduler._process_jobs()
    assert in_flight_of(pool) == 2
    gate.open()
    scheduler.shutdown()


def test_bounded_store_keeps_refused_jobs_and_runs_the_others():
    store = MemoryJobStore(in_flight=2)
    broken = ThreadPoolExecutor(1)
    scheduler = scheduler_of(store, default=ThreadPoolExecutor(1), broken=broken)
    scheduler.configure(
        jobstores={"default": store},
        executors={"default": ThreadPoolExecutor(1), "broken": broken},
        jobstore_retry_interval=1000,
        timezone="UTC",
    )
    runs = Runs(scheduler)
    refused = due_jobs(20, "0", executor="broken", scheduler=scheduler)
    store.add_jobs(refused)
    store.add_jobs(due_jobs(20, "1", scheduler=scheduler))
    broken._pool.shutdown()
    with running(scheduler):
        for n in range(20):
            runs.wait(f"1-{n:05}", 1)
        until(lambda: len(store._backlog.failed.waiting()) == 20)
        assert store.get_due_jobs(at(9)) == refused
