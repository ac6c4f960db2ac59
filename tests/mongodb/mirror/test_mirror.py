"""The mirrored store: records in memory, kept current by a change stream."""

import logging
import os
import threading
import warnings

import pytest
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection
from jobstore.mongodb.mirroring import loading
from support.commands import Commands
from support.jobs import YEARS, at, job, names, run_times
from support.manual_scheduler import by_hand
from support.mirrored_stores import is_quiet, mirrored, own_threads, wait_until_equal
from support.proxy import Proxy
from support.waiting import in_thread, until


class Threads(Commands):
    """Notes the thread of each command, without the commands of the change stream."""

    def started(self, event):
        if threading.current_thread().name != "jobstore-watcher":
            before = len(self.names)
            super().started(event)
            if len(self.names) > before:
                self.names[-1] = (event.command_name, threading.current_thread().name)


@pytest.fixture
def commands():
    return Threads()


@pytest.fixture
def store(server, database, commands):
    """A mirrored store, not yet started, on an empty collection."""
    with MongoClient(server.uri, event_listeners=[commands]) as client:
        store = MongoDBJobStore(database.name, client=client, mirror=True)
        yield store
        store.shutdown()


# ---- one cycle ----


@pytest.mark.usefixtures("unhurried")
def test_idle_cycle_sends_no_command_and_busy_cycle_sends_one(store, commands):
    scheduler = by_hand(store)
    store.add_jobs([job(f"{number:04}", number % 7) for number in range(1000)])
    wait_until_equal(store)
    commands.names.clear()
    with store._locks.io_lock:  # keeps the flusher from a flush in mid-cycle
        wait = in_thread(scheduler._process_jobs)
    until(lambda: is_quiet(store))
    assert commands.names == [("update", "jobstore-flusher")]
    assert [job_id for job_id, _ in scheduler.executor.submitted[:2]] == ["0000", "0007"]
    assert len(scheduler.executor.submitted) == 1000
    assert wait > YEARS / 2 - 3e8

    commands.names.clear()
    for _ in range(3):
        scheduler._process_jobs()
    assert commands.names == []
    wait_until_equal(store)
    assert min(run_times(store).values()) == at(YEARS).timestamp()


def test_cycle_hands_out_limited_batches_while_the_server_is_busy(server, database):
    store = MongoDBJobStore(database.name, host=server.uri, mirror=True, batch_size=10)
    scheduler = by_hand(store)
    store.add_jobs([job(f"{number:02}") for number in range(35)])
    with store._locks.io_lock:  # keeps the flusher from writing
        done = []
        for _ in range(4):
            in_thread(scheduler._process_jobs)
            done.append(len(scheduler.executor.submitted))
        assert done == [10, 20, 30, 35]
        assert store.status().pending == 35
    wait_until_equal(store)
    store.shutdown()


def test_finished_job_leaves_memory_at_once_and_the_collection_later(store):
    scheduler = by_hand(store)
    store.add_jobs([job("ends", every=None), job("stays", 1)])
    scheduler._process_jobs()
    assert store.lookup_job("ends") is None
    assert len(store) == 1
    wait_until_equal(store)
    assert names(store) == ["stays"]


def test_run_that_is_not_yet_written_is_not_handed_out_again(store):
    scheduler = by_hand(store)
    store.add_job(job("a"))
    with store._locks.io_lock:
        for _ in range(5):
            in_thread(scheduler._process_jobs)
    assert len(scheduler.executor.submitted) == 1


# ---- calls outside a cycle ----


def test_written_jobs_are_read_at_once_without_a_command(store, commands):
    store.start(None, "default")
    store.add_job(job("a", 5))
    store.add_jobs([job("b", 3), job("c", None)])
    commands.names.clear()
    assert store.lookup_job("a").next_run_time == at(5)
    assert [each.id for each in store.get_all_jobs()] == ["b", "a", "c"]
    assert store.get_next_run_time() == at(3)
    assert len(store) == 3
    assert commands.names == []
    store.update_job(job("b", 9))
    assert store.get_next_run_time() == at(5)
    store.update_jobs([job("a", 11), job("a", 12)])
    assert store.lookup_job("a").next_run_time == at(12)
    store.remove_job("b")
    assert store.lookup_job("b") is None
    store.remove_jobs(["a"])
    assert [each.id for each in store.get_all_jobs()] == ["c"]
    store.remove_all_jobs()
    assert store.get_all_jobs() == []
    wait_until_equal(store)


def test_refused_jobs_raise_and_stay_as_they_were(store, stock):
    store.start(None, "default")
    store.add_job(job("a", 5))
    with pytest.raises(ConflictingIdError):
        store.add_job(job("a", 1))
    with pytest.raises(JobLookupError):
        store.update_job(job("none", 1))
    with pytest.raises(JobLookupError):
        store.remove_job("none")
    with pytest.raises(ConflictingIdError) as refused:
        store.add_jobs([job("a", 1), job("b", 2), job("b", 3)])
    assert refused.value.job_ids == ["a", "b"]
    assert [(each.id, each.next_run_time) for each in store.get_all_jobs()] == [
        ("b", at(2)),
        ("a", at(5)),
    ]
    wait_until_equal(store)


def test_call_outside_a_cycle_is_written_after_the_pending_write_of_the_job(store):
    scheduler = by_hand(store)
    store.add_job(job("a"))
    with store._locks.io_lock:
        in_thread(scheduler._process_jobs)
        assert store.status().pending == 1
        store.update_job(job("a", 77))
    wait_until_equal(store)
    assert run_times(store) == {"a": at(77).timestamp()}


# ---- changes by others, quarantine ----


def test_mirror_follows_changes_by_a_stock_store(store, stock):
    store.start(None, "default")
    stock.add_job(job("a", 5))
    stock.add_job(job("b", 6))
    until(lambda: len(store) == 2)
    stock.update_job(job("b", 1))
    until(lambda: store.get_next_run_time() == at(1))
    stock.remove_job("b")
    until(lambda: store.get_next_run_time() == at(5))
    stock.remove_all_jobs()
    until(lambda: len(store) == 0)


@pytest.mark.parametrize(
    ("change", "remaining"),
    [
        (lambda stock: stock.update_job(job("a", 50)), {"a": at(50).timestamp()}),
        (lambda stock: stock.remove_job("a"), {}),
        (lambda stock: stock.update_job(job("a", None)), {"a": None}),
        (lambda stock: stock.update_job(job("a", 0, args=(1,))), {"a": at(YEARS).timestamp()}),
    ],
)
def test_change_by_others_before_our_flush_wins_and_is_mirrored(store, stock, change, remaining):
    scheduler = by_hand(store)
    store.add_job(job("a"))
    with store._locks.io_lock:
        in_thread(scheduler._process_jobs)
        change(stock)
    wait_until_equal(store)
    assert run_times(store) == remaining


def test_removal_known_before_the_update_wins_without_a_command(store, stock, commands):
    def then(job):
        stock.remove_job("a")
        until(lambda: store.lookup_job("a") is None)

    scheduler = by_hand(store, then)
    store.add_job(job("a"))
    commands.names.clear()
    scheduler._process_jobs()
    until(lambda: is_quiet(store))
    assert commands.names == []
    assert names(store) == []


def test_job_without_executor_is_quarantined_by_a_thread_of_the_store(store, commands, caplog):
    caplog.set_level(logging.ERROR)
    scheduler = by_hand(store)
    store.add_jobs([job("bad", executor="gone"), job("good", 1)])
    commands.names.clear()
    scheduler._process_jobs()
    until(lambda: is_quiet(store))
    assert {name for _, name in commands.names} == {"jobstore-flusher"}
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["good"]
    assert [each.id for each in store.quarantined()] == ["bad"]
    assert store.lookup_job("bad").next_run_time == at(0)
    scheduler._process_jobs()
    assert caplog.text.count("quarantining it") == 1
    scheduler.add_executor(scheduler.executor, "gone")
    assert store.restore_quarantined() == ["bad"]
    until(lambda: store.get_next_run_time() == at(0))


def test_invalid_documents_are_quarantined(store, database):
    jobs = database["jobs"]
    jobs.insert_one({"_id": 1, "next_run_time": 1.0, "job_state": b""})
    store.start(None, "default")
    jobs.insert_one({"_id": "a", "next_run_time": "soon", "job_state": b""})
    jobs.insert_one({"_id": {"a": 1}, "next_run_time": 1.0, "job_state": b""})
    until(lambda: len(store.quarantined()) == 3)
    assert [each.id for each in store.get_all_jobs()] == []


# ---- start, status, shutdown, forks ----


def test_start_loads_existing_jobs_and_logs_progress(store, caplog, monkeypatch):
    monkeypatch.setattr(connection, "READ_BATCH", 10)
    monkeypatch.setattr(loading, "PROGRESS_SECONDS", 0.0)
    caplog.set_level(logging.INFO)
    store.add_jobs([job(f"{number}", number) for number in range(25)])
    store.start(None, "default")
    assert store._reader.is_live
    output = [each for each in caplog.messages if "in the mirror" in each]
    assert output == [
        *(f"{count} jobs are in the mirror" for count in (10, 20, 25)),
        "All 25 jobs are in the mirror",
    ]
    wait_until_equal(store)


def test_load_waits_for_a_write_that_is_not_yet_replicated(
    store, database, session_client, monkeypatch
):
    """It is older than the stream, and newer than the majority's data when the load begins."""
    point = session_client.admin.command
    running = [{"$currentOp": {}}, {"$match": {"command.find": "jobs"}}]
    start, written = store._lifecycle._start_threads, threading.Event()

    def start_late():
        point("configureFailPoint", "disableSnapshotting", mode="alwaysOn")
        database["jobs"].with_options(write_concern=WriteConcern(w=1)).insert_one(
            {"_id": "a", "next_run_time": 1.0, "job_state": b""}
        )
        written.set()
        start()

    monkeypatch.setattr(store._lifecycle, "_start_threads", start_late)
    starting = threading.Thread(target=store.start, args=(None, "default"))
    starting.start()
    try:
        assert written.wait(60)
        until(lambda: list(session_client.admin.aggregate(running)) or not starting.is_alive())
    finally:
        point("configureFailPoint", "disableSnapshotting", mode="off")
    database["others"].insert_one({})  # the majority's next snapshot
    starting.join(30)
    assert mirrored(store).keys() == {"a"}


def test_status_reports_number_and_age_of_pending_writes(store):
    assert store.status()[:4] == (True, 0, None, None)
    scheduler = by_hand(store)
    until(lambda: store.status().lag is not None)
    store.add_jobs([job("a"), job("b")])
    with store._locks.io_lock:
        in_thread(scheduler._process_jobs)
        status = store.status()
        assert status.pending == 2
        assert 0 <= status.oldest < 60
        assert status.connected
    until(lambda: store.status().pending == 0)
    assert store.status().oldest is None


def test_shutdown_ends_the_threads_and_flushes_pending_writes(store, session_client, database):
    before = own_threads()
    scheduler = by_hand(store)
    store.add_job(job("a"))
    in_thread(scheduler._process_jobs)
    store.shutdown()
    kept = session_client[database.name]["jobs"].find_one()
    assert kept["next_run_time"] == at(YEARS).timestamp()
    assert {*own_threads()} <= {*before}
    store.start(None, "default")
    assert store.get_next_run_time() == at(YEARS)


def test_shutdown_logs_jobs_that_it_could_not_write(server, database, caplog, monkeypatch):
    monkeypatch.setattr("jobstore.mongodb.lifecycle.CLOSE_SECONDS", 0.5)
    with Proxy(server.nodes[0].port) as proxy:
        store = MongoDBJobStore(database.name, host=proxy.uri, mirror=True)
        scheduler = by_hand(store)
        store.add_jobs([job("a"), job("b")])
        monkeypatch.setattr("jobstore.mongodb.connection.COMMAND_SECONDS", 0.5)
        for command in ("update", "find"):
            proxy.fail(command, "hang", 10**9)
        in_thread(scheduler._process_jobs)
        until(lambda: proxy.fault_count)
        store.shutdown()
    assert "2 jobs are not written and run again: a, b" in caplog.text
    assert not store._reader.is_live


def test_forked_process_asks_the_server_while_its_parent_goes_on(server, store, session_client):
    store.start(None, "default")
    store.add_job(job("a", 5))
    answer, question = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        warnings.simplefilter("ignore")  # PyMongo's, about clients and forks
        os.read(question[0], 1)
        try:
            found = store.get_next_run_time()
            live = store._reader.is_live
        except PyMongoError:
            found = live = "an error"
        os.write(answer[1], f"{live} {found and found.timestamp()}".encode())
        os._exit(0)
    store.update_job(job("a", 8))
    os.write(question[1], b"1")
    assert os.read(answer[0], 100).decode() == f"False {at(8).timestamp()}"
    os.waitpid(child, 0)
    for end in (*answer, *question):
        os.close(end)
    assert store._reader.is_live
    store.update_job(job("a", 9))
    wait_until_equal(store)


def test_forked_process_that_starts_the_store_has_its_own_mirror(store, stock):
    store.start(None, "default")
    answer = os.pipe()
    child = os.fork()
    if child == 0:
        warnings.simplefilter("ignore")  # PyMongo's, about clients and forks
        output = "an error"
        try:
            store.start(None, "default")
            store.add_job(job("child's"))
            until(lambda: store.lookup_job("parent's"))
            output = f"{store._reader.is_live} {names(store)}"
            store.shutdown()
        finally:
            os.write(answer[1], output.encode())
            os._exit(0)
    until(lambda: store.lookup_job("child's"))
    stock.add_job(job("parent's"))
    assert os.read(answer[0], 100).decode() == """True ["child's", "parent's"]"""
    os.waitpid(child, 0)
    for end in answer:
        os.close(end)
    wait_until_equal(store)
