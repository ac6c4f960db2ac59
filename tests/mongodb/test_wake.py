"""Wake-ups: a job that another process adds, or makes earlier, fires on time."""

import asyncio
import logging
import statistics
import subprocess
import threading
from datetime import datetime, timedelta, timezone
from functools import partial
from math import inf
from pathlib import Path

import pytest
from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import STATE_RUNNING
from apscheduler.schedulers.blocking import BlockingScheduler
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection
from jobstore.mongodb.mirroring import change_stream
from jobstore.mongodb.wakeups import Wakeups, can_be_woken
from jobstore.testing import mongod
from support.jobs import YEARS, at, job
from support.manual_scheduler import by_hand
from support.mirrored_stores import run as run_noting
from support.programs import command, environment
from support.waiting import in_thread, until

MODES = {
    "queried": {},
    "mirrored": {"mirror": True},
    "polling": {"watch": 0.05},
    "shared": {"shared": True},
    "shared, polling": {"shared": True, "watch": 0.05},
}


def now():
    return datetime.now(timezone.utc)


class Punctuality(BaseExecutor):
    """Notes how late each run is, in seconds."""

    def __init__(self):
        super().__init__()
        self.late = {}

    def _do_submit_job(self, job, run_times):
        self.late[job.id] = (now() - run_times[0]).total_seconds()
        self._run_job_success(job.id, [])


run = partial(run_noting, executor=Punctuality)


@pytest.mark.parametrize("mode", MODES)
def test_jobs_that_another_process_adds_fire_on_time(server, database, mode):
    """By a stock store, each due in 1 s; beside them one job that is due much later."""
    scheduler = run(MongoDBJobStore(database.name, host=server.uri, **MODES[mode]))
    scheduler.add_job(print, "interval", hours=10, id="late")
    subprocess.run(
        command("add_jobs", server.uri, database.name),
        env=environment(),
        check=True,
        timeout=60,
    )
    until(lambda: len(scheduler.executor.late) == 20)
    scheduler.shutdown()
    assert statistics.median(scheduler.executor.late.values()) < 0.2
    assert min(scheduler.executor.late.values()) >= 0


def due_in(seconds, name, **options):
    """A job that is due so many seconds from now."""
    result = job(name, **options)
    result.next_run_time = now() + timedelta(seconds=seconds)
    return result


@pytest.mark.parametrize("mode", MODES)
def test_each_kind_of_change_that_makes_a_job_earlier_wakes(server, database, stock, mode):
    scheduler = run(MongoDBJobStore(database.name, host=server.uri, **MODES[mode]))
    fired = scheduler.executor.late
    stock.add_job(due_in(1000, "added"))
    stock.add_job(due_in(2000, "updated"))
    stock.add_job(due_in(3000, "paused"))
    paused = stock.lookup_job("paused")
    paused.next_run_time = None
    stock.update_job(paused)
    stock.add_job(due_in(0, "new"))
    until(lambda: "new" in fired)
    stock.update_job(due_in(0, "updated"))
    until(lambda: "updated" in fired)
    stock.update_job(due_in(0, "paused"))
    until(lambda: "paused" in fired)
    stock.collection.replace_one({"_id": "added"}, as_document(stock, due_in(0, "added")))
    until(lambda: "added" in fired)
    scheduler.shutdown()


def as_document(stock, job):
    stock.remove_job(job.id)
    stock.add_job(job)
    return stock.collection.find_one(job.id)


def test_a_change_in_mid_cycle_is_not_missed(server, database, stock):
    """It comes after the cycle has asked the server, and before it has said what it waits for."""
    store = MongoDBJobStore(database.name, host=server.uri)
    ask = store._reader.next_run_time
    notified = threading.Event()
    asked = []

    def asking(*args):
        answer = ask(*args)
        if not asked and "first" in scheduler.executor.late:
            asked.append(answer)
            notify = store._wakeups.notify
            store._wakeups.notify = lambda run_time: (notify(run_time), notified.set())
            stock.add_job(due_in(0, "meanwhile"))
            assert notified.wait(30)
        return answer

    store._reader.next_run_time = asking
    scheduler = run(store)
    stock.add_job(due_in(1000, "far"))
    stock.add_job(due_in(0, "first"))
    until(lambda: "meanwhile" in scheduler.executor.late)
    scheduler.shutdown()
    assert asked


def awaited(store):
    """What the scheduler waits for; nothing is in mid-cycle."""
    return list(store._wakeups._awaited.values())


class CountingScheduler(BackgroundScheduler):
    woken = 0

    def wakeup(self):
        self.woken += 1
        super().wakeup()


@pytest.mark.parametrize("mode", MODES)
def test_only_what_is_earlier_wakes_and_only_once(server, database, stock, mode):
    store = MongoDBJobStore(database.name, host=server.uri, **MODES[mode])
    scheduler = run(store, CountingScheduler)
    stock.add_job(due_in(1000, "a"))
    until(lambda: min(awaited(store), default=inf) < 1e12)
    before = scheduler.woken
    for number in range(20):
        stock.add_job(due_in(2000 + number, f"later{number}"))
    stock.remove_job("a")
    stock.update_job(due_in(5000, "later0"))
    stock.add_job(due_in(500, "b"))
    until(lambda: awaited(store) == [stock.lookup_job("b").next_run_time.timestamp()])
    assert scheduler.woken == before + 1
    scheduler.shutdown()


def test_an_asyncio_scheduler_is_woken(server, database, stock):
    async def main():
        scheduler = run(MongoDBJobStore(database.name, host=server.uri), AsyncIOScheduler)
        stock.add_job(due_in(0.2, "a"))
        for _ in range(1000):
            if scheduler.executor.late:
                break
            await asyncio.sleep(0.01)
        scheduler.shutdown()
        return scheduler.executor.late

    assert asyncio.run(main()).keys() == {"a"}


def test_a_blocking_scheduler_is_woken(server, database, stock):
    scheduler = BlockingScheduler(timezone="UTC")
    scheduler.executor = Punctuality()
    scheduler.add_executor(scheduler.executor, "default")
    scheduler.add_jobstore(MongoDBJobStore(database.name, host=server.uri), "default")
    thread = threading.Thread(target=scheduler.start)
    thread.start()
    until(lambda: scheduler.running)
    stock.add_job(due_in(0.2, "a"))
    until(lambda: scheduler.executor.late)
    scheduler.shutdown()
    thread.join(30)
    assert not thread.is_alive()


def test_schedulers_that_cannot_be_woken_are_left_alone(server, database, caplog):
    caplog.set_level(logging.INFO)
    scheduler = by_hand(MongoDBJobStore(database.name, host=server.uri))
    assert caplog.text.count("No wake-ups: other threads can't wake a ByHand") == 1
    assert not watchers()
    scheduler.shutdown()
    gevents = type("Gevent", (BlockingScheduler,), {"__module__": "apscheduler.schedulers.gevent"})
    assert not can_be_woken(gevents())
    assert not can_be_woken(None)
    assert can_be_woken(BlockingScheduler())


def watchers():
    return [each for each in threading.enumerate() if each.name == "jobstore-watcher"]


def test_watching_can_be_turned_off(server, database):
    scheduler = run(MongoDBJobStore(database.name, host=server.uri, watch=False))
    assert not watchers()
    scheduler.shutdown()


@pytest.mark.parametrize("mode", MODES)
def test_the_watcher_is_one_thread_and_ends_with_shutdown(server, database, mode):
    store = MongoDBJobStore(database.name, host=server.uri, **MODES[mode])
    scheduler = run(store)
    (watcher,) = watchers()
    assert watcher.daemon
    until(lambda: store.status().lag is not None)
    scheduler.shutdown()
    assert not watcher.is_alive()


def test_without_the_right_to_a_change_stream_it_asks(database, caplog):
    with mongod(options=("--keyFile", str(key_file()))) as server:
        with MongoClient(server.uri) as client:
            client.admin.command("createUser", "root", pwd="secret", roles=["root"])
        with MongoClient(server.uri, username="root", password="secret") as client:
            where = {"db": "apscheduler", "collection": "jobs"}
            actions = ["find", "insert", "update", "remove", "createIndex"]
            role = [{"resource": where, "actions": actions}]
            client.admin.command("createRole", "worker", privileges=role, roles=[])
            client.admin.command("createUser", "worker", pwd="secret", roles=["worker"])
            stock = StockMongoDBJobStore(client=client)
            stock.start(None, "default")
            store = MongoDBJobStore(host=server.uri, username="worker", password="secret")
            scheduler = run(store)
            until(lambda: store.status().lag is not None)
            stock.add_job(due_in(0, "a"))
            until(lambda: scheduler.executor.late)
            scheduler.shutdown()
            mirrored = MongoDBJobStore(
                host=server.uri, username="worker", password="secret", mirror=True
            )
            with pytest.raises(Exception, match="not authorized"):
                mirrored.start(None, "default")
            mirrored.shutdown()
    said = [each for each in caplog.records if "No change stream" in each.message]
    assert [each.levelno for each in said] == [logging.WARNING]


def key_file():
    """What the nodes of a replica set with users know each other by."""
    import tempfile

    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(b"c2VjcmV0c2VjcmV0")
    Path(file.name).chmod(0o600)
    return file.name


def test_on_a_standalone_server_it_asks(database, caplog):
    caplog.set_level(logging.INFO)
    with mongod(standalone=True) as server, MongoClient(server.uri) as client:
        stock = StockMongoDBJobStore(database.name, client=client)
        stock.start(None, "default")
        scheduler = run(MongoDBJobStore(database.name, host=server.uri))
        stock.add_job(due_in(0, "a"))
        until(lambda: scheduler.executor.late)
        scheduler.shutdown()
    assert caplog.text.count("No change stream") == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_an_outage_ends_no_watcher(database, mode, monkeypatch):
    monkeypatch.setattr(change_stream, "PAUSE_SECONDS", 0.05)
    with mongod() as server:
        store = MongoDBJobStore(database.name, host=server.uri, **MODES[mode])
        scheduler = run(store, jobstore_retry_interval=0.2)
        until(lambda: store.status().connected)
        server.kill()
        until(lambda: not store.status().connected)
        server.start()
        until(lambda: store.status().connected)
        with MongoClient(server.uri) as client:
            stock = StockMongoDBJobStore(database.name, client=client)
            stock.start(None, "default")
            stock.add_job(due_in(0, "a"))
            until(lambda: scheduler.executor.late, 60)
        scheduler.shutdown()


def test_what_can_not_be_closed_as_the_server_is_gone_holds_nobody_up(database, monkeypatch):
    """A stream, when the server goes between opening it and what comes next; and the client."""
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 0.2)
    monkeypatch.setattr("jobstore.mongodb.lifecycle.CLOSE_SECONDS", 0.2)
    with mongod() as server:
        store = MongoDBJobStore(database.name, host=server.uri, serverSelectionTimeoutMS=60_000)
        ask = store._reader.next_run_time

        def gone(*args):
            if threading.current_thread() in watchers():
                server.kill()
            return ask(*args)

        store._reader.next_run_time = gone
        scheduler = run(store)
        until(lambda: store._lifecycle.watcher.connected)
        until(lambda: not store._lifecycle.watcher.connected)
        in_thread(scheduler.shutdown)
        assert not watchers()


# ---- the alarm alone ----


class Woken:
    count = 0
    state = STATE_RUNNING

    def wakeup(self):
        self.count += 1


@pytest.fixture
def wakeups():
    wakeups = Wakeups()
    wakeups.set_scheduler(Woken())
    wakeups.cycle_begins()
    return wakeups


def test_in_a_cycle_nobody_is_woken_and_after_it_once(wakeups):
    wakeups.notify(5.0)
    wakeups.cycle_ends(7.0)
    assert wakeups._scheduler.count == 1
    wakeups.notify(5.0)
    wakeups.notify(6)
    assert wakeups._scheduler.count == 1
    wakeups.notify(4)
    assert wakeups._scheduler.count == 2
    wakeups.cycle_begins()
    wakeups.notify(9.0)
    wakeups.cycle_ends(9.0)
    assert wakeups._scheduler.count == 2
    wakeups.cycle_ends(None)  # by somebody else's question, outside a cycle
    wakeups.notify(9.0)
    assert wakeups._scheduler.count == 2


def test_whoever_asks_what_is_due_beside_the_scheduler_silences_nothing(wakeups):
    wakeups.cycle_ends(7.0)
    in_thread(wakeups.cycle_begins)  # and never asks when to ask again
    wakeups.notify(6.0)
    assert wakeups._scheduler.count == 1
    wakeups.cycle_begins()
    in_thread(wakeups.cycle_begins)
    in_thread(wakeups.cycle_ends, 5.0)
    wakeups.notify(5.0)
    assert wakeups._scheduler.count == 1
    wakeups.cycle_ends(9.0)
    assert wakeups._scheduler.count == 2


def test_a_scheduler_that_does_not_come_when_it_should_is_woken_once(wakeups):
    wakeups.check_clock(1e12)
    assert wakeups._scheduler.count == 0, "it is in a cycle"
    wakeups.cycle_ends(1000.0)
    for now in (0.0, 999.0, 1000.0):
        wakeups.check_clock(now)
    assert wakeups._scheduler.count == 0, "it may be about to come by itself"
    wakeups.cycle_begins()
    wakeups.cycle_ends(2000.0)
    wakeups.check_clock(2000.0)
    assert wakeups._scheduler.count == 0, "as it did"
    for now in (2000.0, 2000.5):
        wakeups.check_clock(now)
    wakeups.notify(5.0)
    assert wakeups._scheduler.count == 1
    wakeups.cycle_begins()
    wakeups.cycle_ends(None)
    wakeups.check_clock(1e12)
    assert wakeups._scheduler.count == 1


@pytest.mark.parametrize("value", [None, "soon", [1.0], True, float("nan")])
def test_what_is_no_run_time_wakes_nobody(wakeups, value):
    wakeups.cycle_ends(None)
    wakeups.notify(value)
    assert wakeups._scheduler.count == 0


def test_a_scheduler_that_cannot_be_woken_now_does_no_harm(wakeups):
    wakeups._scheduler.wakeup = lambda: 1 / 0
    wakeups.cycle_ends(None)
    wakeups.notify(at(YEARS).timestamp())
