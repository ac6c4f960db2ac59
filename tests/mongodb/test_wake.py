"""Wake-ups: a job fires on time when another process adds it or makes it earlier."""

import asyncio
import logging
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
from apscheduler.schedulers.blocking import BlockingScheduler
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection
from jobstore.mongodb.mirroring import change_stream
from jobstore.testing import mongod
from jobstore.waking import can_be_woken
from support.jobs import job
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
    """Records how late each run is, in seconds."""

    def __init__(self):
        super().__init__()
        self.late = {}

    def _do_submit_job(self, job, run_times):
        self.late[job.id] = (now() - run_times[0]).total_seconds()
        self._run_job_success(job.id, [])


run = partial(run_noting, executor=Punctuality)


class Sleeper(BackgroundScheduler):
    """Notes for each cycle until when it slept before; -inf if it was woken."""

    def __init__(self, **options):
        super().__init__(**options)
        self._ends, self._lock = [], threading.Lock()

    def sleeps_until(self, time):
        with self._lock:
            self._ends.append(time)

    def wakeup(self):
        self.sleeps_until(-inf)
        super().wakeup()

    def _process_jobs(self):
        with self._lock:
            self.slept_until, self._ends = min(self._ends, default=-inf), []
        return super()._process_jobs()


class SleepingStore(MongoDBJobStore):
    """Tells a `Sleeper` until when it sleeps."""

    def get_next_run_time(self):
        answer = super().get_next_run_time()
        self._scheduler.sleeps_until(inf if answer is None else answer.timestamp())
        return answer


class NotesSleep(Punctuality):
    """Also notes, for each job, by how much the scheduler meant to sleep for too long."""

    def __init__(self):
        super().__init__()
        self.overslept = {}

    def _do_submit_job(self, job, run_times):
        self.overslept[job.id] = self._scheduler.slept_until - run_times[0].timestamp()
        super()._do_submit_job(job, run_times)


@pytest.mark.parametrize("mode", MODES)
def test_scheduler_sleeps_no_longer_than_until_a_job_that_another_process_adds(
    server, database, mode
):
    """A stock store adds jobs that are due in 1 s. Another job is due much later."""
    store = SleepingStore(database.name, host=server.uri, **MODES[mode])
    scheduler = run_noting(store, Sleeper, NotesSleep)
    scheduler.add_job(print, "interval", hours=10, id="late")
    subprocess.run(
        command("add_jobs", server.uri, database.name),
        env=environment(),
        check=True,
        timeout=60,
    )
    until(lambda: len(scheduler.executor.late) == 20)
    scheduler.shutdown()
    assert max(scheduler.executor.overslept.values()) <= 0
    assert min(scheduler.executor.late.values()) >= 0


def due_in(seconds, name, **options):
    """Make a job that is due `seconds` from now."""
    due = job(name, **options)
    due.next_run_time = now() + timedelta(seconds=seconds)
    return due


@pytest.mark.parametrize("mode", MODES)
def test_each_kind_of_change_that_makes_a_job_earlier_wakes_the_scheduler(
    server, database, stock, mode
):
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


def test_change_in_mid_cycle_wakes_the_scheduler(server, database, stock):
    """The change comes after the server's answer, before the store has noted the next run time."""
    store = MongoDBJobStore(database.name, host=server.uri)
    query = store._reader.next_run_time
    notified = threading.Event()
    answers = []

    def query_with_change(*args):
        answer = query(*args)
        if not answers and "first" in scheduler.executor.late:
            answers.append(answer)
            notify = store._wakeups.notify
            store._wakeups.notify = lambda run_time: (notify(run_time), notified.set())
            stock.add_job(due_in(0, "meanwhile"))
            assert notified.wait(30)
        return answer

    store._reader.next_run_time = query_with_change
    scheduler = run(store)
    stock.add_job(due_in(1000, "far"))
    stock.add_job(due_in(0, "first"))
    until(lambda: "meanwhile" in scheduler.executor.late)
    scheduler.shutdown()
    assert answers


def awaited(store):
    """Return the run time that the scheduler waits for, or nothing in mid-cycle."""
    return list(store._wakeups._awaited.values())


class CountingScheduler(BackgroundScheduler):
    woken = 0

    def wakeup(self):
        self.woken += 1
        super().wakeup()


@pytest.mark.parametrize("mode", MODES)
def test_only_an_earlier_run_time_wakes_the_scheduler_and_only_once(server, database, stock, mode):
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


def test_asyncio_scheduler_is_woken(server, database, stock):
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


def test_blocking_scheduler_is_woken(server, database, stock):
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


def test_scheduler_that_cannot_be_woken_gets_no_watcher(server, database, caplog):
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


def test_watch_false_starts_no_watcher(server, database):
    scheduler = run(MongoDBJobStore(database.name, host=server.uri, watch=False))
    assert not watchers()
    scheduler.shutdown()


@pytest.mark.parametrize("mode", MODES)
def test_watcher_is_one_thread_and_ends_at_shutdown(server, database, mode):
    store = MongoDBJobStore(database.name, host=server.uri, **MODES[mode])
    scheduler = run(store)
    (watcher,) = watchers()
    assert watcher.daemon
    until(lambda: store.status().lag is not None)
    scheduler.shutdown()
    assert not watcher.is_alive()


def test_store_polls_without_the_right_to_open_a_change_stream(database, caplog):
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
    lines = [each for each in caplog.records if "No change stream" in each.message]
    assert [each.levelno for each in lines] == [logging.WARNING]


def key_file():
    """Make a key file, by which the nodes of a replica set with users trust each other."""
    import tempfile

    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(b"c2VjcmV0c2VjcmV0")
    Path(file.name).chmod(0o600)
    return file.name


def test_store_polls_a_standalone_server(database, caplog):
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
def test_watcher_works_again_after_an_outage(database, mode, monkeypatch):
    monkeypatch.setattr(change_stream, "PAUSE_SECONDS", 0.05)
    with mongod() as server:
        store = MongoDBJobStore(database.name, host=server.uri, **MODES[mode])
        scheduler = run(store, jobstore_retry_interval=0.2)
        until(lambda: store.status().lag is not None)
        server.kill()
        until(lambda: not store.status().connected)
        server.start()
        until(lambda: store.status().connected)
        with MongoClient(server.uri) as client:
            stock = StockMongoDBJobStore(database.name, client=client)
            stock.start(None, "default")
            stock.add_job(due_in(0, "a"))
            until(lambda: scheduler.executor.late)
        scheduler.shutdown()


def test_shutdown_is_not_delayed_by_a_stream_of_a_stopped_server(database, monkeypatch):
    """The server stops after the stream is opened. Neither the stream nor the client can close."""
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 0.2)
    monkeypatch.setattr("jobstore.mongodb.lifecycle.CLOSE_SECONDS", 0.2)
    with mongod() as server:
        store = MongoDBJobStore(database.name, host=server.uri, serverSelectionTimeoutMS=60_000)
        query = store._reader.next_run_time

        def gone(*args):
            if threading.current_thread() in watchers():
                server.kill()
            return query(*args)

        store._reader.next_run_time = gone
        scheduler = run(store)
        until(lambda: not store._lifecycle.watcher.connected)
        in_thread(scheduler.shutdown)
        assert not watchers()
