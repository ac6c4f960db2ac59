"""A running store creates its indexes again after the collection is dropped and filled again."""

import threading

import pytest
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb import indexes
from jobstore.testing import mongod
from support.jobs import at, job
from support.manual_scheduler import by_hand
from support.mirrored_stores import run
from support.proxy import Proxy
from support.waiting import until

STREAMED = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}
OTHERS = {"polling": {"watch": 0.05}, "exclusive": {"mirror": "exclusive"}}
NAMES = {"_id_", "next_run_time_1", "quarantine.since_1"}


@pytest.fixture
def often(monkeypatch):
    """Check the indexes every 50 ms."""
    monkeypatch.setattr(indexes, "RECHECK_SECONDS", 0.05)
    monkeypatch.setattr(indexes, "CHECK_SECONDS", 0.05)


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(indexes, "RECHECK_SECONDS", 0.05)


def fill_without_indexes(database):
    """Fill the collection without its indexes, as `mongorestore` can do."""
    database["jobs"].insert_many([{"_id": f"{each}", "next_run_time": None} for each in range(9)])


@pytest.mark.parametrize("how", ["drop", "rename", "drop_database"])
@pytest.mark.parametrize("mode", STREAMED)
def test_indexes_are_created_again_after_the_stream_is_lost(
    server, database, mode, how, soon, caplog
):
    store = MongoDBJobStore(database.name, host=server.uri, **STREAMED[mode])
    scheduler = run(store)
    scheduler.add_job(print, "interval", hours=1)
    until(lambda: store.status().lag is not None)
    assert set(database["jobs"].index_information()) == NAMES
    if how == "drop":
        database["jobs"].drop()
    elif how == "rename":
        database["jobs"].rename("old")
    else:
        database.client.drop_database(database.name)
    fill_without_indexes(database)
    until(lambda: set(database["jobs"].index_information()) == NAMES)
    until(lambda: "2 indexes were missing" in caplog.text)
    scheduler.shutdown()


@pytest.mark.parametrize("mode", OTHERS)
def test_indexes_are_checked_now_and_then_without_a_stream(server, database, mode, often):
    scheduler = run(MongoDBJobStore(database.name, host=server.uri, **OTHERS[mode]))
    database["jobs"].drop()
    fill_without_indexes(database)
    until(lambda: set(database["jobs"].index_information()) == NAMES)
    scheduler.shutdown()


def test_indexes_are_created_again_on_a_standalone_server(database, often):
    with mongod(standalone=True) as server, MongoClient(server.uri) as client:
        scheduler = run(MongoDBJobStore(database.name, host=server.uri))
        jobs = client[database.name]
        jobs["jobs"].drop()
        fill_without_indexes(jobs)
        until(lambda: set(jobs["jobs"].index_information()) == NAMES)
        scheduler.shutdown()


def test_store_without_a_watcher_checks_the_indexes_in_its_cycles(server, database, often):
    """The cycle does not wait for the check."""
    store = MongoDBJobStore(database.name, host=server.uri, watch=False)
    scheduler = by_hand(store)
    database["jobs"].drop()
    fill_without_indexes(database)

    def has_indexes_after_a_cycle():
        scheduler._process_jobs()
        return set(database["jobs"].index_information()) == NAMES

    until(has_indexes_after_a_cycle)
    store.shutdown()


def test_dropped_collection_is_not_created_again_by_its_indexes(
    server, database, soon, monkeypatch
):
    """The user may be about to rename another collection to its name."""
    checks = []
    check = indexes.Indexes._check
    monkeypatch.setattr(indexes.Indexes, "_check", lambda self: (check(self), checks.append(1)))
    store = MongoDBJobStore(database.name, host=server.uri)
    scheduler = run(store)
    until(lambda: store.status().lag is not None)
    database["others"].insert_one({"_id": "a"})
    database["jobs"].drop()
    until(lambda: len(checks) >= 3)
    assert "jobs" not in database.list_collection_names()
    database["others"].rename("jobs")
    until(lambda: set(database["jobs"].index_information()) == NAMES)
    scheduler.shutdown()


def test_indexes_are_not_checked_while_the_stream_is_open(server, database, monkeypatch):
    checks = []
    monkeypatch.setattr(indexes.Indexes, "_check", lambda self: checks.append(1))
    store = MongoDBJobStore(database.name, host=server.uri)
    scheduler = run(store)
    until(lambda: store.status().lag is not None)
    stock = StockMongoDBJobStore(database.name, host=server.uri)
    stock.start(None, "default")
    stock.add_job(job("a"))
    until(lambda: "a" in scheduler.executor.times)
    scheduler.shutdown()
    stock.shutdown()
    assert not checks


@pytest.mark.parametrize("how", ["close", "lose", "hang"])
def test_failed_index_check_is_repeated_and_delays_no_job(server, database, often, how):
    with Proxy(server.nodes[0].port) as proxy:
        store = MongoDBJobStore(database.name, host=proxy.uri, watch=0.05)
        scheduler = run(store)
        proxy.fail("createIndexes", how, 2)
        database["jobs"].drop()
        fill_without_indexes(database)
        until(lambda: proxy.fault_count)
        store.add_job(job("a", scheduler=scheduler))
        until(lambda: "a" in scheduler.executor.times)
        proxy.release()
        until(lambda: set(database["jobs"].index_information()) == NAMES)
        scheduler.shutdown()


def test_refused_index_is_logged(server, database, often, caplog):
    """The server refuses an index when another kind of index has its name."""
    store = MongoDBJobStore(database.name, host=server.uri, watch=0.05)
    scheduler = run(store)
    database["jobs"].drop()
    database["jobs"].create_index("next_run_time", name="next_run_time_1", unique=True)
    database["jobs"].insert_one({"_id": "a", "next_run_time": at(1e9).timestamp()})
    until(lambda: "Unable to create the indexes" in caplog.text)
    scheduler.shutdown()
    until(lambda: not [each for each in threading.enumerate() if "indexes" in each.name])
