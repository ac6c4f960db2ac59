"""When the scheduler's next cycle is, while due jobs of the memory store wait for executors."""

import os
from datetime import timedelta

import pytest
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MemoryJobStore, in_flight
from support.full_executors import (
    SCHEDULERS,
    Looking,
    by_hand,
    due_jobs,
    in_flight_of,
    scheduler_of,
)
from support.jobs import at, job
from support.scheduler_runs import Runs, running, utc_now
from support.waiting import until

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
