"""The indexes of a collection that is dropped and filled again while a scheduler runs."""

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
    """Time passes quickly."""
    monkeypatch.setattr(indexes, "RECHECK_SECONDS", 0.05)
    monkeypatch.setattr(indexes, "CHECK_SECONDS", 0.05)


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(indexes, "RECHECK_SECONDS", 0.05)


def filled_again(database):
    """As `mongorestore` does it, without the indexes."""
    database["jobs"].insert_many([{"_id": f"{each}", "next_run_time": None} for each in range(9)])


@pytest.mark.parametrize("how", ["drop", "rename", "drop_database"])
@pytest.mark.parametrize("mode", STREAMED)
def test_where_the_stream_is_lost_they_are_made_again(server, database, mode, how, soon, caplog):
    store = MongoDBJobStore(database.name, host=server.uri, **STREAMED[mode])
    scheduler = run(store)
    scheduler.add_job(print, "interval", hours=1)
    until(lambda: store.status().connected)
    assert set(database["jobs"].index_information()) == NAMES
    if how == "drop":
        database["jobs"].drop()
    elif how == "rename":
        database["jobs"].rename("old")
    else:
        database.client.drop_database(database.name)
    filled_again(database)
    until(lambda: set(database["jobs"].index_information()) == NAMES)
    until(lambda: "2 indexes were missing" in caplog.text)
    scheduler.shutdown()


@pytest.mark.parametrize("mode", OTHERS)
def test_without_a_stream_they_are_looked_for_now_and_then(server, database, mode, often):
    scheduler = run(MongoDBJobStore(database.name, host=server.uri, **OTHERS[mode]))
    database["jobs"].drop()
    filled_again(database)
    until(lambda: set(database["jobs"].index_information()) == NAMES)
    scheduler.shutdown()


def test_on_a_standalone_server_too(database, often):
    with mongod(standalone=True) as server, MongoClient(server.uri) as client:
        scheduler = run(MongoDBJobStore(database.name, host=server.uri))
        jobs = client[database.name]
        jobs["jobs"].drop()
        filled_again(jobs)
        until(lambda: set(jobs["jobs"].index_information()) == NAMES)
        scheduler.shutdown()


def test_a_store_without_a_thread_looks_in_its_cycles(server, database, often):
    """And does not wait for it."""
    store = MongoDBJobStore(database.name, host=server.uri, watch=False)
    scheduler = by_hand(store)
    database["jobs"].drop()
    filled_again(database)

    def there():
        scheduler._process_jobs()
        return set(database["jobs"].index_information()) == NAMES

    until(there)
    store.shutdown()


def test_a_collection_that_stays_dropped_is_not_made_anew(server, database, soon, monkeypatch):
    """Whoever dropped it may be about to rename another one to its name."""
    looks = []
    look = indexes.Indexes._check
    monkeypatch.setattr(indexes.Indexes, "_check", lambda self: (look(self), looks.append(1)))
    store = MongoDBJobStore(database.name, host=server.uri)
    scheduler = run(store)
    until(lambda: store.status().connected)
    database["others"].insert_one({"_id": "a"})
    database["jobs"].drop()
    until(lambda: len(looks) >= 3)
    assert "jobs" not in database.list_collection_names()
    database["others"].rename("jobs")
    until(lambda: set(database["jobs"].index_information()) == NAMES)
    scheduler.shutdown()


def test_where_nothing_happens_nobody_looks(server, database, monkeypatch):
    looks = []
    monkeypatch.setattr(indexes.Indexes, "_check", lambda self: looks.append(1))
    store = MongoDBJobStore(database.name, host=server.uri)
    scheduler = run(store)
    until(lambda: store.status().connected)
    stock = StockMongoDBJobStore(database.name, host=server.uri)
    stock.start(None, "default")
    stock.add_job(job("a"))
    until(lambda: "a" in scheduler.executor.times)
    scheduler.shutdown()
    stock.shutdown()
    assert not looks


@pytest.mark.parametrize("how", ["close", "lose", "hang"])
def test_a_look_that_fails_holds_nobody_up_and_is_repeated(server, database, often, how):
    with Proxy(server.nodes[0].port) as proxy:
        store = MongoDBJobStore(database.name, host=proxy.uri, watch=0.05)
        scheduler = run(store)
        proxy.fail("createIndexes", how, 2)
        database["jobs"].drop()
        filled_again(database)
        until(lambda: proxy.fault_count)
        store.add_job(job("a", scheduler=scheduler))
        until(lambda: "a" in scheduler.executor.times)
        proxy.release()
        until(lambda: set(database["jobs"].index_information()) == NAMES)
        scheduler.shutdown()


def test_a_refusal_is_told(server, database, often, caplog):
    """By an index of the same name and another kind."""
    store = MongoDBJobStore(database.name, host=server.uri, watch=0.05)
    scheduler = run(store)
    database["jobs"].drop()
    database["jobs"].create_index("next_run_time", name="next_run_time_1", unique=True)
    database["jobs"].insert_one({"_id": "a", "next_run_time": at(1e9).timestamp()})
    until(lambda: "Unable to create the indexes" in caplog.text)
    scheduler.shutdown()
    until(lambda: not [each for each in threading.enumerate() if "indexes" in each.name])
