"""While a change stream is heard, a store in which nothing is due sends no command."""

import subprocess
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from math import inf

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from bson import Int64
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from jobstore import MongoDBJobStore
from jobstore.mongodb import cached, connection
from jobstore.mongodb.mirroring import change_stream
from jobstore.testing import mongod
from support.commands import Commands
from support.jobs import at, job
from support.mirrored_stores import regular, run
from support.programs import command, environment
from support.proxy import Proxy
from support.waiting import in_thread, until

MODES = {"queried": {}, "shared": {"shared": True}}


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a slow machine as well the stream keeps up, and answers are not too old."""
    monkeypatch.setattr(cached, "MAX_AGE_SECONDS", 1e6)
    monkeypatch.setattr(change_stream, "MAX_LAG_SECONDS", 60)


class Asked(Commands):
    """Lists the commands, except the change stream's."""

    def started(self, event):
        stream = "$changeStream" in str(event.command) or event.command_name == "getMore"
        if not stream:
            super().started(event)


@pytest.fixture
def open_store(server, database):
    """Starts stores on a scheduler that is paused: the test makes the calls of its cycles."""
    opened = []

    def open_store(uri=server.uri, **options):
        commands = Asked()
        client = MongoClient(uri, event_listeners=[commands])
        store = MongoDBJobStore(database.name, client=client, **options)
        store.commands = commands
        scheduler = BackgroundScheduler(timezone="UTC")
        scheduler.add_jobstore(store, "default")
        scheduler.start(paused=True)
        opened.append((scheduler, client))
        until(lambda: store._lifecycle.watcher.sees_all_changes)
        return store

    yield open_store
    for scheduler, client in opened:
        scheduler.shutdown()
        client.close()


def cycle(store, seconds):
    """The calls of a scheduler's cycle; the due ids, the time to wait for, and the commands."""
    before = len(store.commands.names)
    due = [each.id for each in store.get_due_jobs(at(seconds))]
    run_time = store.get_next_run_time()
    return due, run_time, store.commands.names[before:]


def settle(store, seconds):
    """Run cycles until one needs no command; its answers."""

    def acknowledged():
        *answers, commands = cycle(store, seconds)
        return None if commands else tuple(answers)

    return until(acknowledged)


@pytest.mark.parametrize("mode", MODES)
def test_a_cycle_in_which_nothing_is_due_sends_no_command(open_store, stock, mode):
    """At any time before the run time that the store has answered; at it the server is asked."""
    stock.add_job(job("a", 2e9))
    store = open_store(**MODES[mode])
    assert settle(store, 5) == ([], at(2e9))
    assert cycle(store, 2e9 - 1) == ([], at(2e9), [])
    assert store.get_next_run_time() == at(2e9)
    due, _, commands = cycle(store, 2e9)
    assert due == ["a"]
    assert commands


@pytest.mark.parametrize("mode", MODES)
def test_where_there_are_no_jobs_none_is_asked_for(open_store, mode):
    assert settle(open_store(**MODES[mode]), 5) == ([], None)


def test_without_a_change_stream_each_cycle_asks(open_store, stock, monkeypatch):
    stock.add_job(job("a", 2e9))
    store = open_store()
    settle(store, 5)
    monkeypatch.setattr(change_stream.Watcher, "sees_all_changes", False)
    assert cycle(store, 5) == ([], at(2e9), ["find", "find"])


@pytest.mark.parametrize("mode", MODES)
def test_what_this_store_writes_is_known_at_once(open_store, stock, mode, monkeypatch):
    """Before the stream has told of it."""
    stock.add_job(job("a", 2e9))
    stock.add_job(job("b", 2e9))
    store = open_store(**MODES[mode])
    settle(store, 5)
    monkeypatch.setattr(store._wakeups, "notify", lambda run_time: None)
    changes = [
        (lambda: store.add_job(job("c", 1)), ["c"]),
        (lambda: store.update_job(job("a", 1)), ["a"]),
        (lambda: store.add_jobs([job("d", 1), job("e", 1)]), ["d", "e"]),
        (lambda: store.update_jobs([job("b", 1)]), ["b"]),
        (lambda: in_thread(store.add_job, job("f", 1)), ["f"]),
    ]
    for change, expected in changes:
        change()
        assert [each.id for each in store.get_due_jobs(at(5))] == expected
        store.remove_jobs(expected)
        store.get_next_run_time()
        settle(store, 0)


def test_a_job_that_is_back_from_quarantine_is_known_at_once(open_store, stock, monkeypatch):
    stock.add_job(job("bad", 1, executor="gone"))
    store = open_store()
    store.get_due_jobs(at(5))
    assert [each.id for each in store.quarantined()] == ["bad"]
    settle(store, 5)
    monkeypatch.setattr(store._wakeups, "notify", lambda run_time: None)
    store._scheduler.add_executor("threadpool", "gone")
    assert store.restore_quarantined() == ["bad"]
    assert [each.id for each in store.get_due_jobs(at(5))] == ["bad"]


def test_a_write_between_the_two_calls_of_a_cycle_is_known(open_store, stock):
    stock.add_job(job("a", 2e9))
    store = open_store()
    settle(store, 5)
    store.get_due_jobs(at(5))
    store.add_job(job("b", 1e9))
    assert store.get_next_run_time() == at(1e9)
    until(lambda: store._wakeups.awaited == at(1e9).timestamp())


@pytest.mark.parametrize("mode", MODES)
def test_each_change_by_others_that_makes_a_job_earlier_is_heard(open_store, stock, mode):
    stock.add_job(job("far", 2e9))
    stock.add_job(job("paused", None))
    store = open_store(**MODES[mode])
    jobs = stock.collection
    changes = {
        "added": lambda: stock.add_job(job("added", 1)),
        "far": lambda: stock.update_job(job("far", 1)),
        "paused": lambda: stock.update_job(job("paused", 1)),
        "replaced": lambda: jobs.replace_one({"_id": "replaced"}, document, upsert=True),
    }
    stock.add_job(job("replaced", 1))
    document = jobs.find_one_and_delete({"_id": "replaced"})
    for name, change in changes.items():
        settle(store, 0)
        change()
        until(lambda name=name: name in [each.id for each in store.get_due_jobs(at(5))])
        jobs.delete_one({"_id": name})
        store.get_next_run_time()


def test_a_run_time_that_is_a_whole_number_is_heard(open_store, stock):
    """As another program may write it."""
    stock.add_job(job("a", 2e9))
    store = open_store()
    settle(store, 0)
    whole = Int64(at(1e9).timestamp())
    stock.collection.update_one({"_id": "a"}, {"$set": {"next_run_time": whole}})
    until(lambda: store._wakeups.awaited == whole)


def test_what_is_no_time_of_a_job_does_no_harm(open_store, stock, caplog):
    store = open_store()
    for value in (1e300, -1e300):
        settle(store, 5)
        stock.collection.insert_one({"_id": str(value), "next_run_time": value, "job_state": b""})
        until(lambda value=value: store._wakeups.awaited in (value, -inf))  # past, it is -inf soon
        assert cycle(store, 5)[:2] == ([], None)
    assert "Unable to reach" not in caplog.text


def test_a_change_while_the_server_is_asked_is_heard(open_store, stock, monkeypatch):
    """It comes after the answer was made, and is told before it is there."""
    store = open_store()
    ask = store._reader.next_run_time

    def asking(*args):
        answer = ask(*args)
        monkeypatch.setattr(store._reader, "next_run_time", ask)
        stock.add_job(job("a", 1))
        until(lambda: at(1).timestamp() in store._wakeups._in_cycle.values())
        return answer

    store.get_due_jobs(at(5))
    monkeypatch.setattr(store._reader, "next_run_time", asking)
    assert store.get_next_run_time() is None
    assert [each.id for each in store.get_due_jobs(at(5))] == ["a"]


def test_while_the_stream_lags_the_server_is_asked(
    database, stock, server, open_store, monkeypatch
):
    with Proxy(server.nodes[0].port) as way:
        store = open_store(way.uri)
        stock.add_job(job("far", 2e9))
        settle(store, 5)
        monkeypatch.setattr(change_stream, "MAX_LAG_SECONDS", 1.0)
        way.fail("getMore", "hang", 10**9)
        until(lambda: way.fault_count and store.status().lag > 1)
        stock.add_job(job("a", 1))
        assert cycle(store, 5)[0] == ["a"]
        assert len(cycle(store, 5)[2]) > 1
        way.release()


def test_while_the_stream_is_lost_the_server_is_asked(database, stock, server, open_store):
    with Proxy(server.nodes[0].port) as way:
        store = open_store(way.uri)
        stock.add_job(job("far", 2e9))
        settle(store, 5)
        way.fail("aggregate", "close", 10**9)
        way.fail("getMore", "close", 10**9)
        until(lambda: not store._lifecycle.watcher.sees_all_changes)
        stock.add_job(job("a", 1))
        assert cycle(store, 5)[0] == ["a"]
        stock.remove_job("a")
        way.release()
        assert settle(store, 5) == ([], at(2e9))


def test_what_others_changed_while_there_was_no_stream_is_known_with_the_next(
    stock, server, open_store, monkeypatch
):
    monkeypatch.setattr(change_stream, "PAUSE_SECONDS", 0.01)
    with Proxy(server.nodes[0].port) as way:
        store = open_store(way.uri)
        stock.add_job(job("far", 2e9))
        settle(store, 5)
        way.fail("aggregate", "close", 10**9)
        way.fail("getMore", "close", 10**9)
        until(lambda: not store._lifecycle.watcher.sees_all_changes)
        stock.add_job(job("a", 1))
        way.release()
        until(lambda: store._lifecycle.watcher.sees_all_changes)
        assert [each.id for each in store.get_due_jobs(at(5))] == ["a"]


def test_where_the_collection_is_dropped_and_filled_again_all_is_found(open_store, stock, database):
    store = open_store()
    stock.add_job(job("far", 2e9))
    settle(store, 5)
    database["jobs"].drop()
    stock.add_job(job("a", 1))
    until(lambda: [each.id for each in store.get_due_jobs(at(5))] == ["a"])


def test_after_a_question_that_failed_the_next_cycle_asks(server, open_store, stock, monkeypatch):
    """Though the run time that was answered before is not yet here."""
    with Proxy(server.nodes[0].port) as way:
        store = open_store(way.uri)
        stock.add_job(job("a", 100))
        settle(store, 5)
        with failing(way, monkeypatch), pytest.raises(PyMongoError):
            store.get_due_jobs(at(100))
        assert [each.id for each in store.get_due_jobs(at(100))] == ["a"]
        with failing(way, monkeypatch):
            assert store.get_next_run_time() > at(2e8), "the time of the next try"
        assert [each.id for each in store.get_due_jobs(at(100))] == ["a"]


@contextmanager
def failing(way, monkeypatch):
    """Let the server's answer to a question be missing, for a short time."""
    with monkeypatch.context() as patch:
        patch.setattr(connection, "COMMAND_SECONDS", 0.2)
        way.fail("find", "close", 10**9)
        yield
    way.release()


def test_what_could_not_be_written_is_tried_again(server, open_store, stock):
    with Proxy(server.nodes[0].port) as way:
        store = open_store(way.uri)
        stock.add_job(job("a", 1))
        until(lambda: "a" in [each.id for each in store.get_due_jobs(at(5))])
        way.fail("update", "close", 10**9)
        for each in store.get_due_jobs(at(5)):
            each._modify(next_run_time=at(2e9))
            store.update_job(each)
        store.get_next_run_time()
        assert store.status().pending == 1
        way.release()
        assert store.get_due_jobs(at(5)) == []
        assert store.status().pending == 0


def test_an_answer_is_kept_for_a_while_only(open_store, stock, monkeypatch):
    """Changes that no stream tells, as writes lost in a fail-over, are seen then."""
    stock.add_job(job("a", 2e9))
    store = open_store()
    settle(store, 5)
    monkeypatch.setattr(cached, "MAX_AGE_SECONDS", 0)
    assert cycle(store, 5)[2] == ["find", "find"]


@pytest.mark.parametrize("mode", MODES)
def test_beside_a_busy_store_jobs_of_other_processes_fire_and_an_idle_store_sends_nothing(
    server, database, mode
):
    """The scheduler's cycles are those of the busy store; the idle one's stream keeps it right."""
    commands = Asked()
    with MongoClient(server.uri, event_listeners=[commands]) as client:
        idle = MongoDBJobStore(database.name, client=client, **MODES[mode])
        busy = MongoDBJobStore(database.name, "busy", host=server.uri)
        scheduler = run(busy)
        scheduler.add_jobstore(idle, "idle")
        scheduler.add_job(print, "interval", hours=10, id="far", jobstore="idle")
        busy.add_job(regular("often", 0.02))
        scheduler.wakeup()
        runs = scheduler.executor.times
        until(lambda: idle._lifecycle.watcher.sees_all_changes)
        until(lambda: is_silent(commands, runs))
        subprocess.run(
            command("add_jobs", server.uri, database.name),
            env=environment(),
            check=True,
            timeout=60,
        )
        until(lambda: {str(number) for number in range(20)} <= runs.keys())
        until(lambda: is_silent(commands, runs))
        scheduler.shutdown()


def is_silent(commands, runs):
    """Whether nothing was sent in twenty runs of the busy store's job."""
    sent, ran = len(commands.names), len(runs["often"])
    until(lambda: len(runs["often"]) >= ran + 20)
    return len(commands.names) == sent


def test_on_a_standalone_server_each_cycle_asks(database):
    with mongod(standalone=True) as server:
        commands = Asked()
        with MongoClient(server.uri, event_listeners=[commands]) as client:
            store = MongoDBJobStore(database.name, client=client)
            store.commands = commands
            scheduler = BackgroundScheduler(timezone="UTC")
            scheduler.add_jobstore(store, "default")
            scheduler.start(paused=True)
            until(lambda: store.status().lag is not None)
            commands.names.clear()
            for _ in range(3):
                store.get_due_jobs(at(5))
                store.get_next_run_time()
            assert commands.names.count("find") >= 6
            scheduler.shutdown()


def test_a_job_of_the_same_scheduler_fires_at_its_time(server, database):
    """Each run time is one that the store has answered before."""
    store = MongoDBJobStore(database.name, host=server.uri)
    scheduler = run(store)
    scheduler.add_jobstore("memory", "memory")
    scheduler.add_job(print, "interval", seconds=0.01, jobstore="memory", id="often")
    job = regular("a", 0.2)
    store.add_job(job)
    scheduler.wakeup()
    runs = scheduler.executor.times["a"]
    until(lambda: len(runs) >= 10)
    scheduler.shutdown()
    steps = [later - earlier for earlier, later in pairwise(runs)]
    assert set(steps) == {timedelta(seconds=0.2)}
