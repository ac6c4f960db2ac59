"""The document that a scheduler writes from its start to its shutdown."""

import gc
import logging
import os
import socket
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore
from jobstore.mongodb.presence.scheduler import read_schedulers
from support.mirrored_stores import own_threads
from support.proxy import Proxy
from support.standbys import beat, documents, expire, presence_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("quick_collections")

MODES = {
    "queried": {},
    "mirrored": {"mirror": True},
    "exclusive": {"mirror": "exclusive"},
    "shared": {"shared": True},
}


@pytest.mark.parametrize("mode", MODES)
def test_start_writes_a_document_and_shutdown_removes_it(scheduler_on, database, mode):
    scheduler = scheduler_on(**MODES[mode])
    (document,) = documents(database)
    assert document["_id"].startswith(f"scheduler:{socket.gethostname()}:{os.getpid()}:")
    assert (document["mode"], document["others"], document["state"]) == (mode, "warn", "firing")
    assert set(document["versions"]) == {"jobstore", "apscheduler", "pymongo", "python"}
    assert all(document["versions"].values())
    assert document["executors"] == [{"alias": "default", "type": "Submissions", "workers": None}]
    assert document["expires"] - document["seen"] == timedelta(seconds=30)
    scheduler.store.shutdown()
    assert documents(database) == []


def test_workers_of_a_pool_are_named(server, database):
    store = MongoDBJobStore(database.name, host=server.uri)
    scheduler = BackgroundScheduler(
        timezone="UTC",
        jobstores={"default": store},
        executors={"default": {"type": "threadpool", "max_workers": 7}, "$odd.name": store_pool()},
    )
    scheduler.start()
    (found,) = store.schedulers()
    assert found.executors == {
        "default": {"type": "ThreadPoolExecutor", "workers": 7},
        "$odd.name": {"type": "ThreadPoolExecutor", "workers": 3},
    }
    scheduler.shutdown()


def store_pool():
    return {"type": "threadpool", "max_workers": 3}


def test_thread_writes_the_document_again_with_counters_and_status(scheduler_on, database):
    scheduler = scheduler_on()
    (first,) = documents(database)
    scheduler._process_jobs()
    beat(scheduler.store)
    until(lambda: documents(database)[0]["counters"]["cycles"] == 1)
    (second,) = documents(database)
    assert second["started"] == first["started"]
    assert second["seen"] > first["seen"]
    assert second["status"]["firing"] is True
    (found,) = scheduler.store.schedulers()
    assert found.alive
    assert found.name == f"{socket.gethostname()}:{os.getpid()}"
    assert -1 < found.clock_ahead < 1
    assert 0 <= found.age < 60


def test_document_is_written_again_if_somebody_removes_it(scheduler_on, database):
    scheduler = scheduler_on()
    database["jobs_meta"].delete_many({})
    presence_of(scheduler.store).beat_soon()
    until(lambda: documents(database))


def test_store_without_a_scheduler_is_idle(server, database):
    store = MongoDBJobStore(database.name, host=server.uri)
    store.start(None, "default")
    (document,) = documents(database)
    assert document["state"] == "idle"
    assert not store.status().firing
    store.shutdown()


@pytest.mark.parametrize("mode", MODES)
def test_thread_ends_with_the_shutdown(scheduler_on, mode):
    scheduler = scheduler_on(**MODES[mode])
    assert "jobstore-presence" in [each.name for each in own_threads()]
    scheduler.store.shutdown()
    until(lambda: not own_threads())


def test_dropped_store_removes_its_document(server, database):
    store = MongoDBJobStore(database.name, host=server.uri)
    store.start(None, "default")
    del store
    gc.collect()
    until(lambda: documents(database) == [])
    until(lambda: not own_threads())


def test_document_that_a_dropped_store_has_left_is_removed(scheduler_on, database):
    """Its thread may have ended before it could remove the document."""
    scheduler = scheduler_on()
    meta = database["jobs_meta"]
    (document,) = documents(database)
    gone = document["_id"][:-1] + ("1" if document["_id"].endswith("0") else "0")
    meta.insert_one({**document, "_id": gone})
    beat(scheduler.store)
    until(lambda: [each["_id"] for each in documents(database)] == [document["_id"]])
    assert scheduler.store.status().others == ()


def test_old_document_is_removed_by_any_scheduler(scheduler_on, database):
    meta = database["jobs_meta"]
    long_ago = datetime.now(timezone.utc) - timedelta(days=2)
    meta.insert_one({"_id": "scheduler:gone:1:x", "state": "firing", "seen": long_ago})
    recently = datetime.now(timezone.utc) - timedelta(hours=20)
    meta.insert_one({"_id": "scheduler:gone:2:x", "state": "firing", "seen": recently})
    scheduler = scheduler_on(shared=True)
    beat(scheduler.store)
    until(lambda: meta.find_one("scheduler:gone:1:x") is None)
    assert meta.find_one("scheduler:gone:2:x")


def test_recovery_removes_documents_once_they_have_expired(scheduler_on, database):
    """In a rolling deploy the other scheduler still runs when the recovery is over."""
    meta = database["jobs_meta"]
    now = datetime.now(timezone.utc)
    old = {"_id": "scheduler:old:1:x", "state": "firing", "seen": now}
    meta.insert_one({**old, "expires": now + timedelta(hours=1)})
    scheduler = scheduler_on()
    scheduler._process_jobs()
    scheduler._process_jobs()
    assert presence_of(scheduler.store).leftovers == [], "the recovery is over"
    assert meta.find_one(old["_id"]), "the other scheduler is alive"
    expire(database, _id=old["_id"])
    beat(scheduler.store)
    until(lambda: meta.find_one(old["_id"]) is None)


@pytest.mark.parametrize("state", ["firing", None], ids=["firing", "written by an older version"])
def test_start_that_finds_a_document_of_another_process_runs_small_batches(
    scheduler_on, database, caplog, state
):
    caplog.set_level(logging.INFO)
    fields = {"state": state} if state else {}
    database["jobs_meta"].insert_one({"_id": "scheduler:gone:1:x", **fields})
    scheduler_on()
    assert "ended without a shutdown" in caplog.text


@pytest.mark.parametrize("state", ["waiting", "paused", "idle"])
def test_scheduler_that_fired_no_jobs_leaves_nothing_to_recover(
    scheduler_on, database, caplog, state
):
    caplog.set_level(logging.INFO)
    database["jobs_meta"].insert_one({"_id": "scheduler:gone:1:x", "state": state})
    scheduler_on()
    assert "ended without a shutdown" not in caplog.text


# Faults


def test_outage_is_logged_once_and_over_when_the_document_is_written(
    server, scheduler_on, database, caplog
):
    with Proxy(server.nodes[0].port) as proxy:
        scheduler = scheduler_on(proxy.uri)
        proxy.fail("update", "close", times=3)
        presence_of(scheduler.store).beat_soon()
        until(lambda: proxy.fault_count == 3)
        beat(scheduler.store)
        until(lambda: not presence_of(scheduler.store)._is_failing)
    assert caplog.text.count("Unable to tell other schedulers that this one runs") == 1


def test_document_written_during_the_shutdown_is_removed(server, scheduler_on, database):
    """The server holds the write back until the store has shut down."""
    with Proxy(server.nodes[0].port) as proxy:
        scheduler = scheduler_on(proxy.uri)
        store, thread = scheduler.store, scheduler.store._lifecycle.beating._thread
        meta = database["jobs_meta"]
        proxy.fail("update", "lose")
        presence_of(store).beat_soon()
        store.shutdown()
        thread.join(60)
        assert not thread.is_alive()
    until(lambda: meta.count_documents({"_id": {"$regex": "^scheduler:"}}) == 0)


def test_shutdown_that_can_not_remove_the_document_raises_nothing(server, scheduler_on, database):
    with Proxy(server.nodes[0].port) as proxy:
        scheduler = scheduler_on(proxy.uri)
        proxy.fail("delete", "close")
        scheduler.store.shutdown()
        assert proxy.fault_count == 1
    assert len(documents(database)) == 1


def test_start_whose_document_could_not_be_written_fails_and_leaves_none(
    server, scheduler_on, database
):
    with Proxy(server.nodes[0].port) as proxy:
        before = own_threads()
        scheduler = scheduler_on(proxy.uri)
        store = scheduler.store
        store.shutdown()
        lose_presence(proxy)
        with pytest.raises(Exception, match=r"connection closed|reset"):
            store.start(scheduler, "default")
        assert proxy.fault_count == 1
    assert documents(database) == [], "the write had reached the server"
    assert {*own_threads()} <= {*before}


def lose_presence(proxy):
    """Lose the reply to the next write of a presence."""

    def fault(request):
        if b"scheduler:" in request and request[26:32] == b"update" and not proxy.fault_count:
            proxy.fault_count += 1
            return "lose"
        return ""

    proxy.faults.append(fault)


# What others may have written

HOSTILE = [
    {"_id": "scheduler:"},
    {"_id": "scheduler:::"},
    {"_id": "scheduler:host:²:x", "state": 1, "expires": "never"},
    {"_id": f"scheduler:host:{'9' * 5000}:x", "versions": [], "executors": {"a": 1}},
    {"_id": "scheduler:a:1:b\nc", "mode": ["x"], "seen": 5, "executors": [1, {"alias": 2}]},
    {"_id": "scheduler:$x:1:y", "counters": 3, "status": "fine", "clock": None},
]


@pytest.mark.parametrize("document", HOSTILE, ids=range(len(HOSTILE)))
def test_damaged_document_of_another_disturbs_nobody(scheduler_on, database, document):
    future = datetime.now(timezone.utc) + timedelta(days=1)
    database["jobs_meta"].insert_one({"state": "firing", "expires": future, **document})
    scheduler = scheduler_on()
    beat(scheduler.store)
    found = read_schedulers(scheduler.store._connection)
    assert document["_id"] in [each.id for each in found]
    assert "\n" not in repr(found)


def test_log_line_shows_no_control_characters_of_others(scheduler_on, database, caplog):
    future = datetime.now(timezone.utc) + timedelta(days=1)
    document = {"_id": "scheduler:a\nb:1:x", "mode": "\x1b[31m" + "m" * 1000}
    scheduler = scheduler_on()
    database["jobs_meta"].insert_one({**document, "state": "firing", "expires": future})
    beat(scheduler.store)

    def lines():
        return [each.getMessage() for each in caplog.records if "Every job runs" in each.msg]

    (line,) = until(lines)
    assert line.isprintable()
    assert len(line) < 600
