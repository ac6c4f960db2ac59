"""A mirrored store loses its change stream, or has none."""

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


# ---- loss of the stream ----


def test_run_is_written_when_the_stream_is_lost_at_its_update(store):
    by_hand(store)
    store.add_jobs([job("a")])
    wait_until_equal(store)
    short = store._locks.memory_lock

    class LostOnEntry:
        def __enter__(self):
            store._locks.memory_lock = short
            store._reader.mirror.reset()
            short.acquire()

        def __exit__(self, *error):
            short.release()

    loop = iter(store.get_due_jobs(at(10)))
    due = next(loop)
    due._modify(next_run_time=at(50))
    store._locks.memory_lock = LostOnEntry()
    store.update_job(due)
    store._write_behind.flush()
    assert run_times(store) == {"a": at(50).timestamp()}


def test_stream_with_a_killed_cursor_is_resumed_without_loss(store, stock, session_client):
    store.start(None, "default")
    for number in range(20):
        session_client.admin.command("killAllSessions", [])
        stock.add_job(job(f"{number}", number))
    until(lambda: len(store) == 20)
    wait_until_equal(store)


@pytest.mark.parametrize("operation", ["drop", "rename", "drop_database"])
def test_mirror_is_loaded_again_after_the_collection_is_dropped_or_renamed(
    store, stock, database, operation
):
    scheduler = by_hand(store)
    store.add_jobs([job("a", 5), job("b", 6)])
    until(lambda: len(store) == 2)
    if operation == "drop":
        database["jobs"].drop()
    elif operation == "rename":
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


def test_drop_is_handled_once_when_no_write_follows(store, database, monkeypatch):
    """A new stream would begin at the last operation, which is the drop."""
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
def test_mirror_is_loaded_again_when_the_resume_token_is_too_old(database):
    """The oplog of 64 MB is overwritten while the stream can't be resumed."""
    frequent = ("--syncdelay", "1")  # seconds between checkpoints, which truncate the oplog
    with ExitStack() as stack:
        server = stack.enter_context(mongod(options=frequent))
        client = stack.enter_context(MongoClient(server.uri))
        proxy = stack.enter_context(Proxy(server.nodes[0].port))
        store = MongoDBJobStore(database.name, host=proxy.uri, mirror=True)
        scheduler = by_hand(store)
        store.add_job(job("a", 5))
        proxy.fail("aggregate", "close", 10**9)
        proxy.fail("getMore", "close", 10**9)
        until(lambda: not store.status().connected)
        client[database.name]["jobs"].delete_one({"_id": "a"})
        oplog = client["local"]["oplog.rs"]
        oldest = oplog.find_one(sort=[("$natural", 1)])["ts"]
        other = client["other"]["other"]
        while oplog.find_one(sort=[("$natural", 1)])["ts"] == oldest:
            other.insert_many([{"data": b"x" * 8_000_000} for _ in range(4)])
            other.delete_many({})
        assert store.lookup_job("a"), "the mirror answers during the outage"
        proxy.release()
        until(lambda: not store._reader.is_live or store.lookup_job("a") is None)
        wait_until_live(store)
        assert store.get_all_jobs() == []
        assert scheduler._process_jobs() is None
        store.shutdown()


def test_stream_reaches_the_time_of_a_transaction_after_its_last_event(
    store, session_client, database
):
    """All events of a transaction have the same time."""
    by_hand(store)
    store.add_jobs([job(f"{number}", 5) for number in range(20)])
    wait_until_equal(store)
    calls, (apply, stream_reached) = (
        [],
        (store._reader.mirror.apply, store._reader.mirror.stream_reached),
    )
    store._reader.mirror.apply = lambda event: (calls.append(event), apply(event))[1]
    store._reader.mirror.stream_reached = lambda time: (calls.append(time), stream_reached(time))[1]
    with session_client.start_session() as session, session.start_transaction():
        many = {"$set": {"next_run_time": at(9).timestamp()}}
        database["jobs"].update_many({}, many, session=session)
    wait_until_equal(store)
    events = [each for each in calls if not isinstance(each, int)]
    assert len(events) == 20
    (time,) = {token_time(event["_id"]) for event in events}
    until(lambda: time in calls)
    before_last = calls[: calls.index(events[-1])]
    assert max(each for each in before_last if isinstance(each, int)) < time


# ---- without a stream ----


@pytest.fixture(scope="module")
def standalone():
    with mongod(standalone=True) as server:
        yield server


def test_standalone_server_is_refused(standalone, database):
    before = own_threads()
    store = MongoDBJobStore(database.name, host=standalone.uri, mirror=True)
    with pytest.raises(ValueError, match=r'replica set .* mirror="exclusive"'):
        store.start(None, "default")
    assert {*own_threads()} <= {*before}
    store.shutdown()


def test_exclusive_mirror_needs_no_stream(standalone, database, session_client):
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
    """A store with one due job, and one job in quarantine that can be restored."""
    store = MongoDBJobStore(database.name, host=standalone.uri, mirror="exclusive")
    scheduler = by_hand(store)
    store.add_job(job("bad", executor="gone"))
    scheduler._process_jobs()
    until(lambda: is_quiet(store) and store.quarantined())
    scheduler.add_executor(scheduler.executor, "gone")
    store.add_job(job("a"))
    yield store
    store.shutdown()


def test_reloaded_mirror_has_the_writes_of_a_cycle_during_the_reload(exclusive, monkeypatch):
    """No change stream would correct an exclusive mirror."""
    store, being_read, deferred = exclusive, threading.Event(), threading.Event()
    loaded, advance = store._reader.mirror.loaded, type(store._cycles.current).advance

    def read(time):
        being_read.set()
        assert deferred.wait(60)
        loaded(time)

    def advance_late(*args):
        """Start the reload after `update_job` has found the mirror live."""
        assert store.restore_quarantined() == ["bad"]
        assert being_read.wait(60)
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


def test_exclusive_mirror_that_lacks_a_write_is_filled_before_it_goes_live(exclusive):
    """No stream tells it of the write, so it would hand out a job that is in quarantine."""
    reader = exclusive._reader
    with exclusive._locks.io_lock:  # before the store's thread fills the mirror
        assert exclusive.restore_quarantined() == ["bad"]
        reader.mirror.live = False
        reader.go_live()
        assert not reader.is_live
        reader.do_chores()
        assert reader.is_live
        assert mirrored(exclusive) == documents(exclusive)


def test_failed_reload_of_an_exclusive_mirror_is_retried(exclusive, monkeypatch):
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
def test_exclusive_mirror_is_reloaded_after_a_write_without_a_reply(
    standalone, database, command, change
):
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


def test_exclusive_mirror_shows_a_change_by_others_that_won_a_conflict(exclusive):
    store = exclusive
    theirs = {"$set": {"next_run_time": at(70).timestamp()}}
    for due in store.get_due_jobs(at(10)):
        store.collection.update_one({"_id": "a"}, theirs)
        due._modify(next_run_time=at(50))
        store.update_job(due)
    until(lambda: is_quiet(store) and store.get_next_run_time() == at(70))


@pytest.mark.parametrize("arguments", [{"mirror": "yes"}, {"watch": 0.0}, {"watch": "often"}])
def test_invalid_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=repr(next(iter(arguments.values())))):
        MongoDBJobStore(**arguments)
