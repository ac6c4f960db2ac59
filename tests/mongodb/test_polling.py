"""Without a change stream, the store polls the server often enough for jobs that are due now."""

import logging
import threading
import time
from datetime import datetime, timezone

import pytest
from apscheduler.events import EVENT_JOB_MISSED, EVENT_JOB_SUBMITTED
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from jobstore import MongoDBJobStore
from jobstore.mongodb import polling
from jobstore.mongodb.mirroring.change_stream import Watcher
from jobstore.testing import mongod
from support.jobs import job
from support.mirrored_stores import run
from support.proxy import Proxy
from support.waiting import until

ROUTED = "Polling every 1 s: change streams lag behind a mongos"
MODES = {"queried": {}, "shared": {"shared": True}}


@pytest.mark.parametrize("mode", MODES)
def test_refused_query_does_not_end_the_change_stream(server, database, mode, caplog):
    """The server refuses a query when the collection is dropped while the stream is opened."""
    store = MongoDBJobStore(database.name, host=server.uri, **MODES[mode])
    query, refused = store._reader.next_run_time, []

    def refuse_once(*args):
        if threading.current_thread().name == "jobstore-watcher" and not refused:
            refused.append(OperationFailure("the collection was dropped", 175))
            raise refused[0]
        return query(*args)

    store._reader.next_run_time = refuse_once
    scheduler = run(store)
    until(lambda: refused and store.status().lag is not None)
    assert store.status().connected
    assert "No change stream" not in caplog.text
    scheduler.shutdown()


@pytest.mark.parametrize("code", [26, 175])
@pytest.mark.parametrize("mode", MODES)
def test_collection_dropped_while_the_stream_is_opened_does_not_make_the_store_poll(
    server, database, mode, caplog, monkeypatch, code
):
    open_stream, refused = Watcher._open_stream, []

    def refuse_once(*args):
        if not refused:
            refused.append(OperationFailure("the collection was dropped", code))
            raise refused[0]
        return open_stream(*args)

    monkeypatch.setattr(Watcher, "_open_stream", refuse_once)
    store = MongoDBJobStore(database.name, host=server.uri, **MODES[mode])
    scheduler = run(store)
    until(lambda: refused and store.status().lag is not None)
    assert "No change stream" not in caplog.text
    assert store._lifecycle.watcher.sees_all_changes
    scheduler.shutdown()


@pytest.fixture(params=[False, True], ids=["mongos", "load balancer"])
def router(server, request):
    """Return the URI of a proxy that greets as a mongos does."""
    with Proxy(server.nodes[0].port) as proxy:
        yield proxy.claim_router(balanced=request.param)


@pytest.mark.parametrize("mode", MODES)
def test_store_behind_a_mongos_polls_instead_of_following_a_stream_that_lags(
    router, database, stock, commands, caplog, mode
):
    caplog.set_level(logging.INFO)
    with MongoClient(router, event_listeners=[commands]) as client:
        store = MongoDBJobStore(database.name, client=client, **MODES[mode])
        scheduler = run(store, job_defaults={"misfire_grace_time": 60})
        stock.add_job(job("new", next_run_time=datetime.now(timezone.utc)))
        until(lambda: scheduler.executor.times["new"])
        scheduler.shutdown()
    assert [each.message for each in caplog.records].count(ROUTED) == 1
    assert "getMore" not in commands.names


def test_interval_that_the_user_has_chosen_holds_behind_a_mongos(router, database, caplog):
    caplog.set_level(logging.INFO)
    store = MongoDBJobStore(database.name, host=router, watch=7)
    scheduler = run(store)
    assert store._lifecycle.watcher.poll_interval == 7
    scheduler.shutdown()
    assert "mongos" not in caplog.text


def test_mirror_behind_a_mongos_warns_that_it_lags(router, database, stock, caplog):
    store = MongoDBJobStore(database.name, host=router, mirror=True)
    scheduler = run(store)
    stock.add_job(job("new", next_run_time=datetime.now(timezone.utc)))
    until(lambda: scheduler.executor.times["new"])
    scheduler.shutdown()
    assert "Changes by others reach the mirror up to 10 s late" in caplog.text


@pytest.fixture(scope="module")
def standalone():
    with mongod(standalone=True) as server:
        yield server


class Waits:
    """An event that records the time-out of each wait, in seconds."""

    def __init__(self, event):
        self._event = event
        self.seconds = []

    def __getattr__(self, name):
        return getattr(self._event, name)

    def wait(self, seconds=None):
        self.seconds.append(seconds)
        return self._event.wait(seconds)


@pytest.mark.parametrize(
    ("grace", "seconds"), [(1, 0.25), (2, 0.5), (3600, 1.0), (None, 1.0), (0, 0.05)]
)
def test_poll_interval_is_a_quarter_of_the_grace_time(grace, seconds):
    scheduler = BackgroundScheduler(job_defaults={"misfire_grace_time": grace})
    assert polling.poll_seconds(scheduler) == seconds


def test_default_grace_time_means_four_polls_a_second():
    assert polling.poll_seconds(BackgroundScheduler()) == 0.25
    assert polling.poll_seconds(None) == 1.0


def test_time_of_an_answer_is_part_of_the_interval():
    assert polling.pause_seconds(1.0, 0.25) == 0.75
    assert polling.pause_seconds(0.25, 5.0) == 0.05, "a slow server gets a pause"
    assert polling.pause_seconds(0.02, 5.0) == 0.02, "the user may choose a shorter interval"


@pytest.mark.parametrize("mode", MODES)
def test_slow_answer_does_not_delay_the_next_poll(standalone, database, mode):
    store = MongoDBJobStore(database.name, host=standalone.uri, **MODES[mode])
    query = store._reader.next_run_time
    store._reader.next_run_time = lambda *args: (time.sleep(0.1), query(*args))[1]
    scheduler = run(store)
    until(lambda: store.status().lag is not None)
    waits = store._lifecycle.watcher._stopped = Waits(store._lifecycle.watcher._stopped)
    until(lambda: len(waits.seconds) >= 3)
    scheduler.shutdown()
    assert max(waits.seconds) <= 0.25 - 0.1


@pytest.mark.parametrize("mode", MODES)
def test_jobs_added_by_another_process_for_now_are_not_missed(standalone, database, mode):
    """A web process adds them by the stock store. Its jobs have the scheduler's grace time."""
    with MongoClient(standalone.uri) as client:
        web = BackgroundScheduler(
            jobstores={"default": StockMongoDBJobStore(database.name, client=client)},
            job_defaults={"misfire_grace_time": 4},
        )
        web.start(paused=True)
        store = MongoDBJobStore(database.name, host=standalone.uri, **MODES[mode])
        scheduler = run(store, job_defaults={"misfire_grace_time": 4})
        events = []
        scheduler.add_listener(events.append, EVENT_JOB_MISSED | EVENT_JOB_SUBMITTED)
        for number in range(10):
            web.add_job(print, id=f"now{number}")
            until(lambda number=number: len(events) == number + 1)
        web.shutdown()
        scheduler.shutdown()
    assert {each.code for each in events} == {EVENT_JOB_SUBMITTED}
