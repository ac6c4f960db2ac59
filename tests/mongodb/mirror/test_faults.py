"""A mirrored store when the majority falls behind, or the server answers with errors."""

import logging
import pickle
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection
from jobstore.mongodb.mirroring import change_stream
from jobstore.testing import mongod
from support.jobs import YEARS, at, job, run_times
from support.manual_scheduler import by_hand
from support.mirrored_stores import (
    documents,
    mirrored,
    regular,
    run,
    wait_until_equal,
    wait_until_live,
)
from support.proxy import Proxy
from support.waiting import in_thread, until


def count_answers(store):
    """Return a list that grows with each answer of the change stream."""
    answers, next_event = [], store._lifecycle.watcher._next_event

    def counted(stream):
        next_event(stream)
        answers.append(1)

    store._lifecycle.watcher._next_event = counted
    return answers


# ---- the majority falls behind ----


def test_unreplicated_write_is_not_taken_for_lost(start, point, database):
    """With w=1 the primary acknowledges it; the stream reports only what the majority has."""
    scheduler, store = start(w=1)
    store.add_jobs([job("a"), job("b", 100)])
    wait_until_equal(store)
    answers = count_answers(store)
    point("disableSnapshotting")
    scheduler._process_jobs()
    store.update_job(job("b", 2 * YEARS))
    until(lambda: store.status().pending == 0)
    before = len(answers)
    until(lambda: len(answers) > before + 5)
    scheduler._process_jobs()
    assert len(scheduler.executor.submitted) == 2
    assert store.get_next_run_time() == at(YEARS)
    point.off()
    database["others"].insert_one({})  # the majority's next snapshot
    wait_until_equal(store)
    assert run_times(store) == {"a": at(YEARS).timestamp(), "b": at(2 * YEARS).timestamp()}


@pytest.mark.parametrize("options", [{"mirror": True}, {}], ids=["mirrored", "queried"])
def test_unreplicated_write_is_not_taken_for_written(server, database, point, options, monkeypatch):
    """It can be read, but a failover would lose it, and the job would run twice."""
    store = MongoDBJobStore(database.name, host=server.uri, **options)
    flush = store._write_behind._flush

    def flush_impatiently(*args):
        with monkeypatch.context() as patch:
            patch.setattr(connection, "COMMAND_SECONDS", 0.3)
            flush(*args)

    store._write_behind._flush = flush_impatiently
    scheduler = by_hand(store)
    store.add_job(job("a"))
    point("disableSnapshotting")
    scheduler._process_jobs()
    until(lambda: store._write_behind.failing)
    assert run_times(store) == {"a": at(YEARS).timestamp()}
    assert store.status().pending == 1
    point.off()
    database["others"].insert_one({})
    scheduler._process_jobs()
    until(lambda: store.status().pending == 0)
    assert len(scheduler.executor.submitted) == 1
    store.shutdown()


# ---- flushes that take longer than the interval of the jobs ----


@pytest.mark.slow
def test_changes_by_others_reach_jobs_that_are_always_due(server, database, session_client):
    """A new write is deferred during each flush, so these jobs are always unconfirmed."""
    others = MongoDBJobStore(database.name, client=session_client)
    with Proxy(server.nodes[0].port) as proxy:
        store = MongoDBJobStore(database.name, host=proxy.uri, mirror=True)
        scheduler = run(store)
        start = datetime.now(timezone.utc) + timedelta(seconds=1)
        store.add_jobs([regular(name, 0.2, start) for name in ("removed", "paused", "changed")])
        scheduler.wakeup()
        times = scheduler.executor.times
        until(lambda: len(times["changed"]) > 2)
        proxy.delay = 0.12
        seen = len(times["changed"])
        until(lambda: len(times["changed"]) > seen + 5)
        others.remove_job("removed")
        others.collection.update_one({"_id": "paused"}, {"$set": {"next_run_time": None}})
        while True:
            document = others.collection.find_one("changed")
            state = pickle.dumps(pickle.loads(document["job_state"]) | {"args": (1,)})
            query = {"_id": "changed", "job_state": document["job_state"]}
            if others.collection.update_one(query, {"$set": {"job_state": state}}).modified_count:
                break
        until(lambda: store.lookup_job("removed") is None)
        until(lambda: store.lookup_job("paused").next_run_time is None)
        until(lambda: store.lookup_job("changed").args == (1,))
        proxy.delay = 0.0
        scheduler.shutdown()


# ---- errors of the server ----


@pytest.mark.parametrize("code", [6, 18, 133, 134, 211])
def test_errors_of_the_server_count_as_an_outage(start, point, server, code):
    """A router without its shards answers so. Jobs fire, and are written afterwards."""
    scheduler, store = start(f"{server.uri}&appName=refused")
    store.add_jobs([job("a"), job("b", 1)])
    wait_until_equal(store)
    commands = ["aggregate", "getMore", "find", "update", "insert", "ping"]
    point("failCommand", failCommands=commands, appName="refused", errorCode=code)
    until(lambda: not store.status().connected)
    answered = store._lifecycle.watcher._answered_at
    assert store._reader.is_live
    scheduler._process_jobs()
    assert len(scheduler.executor.submitted) == 2
    point.off()
    until(lambda: store.status().connected and store._lifecycle.watcher._answered_at > answered)
    wait_until_live(store)
    wait_until_equal(store)
    assert set(run_times(store).values()) == {at(YEARS).timestamp(), at(1 + YEARS).timestamp()}


@pytest.mark.parametrize("code", [237, 11601])  # CursorKilled, Interrupted
def test_mirror_stays_live_when_the_cursor_of_its_stream_is_killed(
    start, point, server, stock, code
):
    _, store = start(f"{server.uri}&appName=killed")
    point("failCommand", failCommands=["getMore"], appName="killed", errorCode=code)
    until(lambda: not store.status().connected)
    point.off()
    assert store._lifecycle.watcher._resume_token
    stock.add_job(job("a"))
    wait_until_equal(store)  # no cycle has run that would make the mirror live again


def test_store_polls_when_the_server_refuses_the_stream(server, database, stock, point, caplog):
    skip = 2  # aggregations with which the start looks for claims; the third opens the stream
    point(
        "failCommand",
        skip,
        failCommands=["aggregate"],
        namespace=f"{database.name}.jobs",
        appName="refused",
        errorCode=115,
    )
    store = MongoDBJobStore(database.name, host=f"{server.uri}&appName=refused")
    scheduler = run(store)
    until(lambda: store.status().lag is not None)
    soon = job("a")
    soon.next_run_time = datetime.now(timezone.utc)
    stock.add_job(soon)
    until(lambda: scheduler.executor.times["a"])
    scheduler.shutdown()
    assert [each.levelno for each in caplog.records if "No change stream" in each.message] == [
        logging.WARNING
    ]


@pytest.mark.parametrize("level", ["local", "available", "linearizable", "majority"])
def test_read_concern_of_the_client_is_ignored(server, database, level):
    with MongoClient(server.uri, readConcernLevel=level) as client:
        store = MongoDBJobStore(database.name, client=client, mirror=True)
        store.start(None, "default")
        store.add_job(job("a", 5))
        wait_until_equal(store)
        store.shutdown()


def test_stream_waits_at_most_half_of_the_users_time_limit(server):
    with MongoClient(server.uri, timeoutMS=100) as client:
        assert MongoDBJobStore(client=client)._connection.await_ms == 50
    with MongoClient(server.uri, timeoutMS=10_000) as client:
        assert MongoDBJobStore(client=client)._connection.await_ms == connection.AWAIT_MS


def test_mirror_is_loaded_again_after_a_change_of_more_than_16_mb(start, stock):
    """The stream can't report it, because an event has the id, of 150 kB, more than once."""
    scheduler, store = start()
    wait_until_equal(store)
    jobs, large = store.collection, "i" * 150_000
    jobs.insert_one({"_id": large, "next_run_time": 4e9, "job_state": b""})
    until(lambda: large in mirrored(store))
    jobs.update_one({}, {"$set": {"job_state": b"x" * 16_400_000}})
    until(lambda: not store._reader.is_live)
    stock.add_job(job("soon"))
    scheduler._process_jobs()
    assert len(scheduler.executor.submitted) == 1
    wait_until_live(store)
    wait_until_equal(store)
    assert mirrored(store).keys() == {large, "soon"}


@pytest.mark.parametrize(
    ("code", "live", "resumes"),
    [
        (260, False, False),  # invalid token
        (280, False, False),  # fatal
        (286, False, False),  # too old
        (10334, False, False),  # over 16 MB
        (6, True, False),  # host of a router unreachable: load again when it answers
        (91, True, True),  # shutting down
        (10107, True, True),  # not primary
    ],
)
def test_error_code_decides_if_mirror_stays_live_and_stream_resumes(
    start, monkeypatch, code, live, resumes
):
    monkeypatch.setattr(change_stream, "PAUSE_SECONDS", 0.0)
    _, store = start()
    watcher, wakeups = store._lifecycle.watcher, []
    watcher.stop()
    store._wakeups.wake = lambda: wakeups.append(1)
    assert watcher._resume_token
    watcher._handle_error(OperationFailure("planned", code))
    assert store._reader.is_live is live
    assert bool(watcher._resume_token) is resumes
    assert bool(wakeups) is not live, "the scheduler asks again if the mirror is reset"


def test_mirror_is_not_live_when_only_the_stream_is_refused(start, point, server):
    """For example, the right to it was revoked: the mirror would become stale."""
    _, store = start(f"{server.uri}&appName=refused")
    store.add_job(job("a", 5))
    wait_until_equal(store)
    point("failCommand", failCommands=["aggregate", "getMore"], appName="refused", errorCode=13)
    until(lambda: not store._reader.is_live)
    assert store.lookup_job("a")
    wakeups, failed, fail = [], [], store._lifecycle.watcher._handle_error
    store._wakeups.wake = lambda: wakeups.append(1)
    store._lifecycle.watcher._handle_error = lambda error: (failed.append(1), fail(error))
    until(lambda: len(failed) > 2)
    assert not wakeups, "the scheduler is not woken again and again"
    point.off()
    wait_until_live(store)
    wait_until_equal(store)


RESUMED = "no event, and another cursor"
CHANGE = {"operationType": "delete", "documentKey": {"_id": "a"}}


class Scripted:
    """A change stream with given answers: (an event, None or RESUMED, the time in its token)."""

    _cursor = None

    def __init__(self, *answers):
        self._answers = list(answers)

    def try_next(self):
        event, named = self._answers.pop(0)
        self.resume_token = {"_data": f"82{named:016X}00"}
        if event is RESUMED:
            self._cursor = object()
            return None
        return event and {**CHANGE, "_id": self.resume_token}


@pytest.mark.parametrize(
    ("answers", "times"),
    [
        ([(None, 5), (None, 5)], [4, 5]),  # an event of time 5 may follow the first answer
        ([(None, 5), (None, 6), (None, 7)], [4, 5, 6]),
        ([("a", 5), ("b", 5), (None, 5)], [4, 4, 5]),  # a transaction
        ([("a", 5), (None, 6), ("b", 6), (None, 6)], [4, 5, 5, 6]),
        ([(None, 5), ("a", 5), (None, 5)], [4, 4, 5]),
        ([(None, 5), (RESUMED, 5), (None, 5)], [4, 4, 5]),  # perhaps by another node
    ],
)
def test_stream_has_passed_a_time_when_no_event_of_that_time_can_follow(start, answers, times):
    _, store = start()
    watcher, seen = store._lifecycle.watcher, []
    watcher.stop()
    watcher._token_time = 0
    watcher._mirror = SimpleNamespace(
        apply=lambda event: None, stream_reached=lambda time: seen.append(time) or []
    )
    stream = Scripted(*answers)
    for _ in answers:
        watcher._next_event(stream)
    assert seen == times


def test_document_that_becomes_invalid_does_not_delay_other_changes(
    start, session_client, database
):
    """Others make it invalid before the flush of several jobs, which finds it so."""
    scheduler, store = start()
    store.add_jobs([job(name) for name in "abc"])
    wait_until_equal(store)
    jobs = session_client[database.name]["jobs"]
    with store._locks.io_lock:
        in_thread(scheduler._process_jobs)
        jobs.update_one({"_id": "a"}, {"$set": {"next_run_time": "soon"}})
    until(lambda: not store._write_behind.has_pending)
    jobs.delete_one({"_id": "b"})
    jobs.update_one({"_id": "c"}, {"$set": {"next_run_time": None}})
    until(lambda: [each.id for each in store.quarantined()] == ["a"])
    wait_until_equal(store)
    assert mirrored(store).keys() == {"a", "c"}


def test_invalid_document_is_quarantined_after_it_is_changed(start, database):
    _, store = start()
    with store._locks.io_lock:  # keeps the flusher from its chores
        database["jobs"].insert_one({"_id": "a", "next_run_time": "soon", "job_state": b"x"})
        database["jobs"].update_one({"_id": "a"}, {"$set": {"job_state": b"y"}})
        until(lambda: mirrored(store).get("a", {}).get("job_state") == b"y")
    until(lambda: [each.id for each in store.quarantined()] == ["a"])
    wait_until_equal(store)


def test_stream_that_breaks_at_once_is_reopened(server, database, point, monkeypatch):
    """The server has opened the stream once, so the store does not fall back to polling."""
    monkeypatch.setattr(change_stream, "PAUSE_SECONDS", 0.01)
    point("failCommand", failCommands=["getMore"], appName="broken", errorCode=286)
    store = MongoDBJobStore(database.name, host=f"{server.uri}&appName=broken")
    opened, jobs = [], type(store._connection.jobs)
    watch_jobs = jobs.watch
    monkeypatch.setattr(
        jobs, "watch", lambda *args, **options: (opened.append(1), watch_jobs(*args, **options))[1]
    )
    scheduler = run(store)
    until(lambda: len(opened) > 3)
    assert store._lifecycle.watcher.poll_interval is None
    point.off()
    until(lambda: store.status().connected and store.status().lag is not None)
    scheduler.shutdown()


def test_exclusive_mirror_survives_an_outage(database):
    with mongod(standalone=True) as server:
        store = MongoDBJobStore(database.name, host=server.uri, mirror="exclusive")
        scheduler = by_hand(store)
        store.add_jobs([job("a"), job("b", 1)])
        server.kill()
        with pytest.raises(PyMongoError):
            store.add_job(job("c"))
        until(
            lambda: (
                store._write_behind.failing
                or not store._lifecycle.flusher._flush_requested.is_set()
            )
        )
        scheduler._process_jobs()
        assert len(scheduler.executor.submitted) == 2
        server.start()
        until(lambda: not store._write_behind.has_pending and mirrored(store) == documents(store))
        store.shutdown()


def test_run_time_in_the_last_second_of_the_year_9999_is_valid(start):
    _, store = start()
    last = datetime(9999, 12, 31, 23, 59, 59, 500_000, tzinfo=timezone.utc)
    store.add_job(job("a", next_run_time=last))
    store.update_job(job("a", next_run_time=last))
    wait_until_equal(store)
    assert store.get_next_run_time() == last
    assert store.lookup_job("a").next_run_time == last
    in_thread(store.remove_job, "a")
    wait_until_equal(store)
