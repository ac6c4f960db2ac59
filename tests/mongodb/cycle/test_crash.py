"""The server or the scheduler's process is killed at any moment; a primary steps down."""

import subprocess
import threading
import time
from collections import Counter
from datetime import datetime, timezone

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from jobstore import MongoDBJobStore
from jobstore.testing import mongod
from support.jobs import at, job, run_times
from support.manual_scheduler import Submissions
from support.programs import command, environment

pytestmark = pytest.mark.slow

PATIENCE = 120  # seconds until a test that hangs fails


class WatchedExecutor(Submissions):
    """Counts submissions, and lets a test wait for more of them."""

    def __init__(self):
        super().__init__()
        self.changed = threading.Condition()
        self.last = {}  # the last run time submitted, by id
        self.count = 0

    def submit_job(self, job, run_times):
        super().submit_job(job, run_times)
        with self.changed:
            self.last[job.id] = run_times[-1]
            self.count += 1
            self.changed.notify_all()

    def wait_for(self, happened):
        with self.changed:
            assert self.changed.wait_for(happened, PATIENCE)

    def wait_for_more(self, count):
        until = self.count + count
        self.wait_for(lambda: self.count >= until)

    def wait_for_all(self, ids):
        """Wait until each job was submitted again."""
        with self.changed:
            self.last.clear()
        self.wait_for(lambda: ids <= self.last.keys())


class RunningScheduler:
    """A BackgroundScheduler whose jobs run every second."""

    def __init__(self, uri, count):
        self.store = MongoDBJobStore("crash", host=uri, serverSelectionTimeoutMS=500)
        self.executor = WatchedExecutor()
        self.scheduler = BackgroundScheduler(
            timezone="UTC",
            jobstores={"default": self.store},
            executors={"default": self.executor},
            jobstore_retry_interval=0.1,
        )
        now = datetime.now(timezone.utc)
        every_second = IntervalTrigger(seconds=1, timezone="UTC", start_date=now)
        self.ids = {f"{i:04}" for i in range(count)}
        self.store.add_jobs(
            [job(each, trigger=every_second, next_run_time=now) for each in self.ids]
        )
        self.scheduler.start()

    def check(self):
        """Wait until all jobs fire again, and check the stored run times against the last runs."""
        assert self.scheduler._thread.is_alive()
        self.executor.wait_for_all(self.ids)
        self.scheduler.pause()
        with self.scheduler._jobstores_lock:  # wait for the end of the current cycle
            pass
        assert self.store._write_behind.writes == {}
        stored = run_times(self.store)
        assert stored.keys() == self.ids
        for each in self.store.get_all_jobs():
            assert each.next_run_time.timestamp() == stored[each.id]
            assert each.next_run_time > self.executor.last[each.id]
            assert (each.next_run_time - self.executor.last[each.id]).total_seconds() < PATIENCE
        assert self.store.quarantined() == []
        self.scheduler.shutdown()


def test_all_jobs_fire_again_after_the_server_is_killed_ten_times():
    with mongod() as server:
        running = RunningScheduler(server.uri, 2_000)
        for kill in range(10):
            running.executor.wait_for_more(
                1 + 353 * kill
            )  # at a different place in a cycle each time
            server.kill()
            server.start()
        running.check()


def test_all_jobs_fire_again_after_the_primary_steps_down_and_is_killed():
    with mongod(nodes=3) as server:
        running = RunningScheduler(server.uri, 200)
        for how in ("step down", "kill"):
            running.executor.wait_for_more(100)
            primary = running.store.client.primary
            if how == "kill":
                (node,) = [each for each in server.nodes if each.port == primary[1]]
                node.kill()
            else:
                with MongoClient(*primary, directConnection=True) as client:
                    client.admin.command("replSetStepDown", 5, force=True)
            wait_for_another_primary(running.store.client, primary)
            running.executor.wait_for_all(running.ids)
            server.start()
        running.check()


def wait_for_another_primary(client, primary):
    deadline = time.monotonic() + PATIENCE
    while client.primary in (None, primary):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def child(server, database, kill_at):
    return subprocess.Popen(
        command("run_until_killed", server.uri, database.name, kill_at),
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )


def submissions(process):
    """Read (job id, run time) of each run that the child submitted, until it ends."""
    runs = []
    for line in process.stdout:
        job_id, *times = line.rstrip("\n").split("\t")
        runs += [(job_id, float(each)) for each in times]
    return runs


@pytest.mark.parametrize("after", [1, 300, 1_000, 1_001, 1_700])
def test_scheduler_killed_in_mid_cycle_skips_no_run(server, store, database, after):
    """Each of 1,700 jobs, in batches of 1,000, has missed three runs; none may be skipped."""
    hour = 3600
    missed = int(time.time() - at(0).timestamp()) // hour - 2
    trigger = IntervalTrigger(hours=1, start_date=at(missed * hour), timezone="UTC")
    jobs = [
        job(f"{i:04}", missed * hour, trigger=trigger, coalesce=False, max_instances=9)
        for i in range(1_700)
    ]
    store.add_jobs(jobs)
    expected = Counter()
    for each in jobs:
        expected.update((each.id, at((missed + i) * hour).timestamp()) for i in range(3))

    with child(server, database, str(after)) as first:
        runs = submissions(first)
    assert first.returncode == -9
    assert len(runs) >= 3 * after
    with child(server, database, "0") as second:
        runs += submissions(second)
    assert second.returncode == 0
    found = Counter(runs)
    known = {run: count for run, count in found.items() if run in expected}
    assert known.keys() == expected.keys()  # none is missing
    assert store.quarantined() == []
    assert not store.collection.count_documents({"attempts": {"$ne": None}})
    repeated = {job_id for (job_id, _), count in known.items() if count > 1}
    assert 1 <= len(repeated) <= 1_000  # the job in whose submission it died, at least


def test_deferred_writes_are_flushed_at_process_exit(server, store, database):
    store.add_job(job("a", 1))
    with child(server, database, "exit") as process:
        assert process.wait(PATIENCE) == 0
    assert run_times(store) == {"a": at(100).timestamp()}


def test_forked_process_leaves_deferred_writes_to_its_parent(server, store, database):
    store.add_job(job("a", 1))
    with child(server, database, "fork") as process:
        assert process.wait(PATIENCE) == -9
    assert run_times(store) == {"a": at(1).timestamp()}


def test_commands_to_a_frozen_server_time_out(monkeypatch):
    """A hung process keeps its sockets open, and answers nothing."""
    with mongod() as server:
        running = RunningScheduler(server.uri, 50)
        running.executor.wait_for_more(60)
        with monkeypatch.context() as patch:
            patch.setattr("jobstore.mongodb.connection.COMMAND_SECONDS", 0.5)
            server.nodes[0].freeze()
            with pytest.raises(PyMongoError):
                running.store.lookup_job("0001")
            server.nodes[0].thaw()
        running.check()
