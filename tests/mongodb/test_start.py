"""A failed start and a dropped store leave no thread and no open client behind."""

import asyncio
import gc
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import STATE_RUNNING, STATE_STOPPED

from jobstore import MongoDBJobStore
from support.jobs import YEARS, at, job, names, note
from support.manual_scheduler import ByHand, by_hand
from support.mirrored_stores import Runs, own_threads
from support.waiting import until

pytestmark = pytest.mark.usefixtures("quick_collections")

MODES = {
    "queried": {},
    "polling": {"watch": 3600},
    "mirrored": {"mirror": True},
    "exclusive": {"mirror": "exclusive"},
    "shared": {"shared": True},
}


@pytest.fixture(params=MODES)
def make(request, server, database):
    def make(**options):
        options = {**MODES[request.param], **options}
        return MongoDBJobStore(database.name, host=server.uri, **options)

    yield make
    until(lambda: not own_threads())


def scheduler_of(store, kind=BackgroundScheduler, **options):
    """Make a scheduler, not yet started, with a pending job "taken"."""
    scheduler = kind(timezone="UTC", **options)
    scheduler.executor = Runs()
    scheduler.add_executor(scheduler.executor, "default")
    scheduler.add_jobstore(store, "default")
    scheduler.add_job(note, "interval", seconds=YEARS, id="taken")
    return scheduler


def test_failed_start_ends_its_threads_and_a_later_start_works(make, stock):
    stock.add_job(job("taken", YEARS * 2))
    store = make()
    scheduler = scheduler_of(store)
    with pytest.raises(ConflictingIdError):
        scheduler.start()
    until(lambda: not own_threads())
    assert store.client._closed
    assert store._reader.is_live is False
    stock.remove_job("taken")
    scheduler.start()
    store.add_job(job("due"))
    scheduler.wakeup()
    until(lambda: "due" in scheduler.executor.times)
    scheduler.shutdown()


def test_start_works_immediately_after_failed_starts(make, stock):
    stock.add_job(job("taken", YEARS * 2))
    store = make()
    scheduler = scheduler_of(store)
    for _ in range(20):
        with pytest.raises(ConflictingIdError):
            scheduler.start()
    stock.remove_job("taken")
    scheduler.start()
    store.add_job(job("due"))
    scheduler.wakeup()
    until(lambda: "due" in scheduler.executor.times)
    assert scheduler.running
    scheduler.shutdown()


def test_asyncio_scheduler_runs_no_job_after_a_failed_start(make, stock):
    async def application(store):
        scheduler = scheduler_of(store, AsyncIOScheduler)
        with pytest.raises(ConflictingIdError):
            scheduler.start()
        soon = datetime.now(timezone.utc) + timedelta(seconds=0.05)
        stock.add_job(job("of others", next_run_time=soon))
        while own_threads():
            await asyncio.sleep(0.01)
        return scheduler.executor.times

    stock.add_job(job("taken", YEARS * 2))
    assert asyncio.run(application(make())) == {}
    assert stock.lookup_job("of others")


def test_scheduler_gets_its_jobs_when_its_start_only_seemed_to_fail(make, stock):
    store = make()
    scheduler = by_hand(store)
    scheduler.state = STATE_STOPPED  # as after the stores' start, before `start` sets it
    until(lambda: not own_threads())
    scheduler.state = STATE_RUNNING
    stock.add_job(job("due"))
    scheduler._process_jobs()
    assert [each for each, _ in scheduler.executor.submitted] == ["due"]
    scheduler.shutdown()


@pytest.mark.parametrize("scheduled", [False, True])
def test_dropped_store_ends_its_threads_and_closes_its_client(make, scheduled):
    store = make()
    if scheduled:
        by_hand(store)
    else:
        store.start(None, "default")
    client, has_threads = store.client, bool(own_threads())
    del store
    gc.collect()
    until(lambda: not own_threads())
    assert client._closed == has_threads
    client.close()


def test_running_scheduler_gets_no_jobs_from_a_store_that_failed_to_start(make, server, database):
    others = MongoDBJobStore(database.name, host=server.uri, shared=True)
    others.start(None, "default")
    others.add_job(job("due"))
    others.shutdown()
    store = make(shared=False)
    scheduler = ByHand(timezone="UTC")
    scheduler.add_executor(Runs(), "default")
    scheduler.start()
    with pytest.raises(ValueError, match="shared=True"):
        scheduler.add_jobstore(store, "late")
    scheduler._process_jobs()
    assert scheduler._executors["default"].times == {}
    store.end_sharing()
    scheduler._process_jobs()
    assert names(store) == ["due"]
    assert scheduler._executors["default"].times == {"due": [at(0)]}
    scheduler.shutdown()
