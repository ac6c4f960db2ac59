"""While its change stream is open, a store without due jobs sends no command in a cycle."""

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
    """Lift the time limits, so that a slow machine's stream doesn't lag and no answer expires."""
    monkeypatch.setattr(cached, "MAX_AGE_SECONDS", 1e6)
    monkeypatch.setattr(change_stream, "MAX_LAG_SECONDS", 60)


class JobCommands(Commands):
    """Lists the commands except those of the change stream."""

    def started(self, event):
        is_stream = "$changeStream" in str(event.command) or event.command_name == "getMore"
        if not is_stream:
            super().started(event)


@pytest.fixture
def open_store(server, database):
    """Return a function that starts a store. Its scheduler is paused: the test makes its calls."""
    opened = []

    def open_store(uri=server.uri, **options):
        commands = JobCommands()
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
    """Make the calls of a cycle. Return the due ids, the next run time, and the commands."""
    before = len(store.commands.names)
    due = [each.id for each in store.get_due_jobs(at(seconds))]
    run_time = store.get_next_run_time()
    return due, run_time, store.commands.names[before:]


def settle(store, seconds):
    """Run cycles until one needs no command, and return its due ids and next run time."""

    def answers_without_commands():
        *answers, commands = cycle(store, seconds)
        return None if commands else tuple(answers)

    return until(answers_without_commands)


@pytest.mark.parametrize("mode", MODES)
def test_cycle_without_a_due_job_sends_no_command(open_store, stock, mode):
    """At the next run time the store asks the server again."""
    stock.add_job(job("a", 2e9))
    store = open_store(**MODES[mode])
    assert settle(store, 5) == ([], at(2e9))
    assert cycle(store, 2e9 - 1) == ([], at(2e9), [])
    assert store.get_next_run_time() == at(2e9)
    due, _, commands = cycle(store, 2e9)
    assert due == ["a"]
    assert commands


@pytest.mark.parametrize("mode", MODES)
def test_cycle_of_an_empty_store_sends_no_command(open_store, mode):
    assert settle(open_store(**MODES[mode]), 5) == ([], None)


def test_each_cycle_asks_the_server_without_a_change_stream(open_store, stock, monkeypatch):
    stock.add_job(job("a", 2e9))
    store = open_store()
    settle(store, 5)
    monkeypatch.setattr(change_stream.Watcher, "sees_all_changes", False)
    assert cycle(store, 5) == ([], at(2e9), ["find", "find"])


@pytest.mark.parametrize("mode", MODES)
def test_own_writes_are_seen_at_once(open_store, stock, mode, monkeypatch):
    """The store sees its write before the change stream shows it."""
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


def test_job_restored_from_quarantine_is_seen_at_once(open_store, stock, monkeypatch):
    stock.add_job(job("bad", 1, executor="gone"))
    store = open_store()
    store.get_due_jobs(at(5))
    assert [each.id for each in store.quarantined()] == ["bad"]
    settle(store, 5)
    monkeypatch.setattr(store._wakeups, "notify", lambda run_time: None)
    store._scheduler.add_executor("threadpool", "gone")
    assert store.restore_quarantined() == ["bad"]
    assert [each.id for each in store.get_due_jobs(at(5))] == ["bad"]


def test_write_between_the_two_calls_of_a_cycle_is_seen(open_store, stock):
    stock.add_job(job("a", 2e9))
    store = open_store()
    settle(store, 5)
    store.get_due_jobs(at(5))
    store.add_job(job("b", 1e9))
    assert store.get_next_run_time() == at(1e9)
    until(lambda: store._wakeups.awaited == at(1e9).timestamp())


@pytest.mark.parametrize("mode", MODES)
def test_change_by_another_process_that_makes_a_job_earlier_is_seen(open_store, stock, mode):
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


def test_integer_run_time_is_seen(open_store, stock):
    """Another program may write a run time as an integer."""
    stock.add_job(job("a", 2e9))
    store = open_store()
    settle(store, 0)
    whole = Int64(at(1e9).timestamp())
    stock.collection.update_one({"_id": "a"}, {"$set": {"next_run_time": whole}})
    until(lambda: store._wakeups.awaited == whole)


def test_impossible_run_time_does_no_harm(open_store, stock, caplog):
    store = open_store()
    for value in (1e300, -1e300):
        settle(store, 5)
        stock.collection.insert_one({"_id": str(value), "next_run_time": value, "job_state": b""})
        # A value in the past soon becomes -inf.
        until(lambda value=value: store._wakeups.awaited in (value, -inf))
        assert cycle(store, 5)[:2] == ([], None)
    assert "Unable to reach" not in caplog.text


def test_change_during_a_query_is_seen(open_store, stock, monkeypatch):
    """The change comes after the server has answered, before the store has the answer."""
    store = open_store()
    query = store._reader.next_run_time

    def change_after_query(*args):
        answer = query(*args)
        monkeypatch.setattr(store._reader, "next_run_time", query)
        stock.add_job(job("a", 1))
        until(lambda: at(1).timestamp() in store._wakeups._in_cycle.values())
        return answer

    store.get_due_jobs(at(5))
    monkeypatch.setattr(store._reader, "next_run_time", change_after_query)
    assert store.get_next_run_time() is None
    assert [each.id for each in store.get_due_jobs(at(5))] == ["a"]


def test_cycle_asks_the_server_while_the_stream_lags(
    database, stock, server, open_store, monkeypatch
):
    with Proxy(server.nodes[0].port) as proxy:
        store = open_store(proxy.uri)
        stock.add_job(job("far", 2e9))
        settle(store, 5)
        monkeypatch.setattr(change_stream, "MAX_LAG_SECONDS", 1.0)
        proxy.fail("getMore", "hang", 10**9)
        until(lambda: proxy.fault_count and store.status().lag > 1)
        stock.add_job(job("a", 1))
        assert cycle(store, 5)[0] == ["a"]
        assert len(cycle(store, 5)[2]) > 1
        proxy.release()


def test_cycle_asks_the_server_while_the_stream_is_lost(database, stock, server, open_store):
    with Proxy(server.nodes[0].port) as proxy:
        store = open_store(proxy.uri)
        stock.add_job(job("far", 2e9))
        settle(store, 5)
        proxy.fail("aggregate", "close", 10**9)
        proxy.fail("getMore", "close", 10**9)
        until(lambda: not store._lifecycle.watcher.sees_all_changes)
        stock.add_job(job("a", 1))
        assert cycle(store, 5)[0] == ["a"]
        stock.remove_job("a")
        proxy.release()
        assert settle(store, 5) == ([], at(2e9))


def test_change_without_a_stream_is_seen_once_the_next_stream_is_open(
    stock, server, open_store, monkeypatch
):
    monkeypatch.setattr(change_stream, "PAUSE_SECONDS", 0.01)
    with Proxy(server.nodes[0].port) as proxy:
        store = open_store(proxy.uri)
        stock.add_job(job("far", 2e9))
        settle(store, 5)
        proxy.fail("aggregate", "close", 10**9)
        proxy.fail("getMore", "close", 10**9)
        until(lambda: not store._lifecycle.watcher.sees_all_changes)
        stock.add_job(job("a", 1))
        proxy.release()
        until(lambda: store._lifecycle.watcher.sees_all_changes)
        assert [each.id for each in store.get_due_jobs(at(5))] == ["a"]


def test_job_is_found_after_the_collection_is_dropped_and_filled_again(open_store, stock, database):
    store = open_store()
    stock.add_job(job("far", 2e9))
    settle(store, 5)
    database["jobs"].drop()
    stock.add_job(job("a", 1))
    until(lambda: [each.id for each in store.get_due_jobs(at(5))] == ["a"])


def test_next_cycle_asks_the_server_after_a_failed_query(server, open_store, stock, monkeypatch):
    """The cycle asks although the earlier answer still lies in the future."""
    with Proxy(server.nodes[0].port) as proxy:
        store = open_store(proxy.uri)
        stock.add_job(job("a", 100))
        settle(store, 5)
        with failing(proxy, monkeypatch), pytest.raises(PyMongoError):
            store.get_due_jobs(at(100))
        assert [each.id for each in store.get_due_jobs(at(100))] == ["a"]
        with failing(proxy, monkeypatch):
            assert store.get_next_run_time() > at(2e8), "the time of the next try"
        assert [each.id for each in store.get_due_jobs(at(100))] == ["a"]


@contextmanager
def failing(proxy, monkeypatch):
    """Let each `find` fail, and fail quickly, within the block."""
    with monkeypatch.context() as patch:
        patch.setattr(connection, "COMMAND_SECONDS", 0.2)
        proxy.fail("find", "close", 10**9)
        yield
    proxy.release()


def test_failed_write_is_retried_by_the_next_cycle(server, open_store, stock):
    with Proxy(server.nodes[0].port) as proxy:
        store = open_store(proxy.uri)
        stock.add_job(job("a", 1))
        until(lambda: "a" in [each.id for each in store.get_due_jobs(at(5))])
        proxy.fail("update", "close", 10**9)
        for each in store.get_due_jobs(at(5)):
            each._modify(next_run_time=at(2e9))
            store.update_job(each)
        store.get_next_run_time()
        assert store.status().pending == 1
        proxy.release()
        assert store.get_due_jobs(at(5)) == []
        assert store.status().pending == 0


def test_answer_expires_after_a_while(open_store, stock, monkeypatch):
    """So the store sees changes that no stream shows, such as writes lost in a failover."""
    stock.add_job(job("a", 2e9))
    store = open_store()
    settle(store, 5)
    monkeypatch.setattr(cached, "MAX_AGE_SECONDS", 0)
    assert cycle(store, 5)[2] == ["find", "find"]


@pytest.mark.parametrize("mode", MODES)
def test_idle_store_beside_a_busy_one_sends_nothing_and_fires_jobs_of_other_processes(
    server, database, mode
):
    """The busy store causes the cycles. The change stream keeps the idle store up to date."""
    commands = JobCommands()
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
    """Return whether the store sends no command during twenty runs of the busy store's job."""
    sent, ran = len(commands.names), len(runs["often"])
    until(lambda: len(runs["often"]) >= ran + 20)
    return len(commands.names) == sent


def test_each_cycle_asks_a_standalone_server(database):
    with mongod(standalone=True) as server:
        commands = JobCommands()
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


def test_job_fires_on_time_beside_a_busy_memory_store(server, database):
    """At each run time, the store's last answer has just become due."""
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
