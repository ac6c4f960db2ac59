"""The history while the server is away, slow, full, or refuses: no record twice, none unnoticed."""

import gc
import logging
import re
import time
import weakref

import pytest
from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.schedulers.background import BackgroundScheduler
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb.history import buffer, recorder, writing
from jobstore.testing import mongod
from support.history import kinds, wait_for
from support.jobs import at, job, note
from support.manual_scheduler import by_hand
from support.mirrored_stores import own_threads
from support.proxy import Proxy
from support.waiting import until

WAITS = "Records of the history wait to be written"
PASSWORD = "keep-it-secret"


@pytest.fixture
def proxy(server):
    with Proxy(server.nodes[0].port) as proxy:
        yield proxy


def history_threads():
    return [thread for thread in own_threads() if thread.name == "jobstore-history"]


def report(store, *job_ids):
    for job_id in job_ids:
        store._incidents.add("missed", job_id)


def lines(caplog, text):
    return [each for each in caplog.records if text in each.getMessage()]


def is_written(store):
    return not store._incidents.entries and not store._lifecycle._recorder._writer.unwritten


@pytest.mark.parametrize("retries", ["true", "false"])
def test_lost_reply_leaves_no_record_twice(recording, proxy, retries):
    store = recording(f"{proxy.uri}&retryWrites={retries}")
    by_hand(store)
    wait_for(store, "started")
    proxy.fail("insert", "lose", times=3)
    report(store, *"abc")
    until(lambda: proxy.fault_count == 3)
    report(store, "d")
    wait_for(store, "missed", "d")
    assert [kinds(store, each) for each in "abcd"] == [["missed"]] * 4


def test_records_of_an_outage_are_written_after_it(recording, proxy, caplog):
    store = recording(proxy.uri)
    by_hand(store)
    wait_for(store, "started")
    proxy.fail("insert", "close", times=1000)
    for job_id in "abc":
        report(store, job_id)
        count = proxy.fault_count
        until(lambda count=count: proxy.fault_count >= count + 4)
    warnings = [each for each in lines(caplog, WAITS) if each.levelno == logging.WARNING]
    assert len(warnings) == 1
    proxy.release()
    for job_id in "abc":
        wait_for(store, "missed", job_id)
    until(lambda: is_written(store))
    assert [kinds(store, each) for each in "abc"] == [["missed"]] * 3


def test_outage_has_a_record_with_its_begin_and_end(recording, proxy):
    store = recording(proxy.uri, watch=False)
    scheduler = by_hand(store)
    store.add_job(job("a", 10**10))
    scheduler._process_jobs()
    proxy.fail("find", "close", times=1000)
    for _ in range(3):
        scheduler._process_jobs()
    proxy.release()
    scheduler._process_jobs()
    (record,) = wait_for(store, "away")
    assert record.at < record.until
    assert re.match("AutoReconnect: |NetworkTimeout: |ExecutionTimeout: ", record.detail)
    scheduler._process_jobs()
    report(store, "a")
    wait_for(store, "missed", "a")
    assert kinds(store).count("away") == 1


def test_full_buffer_drops_records_and_says_how_many(recording, proxy, monkeypatch):
    store = recording(proxy.uri)
    by_hand(store)
    wait_for(store, "started")
    until(lambda: is_written(store))
    monkeypatch.setattr(buffer, "CAPACITY", 10)
    proxy.fail("insert", "close", times=1000)
    report(store, "first")
    until(lambda: store._lifecycle._recorder._writer.is_failing)
    report(store, *map(str, range(25)))
    assert store.status().dropped == 15
    proxy.release()
    (record,) = wait_for(store, "dropped")
    assert record.runs == 15
    assert record.at <= record.until
    until(lambda: is_written(store))
    assert [number for number in range(25) if kinds(store, str(number))] == list(range(10))


def test_hanging_server_delays_no_cycle(recording, proxy, monkeypatch):
    store = recording(proxy.uri, watch=False)
    scheduler = by_hand(store)
    wait_for(store, "started")
    proxy.fail("insert", "hang", times=1000)
    report(store, "x")
    until(lambda: proxy.fault_count)
    store.collection.update_one({"_id": "x"}, {"$set": {"y": 1}}, upsert=False)
    for _ in range(10):
        scheduler._process_jobs()
    assert not store._lifecycle._recorder._writer.is_failing  # it still waits for the reply
    proxy.release()
    wait_for(store, "missed", "x")


def test_shutdown_writes_the_last_records(recording, monkeypatch):
    monkeypatch.setattr(recorder, "WRITE_SECONDS", 60.0)
    store = recording()
    scheduler = by_hand(store)
    report(store, *map(str, range(2500)))
    scheduler.shutdown()
    reader = recording(history=None)
    assert kinds(reader) == ["started", "stopped"]
    assert reader._connection.runs.count_documents({"kind": "missed"}) == 2500
    assert not history_threads()


def test_shutdown_ends_in_time_while_the_server_hangs(recording, proxy, caplog):
    store = recording(proxy.uri, watch=False)
    scheduler = by_hand(store)
    wait_for(store, "started")
    proxy.hold()
    report(store, "a")
    began = time.monotonic()
    scheduler.shutdown()
    assert time.monotonic() - began < 10  # 5 s, on any machine
    assert lines(caplog, "records of the history are not written")
    proxy.release()
    until(lambda: not history_threads())


def test_record_that_no_document_can_hold_is_lost_alone(recording, caplog):
    store = recording()
    by_hand(store)
    wait_for(store, "started")
    report(store, object())
    until(lambda: lines(caplog, "1 records of the history are lost"))
    report(store, "a")
    wait_for(store, "missed", "a")


def test_refused_record_is_lost_alone(recording, database, caplog):
    store = recording()
    by_hand(store)
    wait_for(store, "started")
    rule = {"$nor": [{"job": "bad"}]}
    database.command("collMod", "jobs_runs", validator=rule)
    report(store, "bad", "a")
    wait_for(store, "missed", "a")
    until(lambda: lines(caplog, "1 records of the history are lost: Document failed validation"))
    assert kinds(store, "bad") == []


def test_changed_keep_changes_the_index(recording):
    def seconds(store):
        indexes = store._connection.runs.index_information()
        return indexes.get("time_1", {}).get("expireAfterSeconds")

    first = recording(keep=100.9)
    by_hand(first)
    until(lambda: seconds(first) == 100)
    second = recording(keep=200)
    by_hand(second)
    until(lambda: seconds(second) == 200)
    report(second, "a")
    wait_for(second, "missed", "a")


def test_index_of_another_name_serves(recording, database):
    """An administrator may have created the indexes, with names of his own."""
    runs = database["jobs_runs"]
    runs.create_index("time", name="old", expireAfterSeconds=5)
    runs.create_index([("job", 1), ("time", 1)], name="mine")
    store = recording(keep=200)
    by_hand(store)
    report(store, "a")
    wait_for(store, "missed", "a")
    indexes = runs.index_information()
    assert indexes.keys() == {"_id_", "old", "mine"}
    assert indexes["old"]["expireAfterSeconds"] == 200


def test_records_are_written_although_the_server_refuses_the_indexes(
    recording, database, caplog, monkeypatch
):
    monkeypatch.setattr(writing, "CHECK_SECONDS", 0.0)
    runs = database.jobs_runs
    runs.create_index([("time", -1)], name="time_1")
    runs.create_index([("job", -1)], name="job_1_time_1")
    store = recording()
    by_hand(store)
    wait_for(store, "started")
    report(store, "a")
    wait_for(store, "missed", "a")
    texts = [
        each.getMessage() for each in lines(caplog, "An index of") if each.levelname != "DEBUG"
    ]
    assert len(texts) == 2
    assert "is missing, so the server keeps old records for ever" in texts[0]
    assert "is missing, so reading the history takes long" in texts[1]
    runs.drop_indexes()
    until(lambda: {"time_1", "job_1_time_1"} <= runs.index_information().keys())


def test_dropped_collection_gets_its_indexes_again(recording, monkeypatch):
    monkeypatch.setattr(writing, "CHECK_SECONDS", 0.0)
    store = recording()
    by_hand(store)
    wait_for(store, "started")
    store._connection.runs.drop()
    report(store, "a")
    until(lambda: {"time_1", "job_1_time_1"} <= store._connection.runs.index_information().keys())


def test_old_record_is_removed_by_the_index(recording):
    """The server looks each minute: here the test only sees that the index is one that removes."""
    store = recording(keep=5)
    by_hand(store)
    wait_for(store, "started")
    index = store._connection.runs.index_information()["time_1"]
    assert index["key"] == [("time", 1)]
    assert index["expireAfterSeconds"] == 5


def test_restarted_store_records_each_run_once(recording, server, database):
    store = MongoDBJobStore(database.name, host=server.uri, history="all")
    scheduler = by_hand(store)
    scheduler.shutdown()
    scheduler.start()
    store._incidents.add("missed", "a")
    wait_for(store, "missed", "a")
    assert len([each for each, _ in scheduler._listeners if "Listener" in repr(each)]) == 1
    scheduler.shutdown()
    assert kinds(recording(history=None)) == ["started", "stopped", "started", "stopped"]


def test_dropped_store_ends_its_thread_after_the_last_records(recording, server, database):
    store = MongoDBJobStore(database.name, host=server.uri, history="all")
    store.start(None, "default")
    report(store, "a")
    reference = weakref.ref(store)
    del store
    gc.collect()
    assert reference() is None
    until(lambda: not history_threads())
    assert kinds(recording(history=None), "a") == ["missed"]


def test_failed_start_leaves_no_thread_and_no_listener(recording, monkeypatch):
    store = recording()

    def fail(self):
        raise OSError("no index")

    monkeypatch.setattr("jobstore.mongodb.indexes.Indexes.create", fail)
    with pytest.raises(OSError, match="no index"):
        by_hand(store)
    assert not history_threads()
    assert not store._incidents.is_recording


def test_failed_start_of_the_scheduler_leaves_no_thread(recording, caplog):
    store = recording()
    scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
    for _ in range(2):
        scheduler.add_job(note, "date", run_date=at(10**10), id="a")
    with pytest.raises(ConflictingIdError):
        scheduler.start()
    until(lambda: not history_threads())
    assert not lines(caplog, WAITS)
    assert kinds(recording(history=None), "a") == ["added"]


@pytest.fixture(scope="module")
def locked():
    """Start a server with users that have rights on the jobs, and few on the history.

    - `blind` has none.
    - `writer` may write records, and create no index.
    - `full` has all that the history needs.
    """
    on_jobs = ["find", "insert", "update", "remove", "createIndex"]
    users = {
        "blind": [],
        "writer": ["find", "insert"],
        "full": ["find", "insert", "createIndex", "collMod"],
    }
    with mongod(standalone=True, options=("--auth",)) as server:
        with MongoClient(server.uri) as client:  # the first user needs no login
            client.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
        with MongoClient(server.uri, username="root", password=PASSWORD) as client:
            for user, on_runs in users.items():
                rights = {"jobs": on_jobs, "jobs_meta": on_jobs, "jobs_runs": on_runs}
                privileges = [
                    {"resource": {"db": "apscheduler", "collection": name}, "actions": actions}
                    for name, actions in rights.items()
                    if actions
                ]
                client.admin.command("createRole", user, privileges=privileges, roles=[])
                client.admin.command("createUser", user, pwd=PASSWORD, roles=[user])
            yield server


def start_as(server, user, **options):
    options = {"history": "all", "username": user, "password": PASSWORD, **options}
    store = MongoDBJobStore(host=server.uri, authMechanism="SCRAM-SHA-256", **options)
    return store, by_hand(store)


@pytest.mark.parametrize("user", ["blind", "writer"])
def test_store_without_rights_warns_once_and_records_nothing(locked, caplog, user):
    store, scheduler = start_as(locked, user)
    until(lambda: not history_threads())
    store.add_job(job("a", func=note))
    scheduler._process_jobs()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["a"]
    store.remove_all_jobs()
    scheduler.shutdown()
    (line,) = lines(caplog, "no history is recorded")
    assert "apscheduler.jobs_runs" in line.getMessage()
    assert line.levelno == logging.WARNING


def test_named_rights_suffice_also_for_a_changed_keep(locked, caplog):
    for keep in (100, 200):
        store, scheduler = start_as(locked, "full", keep=keep)
        report(store, f"job-{keep}")
        wait_for(store, "missed", f"job-{keep}")
        scheduler.shutdown()
    assert not lines(caplog, "no history is recorded")
