"""Jobs wait in the database while their executors are full, and hold up no other jobs."""

import threading
from contextlib import contextmanager

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore
from support.jobs import job, names
from support.scheduler_runs import Runs
from support.waiting import until

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}
pytestmark = pytest.mark.parametrize("mode", MODES)

BEGUN = threading.Semaphore(0)
GATE = threading.Event()  # until it is set, the jobs of executors "slow" wait


@pytest.fixture(autouse=True)
def gate():
    GATE.clear()
    yield
    GATE.set()


def wait():
    BEGUN.release()
    assert GATE.wait(60)


@contextmanager
def running(server, database, mode, jobs, in_flight, **workers):
    """Run these jobs on executors with so many workers; yield the store and all runs."""
    store = MongoDBJobStore(database.name, host=server.uri, in_flight=in_flight, **MODES[mode])
    executors = {alias: ThreadPoolExecutor(count) for alias, count in workers.items()}
    scheduler = BackgroundScheduler(
        jobstores={"default": store}, executors=executors, timezone="UTC"
    )
    runs = Runs(scheduler)
    scheduler.start(paused=True)
    store.add_jobs(jobs)
    scheduler.resume()
    try:
        yield store, runs
    finally:
        GATE.set()
        scheduler.shutdown()


def stored(store, prefix):
    return store.collection.count_documents({"_id": {"$regex": f"^{prefix}"}})


def leased(store, prefix):
    is_leased = {"$expr": {"$gt": ["$acquired_until", "$$NOW"]}}
    return store.collection.count_documents({"_id": {"$regex": f"^{prefix}"}, **is_leased})


def all_have_run(runs, jobs):
    return all(runs.of(each.id) for each in jobs)


def test_full_executor_does_not_hold_up_the_jobs_of_another(server, database, stock, mode):
    slow = [
        job(f"slow-{n:04}", n / 1000, every=None, func=wait, executor="slow") for n in range(2_000)
    ]
    quick = [job(f"quick-{n:03}", 10 + n / 1000, every=None) for n in range(200)]
    with running(server, database, mode, slow + quick, "auto", slow=2, default=10) as (store, runs):
        until(lambda: all_have_run(runs, quick))
        later = [job(f"later-{n:03}", every=None) for n in range(50)]
        store.add_jobs(later)
        until(lambda: all_have_run(runs, later))
        assert stored(store, "slow-") >= 2_000 - 2 * 2
        until(lambda: leased(store, "slow-") == 0)  # other schedulers may take these jobs
        GATE.set()
        until(lambda: all_have_run(runs, slow))
    assert names(stock) == []
    assert all(len(runs.of(each.id)) == 1 for each in slow + quick + later)


def test_job_whose_grace_is_over_when_it_is_handed_out_is_missed(server, database, stock, mode):
    first = job("first", 0, every=None, func=wait)
    late = job("late", 1, every=None, misfire_grace_time=1)
    patient = job("patient", 2, every=None, misfire_grace_time=None)
    with running(server, database, mode, [first, late, patient], 1, default=1) as (store, runs):
        assert BEGUN.acquire(timeout=60)
        until(lambda: names(store) == ["late", "patient"])
        GATE.set()
        runs.wait("patient", 1)
        runs.wait("late", 1, EVENT_JOB_MISSED)
    assert runs.of("late", EVENT_JOB_EXECUTED) == []
    assert names(stock) == []
