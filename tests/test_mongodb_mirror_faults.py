"""The mirrored store where the server, the majority or a thread falls behind, or says no."""

import contextlib
import logging
import os
import pickle
import threading
import warnings
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from mirrored import agree, documents, is_quiet, mirrored, regular, restarted, run
from mongo import YEARS, at, by_hand, in_thread, job, names, run_times, until
from proxy import Proxy
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection, watch
from jobstore.mongodb.deferred import Deferred
from jobstore.mongodb.statements import Seen, Write
from jobstore.testing import mongod


@pytest.fixture
def point(session_client):
    """Sets fail points of the server, and ends them."""
    names = []

    def point(name, **data):
        names.append(name)
        mode = {"configureFailPoint": name, "mode": "alwaysOn"}
        session_client.admin.command(mode | ({"data": data} if data else {}))

    def off():
        for name in names:
            session_client.admin.command({"configureFailPoint": name, "mode": "off"})
        names.clear()

    point.off = off
    yield point
    off()


@pytest.fixture
def start(server, database):
    """Starts a scheduler, run by hand, on a mirrored store."""
    stores = []

    def start(uri=server.uri, **options):
        stores.append(MongoDBJobStore(database.name, host=uri, mirror=True, **options))
        return by_hand(stores[-1]), stores[-1]

    yield start
    for store in stores:
        store.shutdown()


def count_answers(store):
    """Count, in a list, what the change stream has answered."""
    answers, take = [], store._watcher._next

    def counted(stream):
        take(stream)
        answers.append(1)

    store._watcher._next = counted
    return answers


# ---- the majority lags ----


def test_what_the_majority_does_not_have_yet_is_not_taken_for_never_written(start, point, database):
    """With w=1 it is written at once; the stream tells only what the majority has."""
    scheduler, store = start(w=1)
    store.add_jobs([job("a"), job("b", 100)])
    agree(store)
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
    agree(store)
    assert run_times(store) == {"a": at(YEARS).timestamp(), "b": at(2 * YEARS).timestamp()}


@pytest.mark.parametrize("options", [{"mirror": True}, {}], ids=["mirrored", "queried"])
def test_what_the_majority_does_not_have_is_not_taken_for_written(
    server, database, point, options, monkeypatch
):
    """Though it can be read: a fail-over would lose it, and the job would run twice."""
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 0.3)
    store = MongoDBJobStore(database.name, host=server.uri, **options)
    scheduler = by_hand(store)
    store.add_job(job("a"))
    point("disableSnapshotting")
    scheduler._process_jobs()
    until(lambda: store._deferred.failing)
    assert run_times(store) == {"a": at(YEARS).timestamp()}
    assert store.status().pending == 1
    point.off()
    database["others"].insert_one({})
    scheduler._process_jobs()
    until(lambda: store.status().pending == 0)
    assert len(scheduler.executor.submitted) == 1
    store.shutdown()


# ---- a flush takes longer than it takes until jobs are due again ----


@pytest.mark.slow
def test_changes_by_others_reach_jobs_that_are_due_all_the_time(server, database, session_client):
    """Each is deferred anew while it is flushed, and so is always ahead of the stream."""
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


def write(name):
    return Write(Seen(name, 1.0, b"1"), 2.0, b"2")


def test_a_flush_ends_though_more_is_deferred_all_the_time():
    def flush(writes, found, sent_before):
        writes.clear()
        deferred.add(write(f"{len(written)}"), lambda each: each)
        written.append(1)

    written = []
    deferred = Deferred(flush, 10)
    deferred.in_other_thread(lambda: None)
    for number in range(25):
        deferred.add(write(f"first {number}"), lambda each: each)
    deferred.flush()
    assert len(written) == 3
    assert deferred.waits


def test_a_flush_that_is_under_way_is_no_failure():
    def flush(writes, found, sent_before):
        failing.append(deferred.failing)
        writes.clear()

    failing = []
    deferred = Deferred(flush, 10)
    deferred.add(write("a"), lambda each: each)
    deferred.flush()
    assert failing == [False]


def test_what_others_changed_wins_over_what_was_deferred_meanwhile():
    """Removed: no more is written. Changed: our newest time is put into their newest state."""
    theirs = pickle.dumps({"next_run_time": None, "new": True})

    def flush(writes, found, sent_before):
        for name, write in list(writes.items()):
            deferred.add(write._replace(seen=write.after, run_time=3.0), lambda each: each)
            found[name] = None if name == "removed" else Seen(name, 2.0, theirs)
        writes.clear()

    told = []
    deferred = Deferred(flush, 10)
    deferred.settled = lambda ids, found: told.append((ids, found))
    deferred.add(write("removed"), lambda each: each)
    deferred.add(write("changed"), lambda each: each)
    deferred.flush()
    left = deferred.writes
    assert left.keys() == {"changed"}
    assert left["changed"].seen.state == theirs
    assert left["changed"].run_time == 3.0
    assert pickle.loads(left["changed"].state)["new"]
    assert told == [(["removed"], {"removed": None, "changed": left["changed"].after})]


# ---- the server says no ----


@pytest.mark.parametrize("code", [6, 18, 133, 134, 211])
def test_a_server_that_answers_with_errors_is_an_outage(start, point, server, code):
    """Of a router without its shards, say. Jobs fire, and all is written afterwards."""
    scheduler, store = start(f"{server.uri}&appName=refused")
    store.add_jobs([job("a"), job("b", 1)])
    agree(store)
    commands = ["aggregate", "getMore", "find", "update", "insert", "ping"]
    point("failCommand", failCommands=commands, appName="refused", errorCode=code)
    until(lambda: not store.status().connected)
    answered = store._watcher._answered_at
    assert store._mirror.live
    scheduler._process_jobs()
    assert len(scheduler.executor.submitted) == 2
    point.off()
    until(lambda: store.status().connected and store._watcher._answered_at > answered)
    restarted(store)
    agree(store)
    assert set(run_times(store).values()) == {at(YEARS).timestamp(), at(1 + YEARS).timestamp()}


def test_without_a_stream_for_any_reason_it_asks(server, database, stock, point, caplog):
    point("failCommand", failCommands=["aggregate"], appName="refused", errorCode=115)
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
def test_what_the_client_says_about_reading_does_not_matter(server, database, level):
    with MongoClient(server.uri, readConcernLevel=level) as client:
        store = MongoDBJobStore(database.name, client=client, mirror=True)
        store.start(None, "default")
        store.add_job(job("a", 5))
        agree(store)
        store.shutdown()


def test_the_users_own_time_limit_is_longer_than_it_takes_to_hear_of_nothing(server):
    with MongoClient(server.uri, timeoutMS=100) as client:
        assert MongoDBJobStore(client=client)._connection.await_ms == 50
    with MongoClient(server.uri, timeoutMS=10_000) as client:
        assert MongoDBJobStore(client=client)._connection.await_ms == connection.AWAIT_MS


def test_a_change_of_more_than_16_mb_costs_a_new_start(start, stock):
    """The stream can't tell it: the id, of 150 kB, is in it more than once."""
    scheduler, store = start()
    agree(store)
    jobs, large = store.collection, "i" * 150_000
    jobs.insert_one({"_id": large, "next_run_time": 4e9, "job_state": b""})
    until(lambda: large in mirrored(store))
    jobs.update_one({}, {"$set": {"job_state": b"x" * 16_400_000}})
    until(lambda: not store._mirror.live)
    stock.add_job(job("soon"))
    scheduler._process_jobs()
    assert len(scheduler.executor.submitted) == 1
    restarted(store)
    agree(store)
    assert mirrored(store).keys() == {large, "soon"}


@pytest.mark.parametrize(
    ("code", "live", "resumes"),
    [
        (260, False, False),  # invalid token
        (280, False, False),  # fatal
        (286, False, False),  # too old
        (10334, False, False),  # over 16 MB
        (6, True, False),  # a router's host is unreachable: all is read anew, when that is possible
        (91, True, True),  # shutting down
        (10107, True, True),  # not primary
    ],
)
def test_what_an_error_of_the_stream_means_for_the_mirror(start, monkeypatch, code, live, resumes):
    monkeypatch.setattr(watch, "PAUSE_SECONDS", 0.0)
    _, store = start()
    watcher, rung = store._watcher, []
    watcher.stop()
    store._alarm.ring = lambda: rung.append(1)
    assert watcher._token
    watcher._failed(OperationFailure("planned", code))
    assert store._mirror.live is live
    assert bool(watcher._token) is resumes
    assert bool(rung) is not live, "who sleeps by what the mirror said asks again"


def test_a_stream_that_is_refused_while_the_jobs_are_not_is_no_outage(start, point, server):
    """The right to it was taken away, say: the mirror would be older and older."""
    _, store = start(f"{server.uri}&appName=refused")
    store.add_job(job("a", 5))
    agree(store)
    point("failCommand", failCommands=["aggregate", "getMore"], appName="refused", errorCode=13)
    until(lambda: not store._mirror.live)
    assert store.lookup_job("a")
    rung, failed, fail = [], [], store._watcher._failed
    store._alarm.ring = lambda: rung.append(1)
    store._watcher._failed = lambda error: (failed.append(1), fail(error))
    until(lambda: len(failed) > 2)
    assert not rung, "nobody is woken again and again"
    point.off()
    restarted(store)
    agree(store)


class Scripted:
    """A change stream that answers what a test says: (a change or None, the time it names)."""

    def __init__(self, *answers):
        self._answers = list(answers)

    def try_next(self):
        event, named = self._answers.pop(0)
        self.resume_token = {"_data": f"82{named:016X}00"}
        return event and event | {"_id": self.resume_token}


@pytest.mark.parametrize(
    ("answers", "times"),
    [
        ([(None, 5), (None, 5)], [4, 5]),  # what happened at 5 may come after the first one
        ([(None, 5), (None, 6), (None, 7)], [4, 5, 6]),
        ([("a", 5), ("b", 5), (None, 5)], [4, 4, 5]),  # a transaction
        ([("a", 5), (None, 6), ("b", 6), (None, 6)], [4, 5, 5, 6]),
        ([(None, 5), ("a", 5), (None, 5)], [4, 4, 5]),
    ],
)
def test_how_far_the_stream_has_come(start, answers, times):
    _, store = start()
    watcher, seen = store._watcher, []
    watcher.stop()
    watcher._named = 0
    watcher._mirror = SimpleNamespace(
        apply=lambda event: None, passed=lambda time: seen.append(time) or []
    )
    change = {"operationType": "delete", "documentKey": {"_id": "a"}}
    stream = Scripted(*((event and change, named) for event, named in answers))
    for _ in answers:
        watcher._next(stream)
    assert seen == times


def test_a_document_that_becomes_no_job_keeps_nothing_else_back(start, session_client, database):
    """Found while the flush of many is settled."""
    scheduler, store = start()
    store.add_jobs([job(name) for name in "abc"])
    agree(store)
    jobs = session_client[database.name]["jobs"]
    with store._lock:
        in_thread(scheduler._process_jobs)
        jobs.update_one({"_id": "a"}, {"$set": {"next_run_time": "soon"}})
    until(lambda: not store._deferred.waits)
    jobs.delete_one({"_id": "b"})
    jobs.update_one({"_id": "c"}, {"$set": {"next_run_time": None}})
    until(lambda: [each.id for each in store.quarantined()] == ["a"])
    agree(store)
    assert mirrored(store).keys() == {"a", "c"}


def test_a_document_that_is_no_job_and_is_changed_meanwhile_is_quarantined(start, database):
    _, store = start()
    with store._lock:  # before the store's thread comes to it
        database["jobs"].insert_one({"_id": "a", "next_run_time": "soon", "job_state": b"x"})
        database["jobs"].update_one({"_id": "a"}, {"$set": {"job_state": b"y"}})
        until(lambda: mirrored(store).get("a", {}).get("job_state") == b"y")
    until(lambda: [each.id for each in store.quarantined()] == ["a"])
    agree(store)


def test_a_stream_that_breaks_at_once_is_opened_again(server, database, point, monkeypatch):
    """It was there: that is no reason to do without."""
    monkeypatch.setattr(watch, "PAUSE_SECONDS", 0.01)
    point("failCommand", failCommands=["getMore"], appName="broken", errorCode=286)
    store = MongoDBJobStore(database.name, host=f"{server.uri}&appName=broken")
    opened, jobs = [], type(store._connection.jobs)
    watch_jobs = jobs.watch
    monkeypatch.setattr(
        jobs, "watch", lambda *args, **options: (opened.append(1), watch_jobs(*args, **options))[1]
    )
    scheduler = run(store)
    until(lambda: len(opened) > 3)
    assert store._watcher._every is None
    point.off()
    until(lambda: store.status().connected and store.status().lag is not None)
    scheduler.shutdown()


def test_an_exclusive_mirror_lasts_through_an_outage(database):
    with mongod(standalone=True) as server:
        store = MongoDBJobStore(database.name, host=server.uri, mirror="exclusive")
        scheduler = by_hand(store)
        store.add_jobs([job("a"), job("b", 1)])
        server.kill()
        with pytest.raises(PyMongoError):
            store.add_job(job("c"))
        until(lambda: store._deferred.failing or not store._flusher._wanted.is_set())
        scheduler._process_jobs()
        assert len(scheduler.executor.submitted) == 2
        server.start()
        until(lambda: not store._deferred.waits and mirrored(store) == documents(store))
        store.shutdown()


# ---- threads and processes ----


def test_what_was_deferred_before_the_start_is_written_first(start, server, database):
    store = MongoDBJobStore(database.name, host=server.uri, mirror=True)
    store.add_job(job("a"))
    for due in store.get_due_jobs(at(10)):
        due.next_run_time = at(50)
        store.update_job(due)
    store.start(None, "default")
    assert store.get_due_jobs(at(10)) == []
    assert run_times(store) == {"a": at(50).timestamp()}
    store.shutdown()


def test_a_forked_process_writes_what_it_defers(start, monkeypatch):
    monkeypatch.setattr("jobstore.mongodb.deferred.FLUSH_SECONDS", 0.01)
    _, store = start()
    store.add_job(job("a"))
    agree(store)
    child = os.fork()
    if child == 0:
        warnings.simplefilter("ignore")  # PyMongo's, about clients and forks
        for due in store.get_due_jobs(at(10)):
            due._modify(next_run_time=at(50))
            store.update_job(due)
        with contextlib.suppress(AssertionError):
            until(lambda: not store._deferred.waits)
        os._exit(0)
    os.waitpid(child, 0)
    assert run_times(store) == {"a": at(50).timestamp()}


def test_how_long_the_oldest_waits_is_counted_from_when_it_was_deferred(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("jobstore.mongodb.deferred.time.monotonic", lambda: clock[0])

    def flush(writes, found, sent_before):
        writes.clear()
        deferred.add(write("late"), lambda each: each)

    deferred = Deferred(flush, 10)
    deferred.in_other_thread(lambda: None)
    deferred.add(write("early"), lambda each: each)
    clock[0] = 160.0
    deferred.flush()
    clock[0] = 161.0
    assert deferred.status() == (1, 1.0)


def test_a_thread_that_hangs_changes_nothing_after_a_new_start(start):
    scheduler, store = start()
    store.add_job(job("a", 5))
    agree(store)
    old = store._watcher
    store.shutdown()
    store.start(scheduler, "default")
    agree(store)
    old._mirror.apply({"operationType": "delete", "documentKey": {"_id": "a"}})
    old._failed(ValueError("late"))
    assert store._mirror.live
    assert names(store) == ["a"]
    assert store.lookup_job("a")


@contextmanager
def lost_before(store, name):
    """The mirror is lost after it was seen to be live, and before it is asked."""
    ask = getattr(type(store._mirror), name)

    def lost(mirror, *args):
        mirror.reset()
        return ask(mirror, *args)

    setattr(type(store._mirror), name, lost)
    try:
        yield
    finally:
        setattr(type(store._mirror), name, ask)


ASKED = {
    "find": lambda store: store.lookup_job("a").id == "a",
    "all": lambda store: [each.id for each in store.get_all_jobs()] == ["a"],
    "count": lambda store: len(store) == 1,
    "due": lambda store: [each.id for each in store.get_due_jobs(at(10))] == ["a"],
    "next_run_time": lambda store: store.get_next_run_time() == at(5),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_mirror_that_is_lost_just_when_it_is_asked_answers_nothing_wrong(start, name):
    _, store = start()
    store.add_job(job("a", 5))
    agree(store)
    with lost_before(store, name):
        assert ASKED[name](store)


def test_a_forked_process_never_asks_its_parents_mirror(start, stock):
    _, store = start()
    store.add_job(job("a", 5))
    agree(store)
    answer, question = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        warnings.simplefilter("ignore")  # PyMongo's, about clients and forks
        said = "an error"
        try:
            os.read(question[0], 1)
            due = store.get_due_jobs(at(100))
            said = f"{store._mirror.live} {due} {store.lookup_job('a')}"
        except PyMongoError as error:
            said = repr(error)
        os.write(answer[1], said.encode())
        os._exit(0)
    stock.remove_job("a")
    os.write(question[1], b"1")
    assert os.read(answer[0], 1000).decode() == "False [] None"
    os.waitpid(child, 0)
    for end in (*answer, *question):
        os.close(end)


def test_what_a_state_does_ends_no_thread(start, monkeypatch):
    """It is anybody's code, and may exit."""
    scheduler, store = start()
    exits = threading.Event()

    def exit_once(*_):
        if not exits.is_set():
            exits.set()
            raise SystemExit

    monkeypatch.setattr(store._quarantine, "put_back_in_time", exit_once)
    assert exits.wait(30)
    store.add_job(job("a"))
    scheduler._process_jobs()
    until(lambda: is_quiet(store))
    assert run_times(store) == {"a": at(YEARS).timestamp()}


def test_a_run_time_in_the_last_second_of_all_is_one(start):
    _, store = start()
    last = datetime(9999, 12, 31, 23, 59, 59, 500_000, tzinfo=timezone.utc)
    store.add_job(job("a", next_run_time=last))
    store.update_job(job("a", next_run_time=last))
    agree(store)
    assert store.get_next_run_time() == last
    assert store.lookup_job("a").next_run_time == last
    in_thread(store.remove_job, "a")
    agree(store)
