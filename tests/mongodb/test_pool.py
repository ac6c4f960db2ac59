"""The watcher of a client with a small pool leaves connections to the cycles."""

import threading
from datetime import datetime, timedelta, timezone

import pytest
from pymongo import CursorType, MongoClient
from pymongo.errors import WaitQueueTimeoutError

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection
from jobstore.mongodb.pool import pool_of
from support.jobs import job
from support.mirrored_stores import regular, run
from support.waiting import until

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}
SMALL = "maxPoolSize="


def now():
    return datetime.now(timezone.utc)


@pytest.fixture
def client(server):
    """Return a function that makes clients with a small pool."""
    clients = []

    def client(size, **options):
        clients.append(MongoClient(server.uri, maxPoolSize=size, **options))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


def warnings(caplog):
    return [each for each in caplog.messages if SMALL in each]


@pytest.mark.parametrize("wait", [{}, {"waitQueueTimeoutMS": 100}], ids=["", "wait queue"])
@pytest.mark.parametrize("mode", MODES)
def test_store_works_with_one_connection(client, database, stock, mode, wait, caplog):
    store = MongoDBJobStore(database.name, client=client(1, **wait), **MODES[mode])
    scheduler = run(store)
    times = scheduler.executor.times
    scheduler.add_job(print, "interval", seconds=0.1, id="tick")
    for number in range(20):
        later = now() + timedelta(hours=1)
        scheduler.add_job(print, "date", run_date=later, id=f"later{number}")
    until(lambda: len(times["tick"]) >= 5)
    scheduler.remove_job("tick")
    until(lambda: store.lookup_job("tick") is None)
    added = job("added")
    added.next_run_time = now()
    stock.add_job(added)
    until(lambda: "added" in times)
    assert store.status().connected
    scheduler.shutdown()
    (warning,) = warnings(caplog)
    assert "maxPoolSize=1" in warning
    assert "maxPoolSize=3" in warning
    assert len(caplog.records) == 1, "nothing has failed"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 3])
def test_three_stores_work_with_a_client_of_one_or_three_connections(
    client, database, mode, size, caplog
):
    shared = client(size)
    schedulers = [
        run(MongoDBJobStore(database.name, f"jobs{each}", client=shared, **MODES[mode]))
        for each in range(3)
    ]
    for scheduler in schedulers:
        scheduler.add_job(print, "interval", seconds=0.1, id="tick")
    for scheduler in schedulers:
        times = scheduler.executor.times["tick"]
        until(lambda times=times: len(times) >= 5)
    for scheduler in schedulers:
        scheduler.shutdown()
    assert len(warnings(caplog)) == len(caplog.records) == 1
    until(lambda: pool_of(shared).watchers == 0)


def test_server_waits_for_changes_while_the_pool_is_large_enough(client, database, caplog):
    """The pool is too small while a second store runs."""
    shared = client(3)
    store = MongoDBJobStore(database.name, client=shared)
    watch, await_times = store._connection.jobs.watch, []
    store._connection.jobs.watch = lambda *args, **options: (
        await_times.append(options["max_await_time_ms"]),
        watch(*args, **options),
    )[1]
    scheduler = run(store)
    until(lambda: await_times == [connection.AWAIT_MS])
    other = run(MongoDBJobStore(database.name, "others", client=shared))
    until(lambda: await_times == [connection.AWAIT_MS, 1])
    assert warnings(caplog)
    other.shutdown()
    until(lambda: await_times == [connection.AWAIT_MS, 1, connection.AWAIT_MS])
    scheduler.shutdown()


def test_mirror_is_filled_through_one_connection(client, database, stock):
    stock.collection.insert_many([{"_id": f"{each}"} for each in range(20_000)])
    store = MongoDBJobStore(database.name, client=client(1), mirror=True)
    scheduler = run(store)
    store.add_job(regular("tick", 1))
    until(lambda: len(store) == 20_001)
    scheduler.shutdown()


@pytest.mark.parametrize("mode", MODES)
def test_time_out_of_the_wait_for_a_connection_is_no_outage(client, database, mode, monkeypatch):
    busy = client(1)
    store = MongoDBJobStore(database.name, client=busy, **MODES[mode])
    scheduler = run(store)
    until(lambda: store.status().lag is not None)
    watcher, failed = store._lifecycle.watcher, []
    fail = watcher._handle_error
    watcher._handle_error = lambda error: (failed.append(error), fail(error))
    database["others"].insert_many([{} for _ in range(3)])
    held = busy[database.name]["others"].find(batch_size=1, cursor_type=CursorType.EXHAUST)
    held.next()  # holds the connection until the cursor is closed
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 0.2)
    until(lambda: failed)
    assert isinstance(failed[0], WaitQueueTimeoutError)
    assert watcher.connected
    held.close()
    scheduler.shutdown()
    assert not [each for each in threading.enumerate() if each.name == "jobstore-watcher"]
