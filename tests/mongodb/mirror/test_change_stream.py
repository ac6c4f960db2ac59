"""The mirrored store where its change stream is lost, and where there is none."""

import threading
from contextlib import ExitStack

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from jobstore import MongoDBJobStore
from jobstore.mongodb.mirroring import change_stream
from jobstore.mongodb.mirroring import mirrored as mirrored_module
from jobstore.mongodb.mirroring.change_stream import token_time
from jobstore.testing import mongod
from support.jobs import YEARS, at, job, names, run_times
from support.manual_scheduler import by_hand
from support.mirrored_stores import (
    documents,
    is_quiet,
    mirrored,
    own_threads,
    wait_until_equal,
    wait_until_live,
)
from support.proxy import Proxy
from support.waiting import until


@pytest.fixture
def store(server, database):
    """A mirrored store, not yet started, on an empty collection."""
    store = MongoDBJobStore(database.name, host=server.uri, mirror=True)
    yield store
    store.shutdown()


# ---- the stream is lost ----


def test_a_stream_that_is_lost_just_when_a_run_is_noted_loses_no_note(store):
    by_hand(store)
    store.add_jobs([job("a")])
    wait_until_equal(store)
    short = store._locks.memory_lock

    class LostMeanwhile:
        def __enter__(self):
            store._locks.memory_lock = short
            store._reader.mirror.reset()
            short.acquire()

        def __exit__(self, *error):
            short.release()

    loop = iter(store.get_due_jobs(at(10)))
    due = next(loop)
    due._modify(next_run_time=at(50))
    store._locks.memory_lock = LostMeanwhile()
    store.update_job(due)
    store._write_behind.flush()
    assert run_times(store) == {"a": at(50).timestamp()}


def test_a_cursor_that_is_killed_is_resumed_and_nothing_missed(store, stock, session_client):
    store.start(None, "default")
    for number in range(20):
        session_client.admin.command("killAllSessions", [])
        stock.add_job(job(f"{number}", number))
    until(lambda: len(store) == 20)
    wait_until_equal(store)


@pytest.mark.parametrize("what", ["drop", "rename", "drop_database"])
def test_where_the_collection_goes_the_mirror_is_filled_anew(store, stock, database, what):
    scheduler = by_hand(store)
    store.add_jobs([job("a", 5), job("b", 6)])
    until(lambda: len(store) == 2)
    if what == "drop":
        database["jobs"].drop()
    elif what == "rename":
        database["jobs"].rename("old")
    else:
        database.client.drop_database(database.name)
    until(lambda: not store._reader.is_live)
    stock.add_job(job("c"))
    assert [each.id for each in store.get_all_jobs()] == ["c"], "answers come from the server"
    scheduler._process_jobs()
    wait_until_live(store)
    wait_until_equal(store)
    assert names(store) == ["c"]
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["c"]
    stock.add_job(job("d", 3))
    until(lambda: store.lookup_job("d"))


def test_a_drop_that_nothing_follows_is_told_once(store, database, monkeypatch):
    """A new stream begins at the last thing that has happened, and that is the drop."""
    monkeypatch.setattr(change_stream, "PAUSE_SECONDS", 0.01)
    by_hand(store)
    store.add_job(job("a", 5))
    wait_until_equal(store)
    failed, asked = [], []
    fail, now = store._lifecycle.watcher._handle_error, store._connection.now
    store._lifecycle.watcher._handle_error = lambda error: (failed.append(error), fail(error))
    store._connection.now = lambda *args: (asked.append(1), now(*args))[1]
    database["jobs"].drop()
    until(lambda: len(asked) > 5)
    assert len(failed) == 1


@pytest.mark.slow
def test_a_resume_token_that_is_too_old_costs_a_new_start(database):
    """The oplog of 64 MB is written over while the stream can't be resumed."""
    often = ("--syncdelay", "1")  # seconds: the oplog is cut off at checkpoints
    with ExitStack() as stack:
        server = stack.enter_context(mongod(options=often))
        client = stack.enter_context(MongoClient(server.uri))
        way = stack.enter_context(Proxy(server.nodes[0].port))
        store = MongoDBJobStore(database.name, host=way.uri, mirror=True)
        scheduler = by_hand(store)
        store.add_job(job("a", 5))
        way.fail("aggregate", "close", 10**9)
        way.fail("getMore", "close", 10**9)
        until(lambda: not store.status().connected)
        client[database.name]["jobs"].delete_one({"_id": "a"})
        oplog = client["local"]["oplog.rs"]
        oldest = oplog.find_one(sort=[("$natural", 1)])["ts"]
        other = client["other"]["other"]
        while oplog.find_one(sort=[("$natural", 1)])["ts"] == oldest:
            other.insert_many([{"data": b"x" * 8_000_000} for _ in range(4)])
            other.delete_many({})
        assert store.lookup_job("a"), "meanwhile the mirror answers"
        way.release()
        until(lambda: not store._reader.is_live or store.lookup_job("a") is None)
        wait_until_live(store)
        assert store.get_all_jobs() == []
        assert scheduler._process_jobs() is None
        store.shutdown()


def test_a_transaction_is_told_when_all_of_it_is(store, session_client, database):
    """Its changes have one time; the stream has not come to it before the last of them."""
    by_hand(store)
    store.add_jobs([job(f"{number}", 5) for number in range(20)])
    wait_until_equal(store)
    told, (apply, passed) = [], (store._reader.mirror.apply, store._reader.mirror.stream_reached)
    store._reader.mirror.apply = lambda event: (told.append(event), apply(event))[1]
    store._reader.mirror.stream_reached = lambda time: (told.append(time), passed(time))[1]
    with session_client.start_session() as session, session.start_transaction():
        many = {"$set": {"next_run_time": at(9).timestamp()}}
        database["jobs"].update_many({}, many, session=session)
    wait_until_equal(store)
    events = [each for each in told if not isinstance(each, int)]
    assert len(events) == 20
    (time,) = {token_time(event["_id"]) for event in events}
    until(lambda: time in told)
    before_last = told[: told.index(events[-1])]
    assert max(each for each in before_last if isinstance(each, int)) < time


# ---- without a stream ----


@pytest.fixture(scope="module")
def standalone():
    with mongod(standalone=True) as server:
        yield server


def test_a_standalone_server_is_refused(standalone, database):
    store = MongoDBJobStore(database.name, host=standalone.uri, mirror=True)
    with pytest.raises(ValueError, match=r'replica set .* mirror="exclusive"'):
        store.start(None, "default")
    assert not own_threads()
    store.shutdown()


def test_exclusive_needs_no_stream(standalone, database, session_client):
    store = MongoDBJobStore(database.name, host=standalone.uri, mirror="exclusive")
    store.add_jobs([job("early"), job("bad", executor="gone"), job("ends", every=None)])
    scheduler = by_hand(store)
    store.add_job(job("late", 5))
    assert store._reader.is_live
    scheduler._process_jobs()
    assert [name for name, _ in scheduler.executor.submitted] == ["early", "ends", "late"]
    store.remove_job("late")
    until(lambda: is_quiet(store))
    expected = {"bad": None, "early": at(YEARS).timestamp()}
    assert run_times(store) == expected
    assert {each.id for each in store.get_all_jobs()} == {"bad", "early"}
    assert store.restore_quarantined() == []
    scheduler.add_executor(scheduler.executor, "gone")
    assert store.restore_quarantined() == ["bad"]
    until(lambda: store._reader.mirror.caught_up(0) and scheduler._process_jobs() is not None)
    until(lambda: len(scheduler.executor.submitted) == 4 or not scheduler._process_jobs())
    store.shutdown()


@pytest.fixture
def exclusive(standalone, database):
    """A store with a due job, and one in quarantine that can be put back."""
    store = MongoDBJobStore(database.name, host=standalone.uri, mirror="exclusive")
    scheduler = by_hand(store)
    store.add_job(job("bad", executor="gone"))
    scheduler._process_jobs()
    until(lambda: is_quiet(store) and store.quarantined())
    scheduler.add_executor(scheduler.executor, "gone")
    store.add_job(job("a"))
    yield store
    store.shutdown()


def test_what_a_cycle_writes_while_the_mirror_is_read_again_is_read_as_well(exclusive, monkeypatch):
    """Of a mirror that nothing else corrects."""
    store, being_read, deferred = exclusive, threading.Event(), threading.Event()
    loaded, advance = store._reader.mirror.loaded, type(store._cycles.current).advance

    def read(time):
        being_read.set()
        assert deferred.wait(10)
        loaded(time)

    def advance_late(*args):
        """So that `update_job` has found the mirror live."""
        assert store.restore_quarantined() == ["bad"]
        assert being_read.wait(10)
        return advance(*args)

    monkeypatch.setattr(store._reader.mirror, "loaded", read)
    monkeypatch.setattr(type(store._cycles.current), "advance", advance_late)
    for due in store.get_due_jobs(at(10)):
        due._modify(next_run_time=at(50))
        store.update_job(due)
    deferred.set()
    assert [each.id for each in store.get_due_jobs(at(10))] == ["bad"]
    wait_until_equal(store)
    assert run_times(store) == {"a": at(50).timestamp(), "bad": at(0).timestamp()}


def test_a_mirror_that_can_not_be_read_again_is_tried_again(exclusive, monkeypatch):
    store, load, failures = (
        exclusive,
        mirrored_module.load,
        [PyMongoError("planned"), PyMongoError("again")],
    )

    def fail(*args):
        if failures:
            raise failures.pop()
        return load(*args)

    monkeypatch.setattr(mirrored_module, "load", fail)
    store.restore_quarantined()
    until(lambda: not failures and mirrored(store) == documents(store))
    assert [each.id for each in store.get_due_jobs(at(10))] == ["a", "bad"]
    assert store._reader.is_live


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("insert", lambda store: store.add_job(job("new"))),
        ("insert", lambda store: store.add_jobs([job("new")])),
        ("update", lambda store: store.update_job(job("a", 70))),
        ("delete", lambda store: store.remove_job("a")),
        ("delete", lambda store: store.remove_all_jobs()),
    ],
)
def test_what_was_written_without_a_reply_is_read_again(standalone, database, command, change):
    with Proxy(standalone.nodes[0].port) as proxy:
        store = MongoDBJobStore(database.name, host=proxy.uri, mirror="exclusive")
        by_hand(store)
        store.add_job(job("a"))
        proxy.fail(command, "lose", 2)
        with pytest.raises(PyMongoError):
            change(store)
        assert mirrored(store) != documents(store)
        until(lambda: mirrored(store) == documents(store))
        store.shutdown()


def test_the_mirror_follows_what_others_wrote_after_all(exclusive):
    store = exclusive
    theirs = {"$set": {"next_run_time": at(70).timestamp()}}
    for due in store.get_due_jobs(at(10)):
        store.collection.update_one({"_id": "a"}, theirs)
        due._modify(next_run_time=at(50))
        store.update_job(due)
    until(lambda: is_quiet(store) and store.get_next_run_time() == at(70))


@pytest.mark.parametrize("arguments", [{"mirror": "yes"}, {"watch": 0.0}, {"watch": "often"}])
def test_arguments_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ValueError, match=repr(next(iter(arguments.values())))):
        MongoDBJobStore(**arguments)
