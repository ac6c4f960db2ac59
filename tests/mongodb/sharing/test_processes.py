"""Many schedulers on one collection, in processes that are killed, stopped or out of step."""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from apscheduler.triggers.interval import IntervalTrigger
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.testing import mongod
from support.jobs import at, job
from support.programs import command, environment
from support.waiting import until

pytestmark = pytest.mark.slow


class Process:
    """A scheduler process, and the lines that it has written."""

    def __init__(self, uri, database, file, **options):
        self.file = file
        with open(f"{file}.log", "ab") as log:
            self.process = subprocess.Popen(
                command("share_jobs", uri, database, str(file), json.dumps(options)),
                env=environment(),
                stderr=log,
            )

    def lines(self):
        """Return all complete lines; a process that was killed may have left an incomplete one."""
        text = self.file.read_text() if self.file.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()

    def submitted(self):
        return [line for line in self.lines() if line[0].isdigit()]

    def unfinished(self):
        """Return the runs submitted in the cycle that was cut off: they may not be written."""
        lines = self.lines()
        last = max((n for n, line in enumerate(lines) if line == "cycle"), default=-1)
        return [line for line in lines[last + 1 :] if line[0].isdigit()]

    def logged_to_run_twice(self):
        return [line.split("\t")[1] for line in self.lines() if line.startswith("twice")]

    def cycles(self):
        return self.lines().count("cycle")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        until(self.cycles, 60)  # its signal handler exists after the first cycle
        self.process.terminate()
        assert self.process.wait(60) == 0


@pytest.fixture
def start(server, database, tmp_path):
    """Starts scheduler processes, and kills the remaining ones at the end."""
    processes = []

    def start(uri=server.uri, **options):
        process = Process(uri, database.name, tmp_path / f"{len(processes):03}", **options)
        processes.append(process)
        return process

    start.all = processes
    yield start
    for process in processes:
        if process.process.poll() is None:
            process.process.send_signal(signal.SIGCONT)
            process.kill()


@pytest.fixture
def store(server, database):
    """A store for the test itself, which adds jobs and fires none."""
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client, shared=True)
        store.start(None, "default")
        yield store
        store.shutdown()


def everything(processes):
    return [line for each in processes for line in each.submitted()]


def duplicates(lines):
    return {line: count for line, count in Counter(lines).items() if count > 1}


def is_running(process):
    return "started" in process.lines()


def test_each_of_20000_jobs_runs_exactly_once(start, store):
    processes = [start(lease=600) for _ in range(4)]  # no cycle is too slow for its lease
    until(lambda: all(map(is_running, processes)))
    due = datetime.now(timezone.utc) + timedelta(seconds=5)
    count = 20_000
    store.add_jobs(job(f"{n}", every=None, next_run_time=due) for n in range(count))
    until(lambda: len(everything(processes)) >= count and len(store) == 0)
    for each in processes:
        each.end()
    lines = everything(processes)
    assert sorted(lines) == sorted(f"{n}\t{due.timestamp()}" for n in range(count))
    assert all(each.submitted() for each in processes), "adding a machine adds throughput"
    assert not any(each.logged_to_run_twice() for each in processes)


def regular(name, start, every):
    return job(
        name,
        trigger=IntervalTrigger(seconds=every, start_date=start, timezone="UTC"),
        next_run_time=start,
        misfire_grace_time=None,
        coalesce=False,
        max_instances=99,
    )


SECONDS = 60
EVERY = 2


def test_no_run_is_lost_when_processes_are_killed(start, store):
    """Every 3 s a random process is killed and replaced."""
    chance = random.Random(7)
    count = 400
    first = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=5)
    store.add_jobs(regular(f"{n}", first, EVERY) for n in range(count))
    alive = [start(lease=2) for _ in range(4)]
    killed = []
    ends = time.monotonic() + 5 + SECONDS
    while time.monotonic() < ends:
        time.sleep(3)  # the interval between kills, not a wait for a result
        victim = alive.pop(chance.randrange(len(alive)))
        victim.kill()
        killed.append(victim)
        alive.append(start(lease=2))
    last = first + timedelta(seconds=SECONDS)

    def is_caught_up():
        earliest = store.collection.find_one(sort=[("next_run_time", 1)])
        return earliest["next_run_time"] > last.timestamp()

    until(is_caught_up)
    for each in alive:
        each.end()
    lines = everything(start.all)
    times = [(first + timedelta(seconds=s)).timestamp() for s in range(0, SECONDS + 1, EVERY)]
    expected = {f"{n}\t{run_time}" for n in range(count) for run_time in times}
    assert not expected - set(lines), "a due time is missing"
    more_than_once = duplicates(lines)
    cut_off = Counter(line for each in killed for line in each.unfinished())
    # A process that is slower than its lease logs the jobs that run twice.
    logged = Counter(job_id for each in start.all for job_id in each.logged_to_run_twice())
    for line, times_run in more_than_once.items():
        repeats = cut_off[line] + logged[line.split("\t")[0]]
        assert times_run <= 1 + repeats, f"{line} was neither cut off nor logged so often"
    assert len(killed) >= SECONDS // 3


def is_stopped(process):
    stat = Path(f"/proc/{process.process.pid}/stat").read_text()
    return stat.rsplit(")", 1)[1].split()[0] == "T"


def test_scheduler_stopped_in_mid_cycle_is_fenced(start, store):
    """It stands still for longer than its lease. Another one has run all jobs when it goes on."""
    count, at_job = 500, 100
    store.add_jobs(job(f"{n}", n / 1000, every=None if n % 2 else 10**9) for n in range(count))
    stopped = start(lease=2, stop=at_job)
    until(lambda: is_running(stopped) and is_stopped(stopped))
    before = stopped.submitted()
    assert len(before) == at_job - 1
    other = start(lease=10)
    due = {"next_run_time": {"$lte": at(1).timestamp()}}
    until(lambda: len(other.submitted()) == count and not store.collection.count_documents(due))
    done = list(store.collection.find().sort("_id"))
    os.kill(stopped.process.pid, signal.SIGCONT)
    until(lambda: stopped.cycles())
    stopped.end()
    other.end()
    assert list(store.collection.find().sort("_id")) == done, "no update of the successor is lost"
    assert len(done) == count // 2
    assert len(stopped.submitted()) == at_job, "it fired only the job at which it was stopped"
    twice = [line.split("\t")[0] for line in duplicates(everything([stopped, other]))]
    assert sorted(stopped.logged_to_run_twice()) == sorted(twice)
    assert len(twice) == at_job
    assert other.logged_to_run_twice() == []


def test_schedulers_with_clocks_five_minutes_apart_respect_leases_and_do_not_spin(start, store):
    """Each scheduler decides by its own clock which jobs are due. Leases go by the server's."""
    now = datetime.now(timezone.utc)
    soon, later = now + timedelta(seconds=150), now + timedelta(hours=1)
    store.add_jobs([job("0", next_run_time=now), job("1", next_run_time=soon)])
    store.add_job(job("2", next_run_time=later))
    right = start(lease=2)
    until(lambda: right.cycles() >= 1 and right.submitted())
    assert [line.split("\t")[0] for line in right.submitted()] == ["0"]

    ahead = start(lease=2, ahead=300, stop=1)  # claims "1", and is stopped
    until(lambda: is_running(ahead) and is_stopped(ahead))
    busy = right.cycles()
    time.sleep(3)  # longer than the lease: a busy loop would show now
    assert right.cycles() - busy <= 5
    assert right.submitted()[1:] == [], "the job isn't due by this clock"
    third = start(lease=2, ahead=301)
    until(lambda: third.submitted())
    assert [line.split("\t")[0] for line in third.submitted()] == ["1"]
    os.kill(ahead.process.pid, signal.SIGCONT)
    until(lambda: ahead.cycles())
    counts = [each.cycles() for each in (right, ahead, third)]
    time.sleep(2)
    for each, count in zip((right, ahead, third), counts, strict=True):
        assert each.cycles() - count <= 4, "no busy loop"
        each.end()
    assert ahead.logged_to_run_twice() == ["1"]


def test_no_run_is_lost_in_five_failovers(start, database):
    """Three schedulers run 300 jobs every second. Runs that are repeated are logged."""
    with mongod(nodes=3) as server, MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client, shared=True)
        store.start(None, "default")
        count = 300
        first = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=3)
        store.add_jobs(regular(f"{n}", first, 1) for n in range(count))
        processes = [start(server.uri, lease=3) for _ in range(3)]
        until(lambda: all(each.submitted() for each in processes))
        for _ in range(5):
            before = len(everything(processes))
            primary = until(lambda: client.primary)
            node = next(each for each in server.nodes if each.port == primary[1])
            node.kill()
            until(lambda before=before: len(everything(processes)) >= before + 3 * count)
            node.start()
            server.wait()
        end = datetime.now(timezone.utc)

        def is_caught_up():
            earliest = store.collection.find_one(sort=[("next_run_time", 1)])
            return earliest["next_run_time"] > end.timestamp()

        until(is_caught_up)
        for each in processes:
            each.end()
        lines = everything(processes)
        seconds = int((end - first).total_seconds())
        times = [(first + timedelta(seconds=s)).timestamp() for s in range(seconds)]
        assert not {f"{n}\t{each}" for n in range(count) for each in times} - set(lines)
        twice = Counter(name for each in processes for name in each.logged_to_run_twice())
        for line, times_run in duplicates(lines).items():
            assert twice[line.split("\t")[0]] >= times_run - 1, f"{line} was not logged"
        store.shutdown()
