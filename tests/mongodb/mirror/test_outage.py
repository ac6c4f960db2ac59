"""A mirrored store while the server is down, slow, or replaced by another primary."""

import asyncio
import itertools
import logging
import subprocess
import threading
import time
from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from jobstore import MongoDBJobStore
from jobstore.testing import mongod
from support.jobs import run_times
from support.mirrored_stores import documents, mirrored, regular, run
from support.programs import command, environment
from support.proxy import Proxy
from support.waiting import until, until_in_loop

pytestmark = pytest.mark.slow

OUTAGE = 30  # seconds
EVERY = 5


def check_all_submitted(scheduler, every):
    """Check that each due time of each job was submitted exactly once."""
    for name, times in scheduler.executor.times.items():
        steps = Counter((later - earlier).total_seconds() for earlier, later in pairs(times))
        assert set(steps) <= {every}, f"job {name}: {steps}"


def pairs(items):
    return list(itertools.pairwise(items))


def test_jobs_fire_while_the_server_is_down_and_no_cycle_asks_for_it(database, caplog):
    """The driver logs, for each command, that it selects a server."""
    with mongod() as server, MongoClient(server.uri) as client:
        jobs = client[database.name]["jobs"]
        store = MongoDBJobStore(database.name, host=server.uri, mirror=True)
        scheduler = run(store)
        count = 2000
        store.add_jobs([regular(f"{number:04}") for number in range(count)])
        scheduler.wakeup()
        times = scheduler.executor.times
        until(lambda: len(times) == count and store.status().pending == 0)

        # Removed by others just before the outage.
        jobs.delete_one({"_id": "0000"})
        server.kill()
        caplog.set_level(logging.DEBUG, "pymongo.serverSelection")
        ended = time.monotonic() + OUTAGE
        rounds = len(times["1000"])
        until(lambda: time.monotonic() > ended, OUTAGE + 10)
        assert len(times["1000"]) >= rounds + OUTAGE // EVERY - 1
        status = store.status()
        assert not status.connected
        assert status.pending >= count - 1
        assert status.oldest > OUTAGE / 2
        assert status.lag > OUTAGE / 2
        asking = {each.threadName for each in caplog.records if "pymongo" in each.name}
        assert "jobstore-flusher" in asking
        assert scheduler._thread.name not in asking
        caplog.set_level(logging.WARNING, "pymongo.serverSelection")
        server.start()
        until(lambda: store.status().connected and store.status().pending == 0)
        until(lambda: mirrored(store) == documents(store))
        assert store.lookup_job("0000") is None
        assert len(jobs.distinct("_id")) == count - 1
        scheduler.pause()
        scheduler.shutdown()
        check_all_submitted(scheduler, EVERY)


def test_changes_by_others_win_that_were_made_just_before_an_outage(
    server, database, session_client
):
    """Our connection is lost first, so the store can't know the changes."""
    jobs = session_client[database.name]["jobs"]
    with Proxy(server.nodes[0].port) as proxy:
        store = MongoDBJobStore(database.name, host=proxy.uri, mirror=True)
        scheduler = run(store)
        store.add_jobs([regular("moved", 0.2), regular("removed", 0.2), regular("stays", 0.2)])
        scheduler.wakeup()
        times = scheduler.executor.times
        until(lambda: len(times["stays"]) > 2)
        for command in ("update", "getMore", "aggregate", "hello"):
            proxy.fail(command, "close", 10**9)
        until(lambda: not store.status().connected)
        far = datetime.now(timezone.utc).timestamp() + 1000
        jobs.update_one({"_id": "moved"}, {"$set": {"next_run_time": far}})
        jobs.delete_one({"_id": "removed"})
        seen = len(times["removed"])
        until(lambda: len(times["removed"]) > seen + 5)
        proxy.release()
        until(lambda: store.status().connected and store.lookup_job("removed") is None)
        until(lambda: store.lookup_job("moved").next_run_time.timestamp() == far)
        scheduler.pause()
        until(lambda: store.status().pending == 0)
        until(lambda: mirrored(store) == documents(store))
        scheduler.shutdown()
        check_all_submitted(scheduler, 0.2)


def test_scheduler_killed_in_an_outage_repeats_all_runs_since_the_last_write_and_skips_none(
    database, tmp_path
):
    output = tmp_path / "submitted"

    def submitted():
        """Return (job id, run time) of each run that the killed process submitted."""
        lines = [line.split("\t") for line in output.read_text().splitlines(keepends=True)]
        return [
            (job_id, float(time))
            for job_id, *times in lines
            if times and times[-1].endswith("\n")
            for time in times
        ]

    with mongod() as server:
        store = MongoDBJobStore(database.name, host=server.uri)
        store.add_jobs([regular(name, 0.2) for name in "abc"])
        with (
            output.open("wb") as file,
            subprocess.Popen(
                command("run_mirrored", server.uri, database.name), env=environment(), stdout=file
            ) as process,
        ):
            until(lambda: len(submitted()) > 9)
            server.kill()
            count = len(submitted())
            until(lambda: len(submitted()) > count + 30)
            process.kill()
        server.start()
        written = run_times(store)
        before = submitted()
        lost = {(job_id, time) for job_id, time in before if time >= written[job_id]}
        assert len(lost) >= 30, "the runs during the outage were not written"

        scheduler = run(MongoDBJobStore(database.name, host=server.uri, mirror=True))
        times = scheduler.executor.times

        latest = max(time for _, time in lost)

        def has_caught_up():
            return all(times[name] and times[name][-1].timestamp() > latest for name in "abc")

        until(has_caught_up)
        scheduler.shutdown()
        store.shutdown()
    check_all_submitted(scheduler, 0.2)
    after = {(job_id, time.timestamp()) for job_id, each in times.items() for time in each}
    assert lost <= after
    assert {name: each[0].timestamp() for name, each in times.items()} == written
    assert not (set(before) - lost) & after, "written runs are not repeated"


@pytest.fixture(scope="module")
def three():
    with mongod(3) as server:
        yield server


@pytest.mark.parametrize("options", [{"mirror": True}, {}], ids=["mirrored", "queried"])
def test_no_run_is_lost_or_repeated_during_failovers(three, database, options):
    store = MongoDBJobStore(database.name, host=three.uri, **options)
    scheduler = run(store, jobstore_retry_interval=0.5)
    count, every = 200, 0.5
    start = datetime.now(timezone.utc) + timedelta(seconds=1)
    store.add_jobs([regular(f"{number:03}", every, start) for number in range(count)])
    scheduler.wakeup()
    times = scheduler.executor.times
    with MongoClient(three.uri) as client:
        for _ in range(5):
            seen = len(times["100"])
            until(lambda seen=seen: len(times["100"]) > seen + 2)
            step_down(client)
        seen = len(times["100"])
        until(lambda: len(times["100"]) > seen + 2)
        scheduler.pause()
        until(lambda: store.status().pending == 0)
        kept = documents(store)
        scheduler.shutdown()
        assert len(kept) == count
        check_all_submitted(scheduler, every)
        for name, document in kept.items():
            following = times[name][-1].timestamp() + every
            assert document["next_run_time"] == pytest.approx(following, abs=1e-3)


def step_down(client):
    """Make the nodes elect another primary."""
    try:
        client.admin.command({"replSetStepDown": 5, "force": True})
    except PyMongoError:
        logging.getLogger(__name__).info("the connection is gone with the primary")
    until(lambda: is_writable(client))


def is_writable(client):
    try:
        return client.admin.command("hello")["isWritablePrimary"]
    except PyMongoError:
        return False


def test_event_loop_never_waits_for_a_slow_server(server, database):
    """All replies are held back until the jobs have fired again.

    The flusher waits for a reply meanwhile. So a cycle that waited for any reply, or for the
    flusher's lock, would stop the loop, and no job would fire.
    """
    rounds, patience = 3, 300  # seconds; they pass only if a cycle waits

    def awaited_update(proxy):
        return next((each for each in list(proxy.held) if b"nModified" in each), None)

    async def main(proxy):
        # With these limits, a command whose reply is held back is slow, and no outage.
        uri = f"{proxy.uri}&timeoutMS=600000&connectTimeoutMS=600000"
        store = MongoDBJobStore(database.name, host=uri, mirror=True)
        store.add_jobs([regular(f"{number}", 0.2) for number in range(20)])
        scheduler = run(store, AsyncIOScheduler)
        assert threading.current_thread() is threading.main_thread()
        times = scheduler.executor.times
        # Now all connections are open that the store's threads need.
        await until_in_loop(
            lambda: times["7"] and run_times(store)["7"] > times["7"][0].timestamp()
        )
        for _ in range(rounds):
            proxy.hold()
            reply = await until_in_loop(lambda: awaited_update(proxy), patience)
            seen = {name: len(each) for name, each in times.items()}
            await until_in_loop(
                lambda seen=seen: all(len(times[name]) > seen[name] + 8 for name in seen), patience
            )
            assert reply in proxy.held, "a cycle waited until the watchdog released the replies"
            assert store.status().connected
            assert store.status().pending == 20
            proxy.release()
            await until_in_loop(lambda reply=reply: reply not in proxy.held)
        scheduler.shutdown()
        check_all_submitted(scheduler, 0.2)
        assert len(times) == 20

    with Proxy(server.nodes[0].port) as proxy:
        watchdog = threading.Timer(patience, proxy.release)
        watchdog.start()
        try:
            asyncio.run(main(proxy))
        finally:
            watchdog.cancel()
