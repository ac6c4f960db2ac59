"""Bounded runs in flight, against unbounded: throughput, commands, and how machines share work."""

import json
import subprocess
import sys
import time
from datetime import timedelta, timezone
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger
from measure import Variant
from mongodb_variants import HOUR, MAKER, Counter, make_document, now, values_of
from pymongo import MongoClient

import jobstore
from jobstore.testing import Server

TABLE = "Bounded runs in flight"
CHILD = Path(__file__).with_name("in_flight_child.py")
BOUNDS: dict[str, Any] = {"auto": "auto", "none": None}
MODES: dict[str, dict[str, Any]] = {
    "queried": {},
    "mirrored": {"mirror": True},
    "shared": {"shared": True},
}
WORKERS = 10
COUNTS = {0: 4_000, 1: 4_000, 10: 500}  # how many jobs a round has, by their milliseconds


def due_job(number: int, milliseconds: int, trigger: Any = HOUR) -> Job:
    """Make a job that is due; it sleeps, or does nothing for 0 ms."""
    name = f"job-{number:08d}"
    return Job(
        MAKER,
        id=name,
        func=time.sleep if milliseconds else int,
        trigger=trigger,
        executor="default",
        args=(milliseconds / 1000,) if milliseconds else (),
        kwargs={},
        name=name,
        misfire_grace_time=None,
        coalesce=True,
        max_instances=1,
        next_run_time=now() - timedelta(minutes=1) + timedelta(microseconds=number),
    )


class Running:
    """A scheduler with a thread pool, which runs the jobs of one round at a time."""

    def __init__(self, store: Any, milliseconds: int, count: int) -> None:
        self.store, self.milliseconds, self.count = store, milliseconds, count
        self.ends: list[None] = []
        self.done = Event()
        self.scheduler = BackgroundScheduler(
            jobstores={"default": store},
            executors={"default": ThreadPoolExecutor(WORKERS)},
            timezone=timezone.utc,
        )
        self.scheduler.add_listener(self._ended, EVENT_JOB_EXECUTED)
        self.scheduler.start(paused=True)

    def _ended(self, event: Any) -> None:
        self.ends.append(None)
        if len(self.ends) == self.count:
            self.done.set()

    def before(self) -> None:
        self.ends.clear()
        self.done.clear()
        jobs = [due_job(number, self.milliseconds) for number in range(self.count)]
        self.store.add_jobs(jobs, replace_existing=True)

    def run(self) -> None:
        self.scheduler.resume()
        assert self.done.wait(60)

    def after(self) -> None:
        self.scheduler.pause()
        with self.scheduler._jobstores_lock:  # the end of its last cycle
            assert len(self.ends) == self.count

    def variant(self) -> Variant:
        return Variant(self.run, self.count, before=self.before, after=self.after)


def store_with(bound: Any, mode: str, client: Any) -> Any:
    if mode == "memory":
        return jobstore.MemoryJobStore(in_flight=bound)
    name = f"{mode} {bound}"
    return jobstore.MongoDBJobStore("bench", name, client=client, in_flight=bound, **MODES[mode])


def compare(
    measure: Any, client: Any, mode: str, milliseconds: int, count: int, rounds: int
) -> dict[str, float]:
    """Time a backlog of `count` jobs with each bound; return the µs a job."""
    running = [
        Running(store_with(bound, mode, client), milliseconds, count) for bound in BOUNDS.values()
    ]
    times = measure(*(each.variant() for each in running), rounds=rounds)
    for each in running:
        each.scheduler.shutdown()
    return values_of(times, *BOUNDS)


MARKED = [pytest.param("queried", marks=pytest.mark.check), "mirrored", "shared", "memory"]


@pytest.mark.parametrize("milliseconds", COUNTS)
@pytest.mark.parametrize("mode", MARKED)
def test_throughput(measure: Any, report: Any, client: Any, mode: str, milliseconds: int) -> None:
    """The jobs a second with a bound, as a part of those without."""
    values = compare(measure, client, mode, milliseconds, COUNTS[milliseconds], rounds=5)
    row = f"{mode}, jobs of {milliseconds} ms on {WORKERS} threads"
    report(TABLE, row, values, "none / auto", target=0.95)


def test_burst(measure: Any, report: Any, client: Any) -> None:
    """1,000 jobs that do nothing, for a pool that was idle: the bound begins with 20."""
    values = compare(measure, client, "queried", 0, 1_000, rounds=11)
    report(TABLE, "queried, 1,000 jobs of 0 ms at once", values, "none / auto")


@pytest.mark.parametrize("milliseconds", COUNTS)
@pytest.mark.parametrize("mode", MODES)
def test_commands(
    benchmark: Any, report: Any, server: Server, client: Any, mode: str, milliseconds: int
) -> None:
    """The commands for each 1,000 jobs that are due at once."""
    values = {}
    for name, bound in BOUNDS.items():
        counter = Counter(exclude="getMore")  # a change stream asks on, with jobs or without
        with MongoClient[dict[str, Any]](server.uri, event_listeners=[counter]) as counted:
            running = Running(store_with(bound, mode, counted), milliseconds, COUNTS[milliseconds])
            running.before()
            counter.count = 0
            running.run()
            running.after()
            running.scheduler.shutdown()  # flushes
        values[name] = counter.count / running.count * 1_000
    benchmark.pedantic(lambda: None)
    row = f"{mode}, 1,000 jobs of {milliseconds} ms"
    report(f"{TABLE}: commands", row, values, "auto", unit="commands")


class Sharing:
    """`PROCESSES` schedulers on one collection, started for a round, which work off a backlog."""

    PROCESSES, COUNT, MILLISECONDS = 4, 10_000, 20

    def __init__(self, server: Server, collection: Any, bound: Any) -> None:
        self.collection = collection
        self._command = [sys.executable, CHILD, server.uri, collection.name, json.dumps(bound)]
        self.children: list[subprocess.Popen[str]] = []
        self.runs: list[dict[str, float]] = []

    def before(self) -> None:
        once = DateTrigger(now() - timedelta(minutes=1))
        jobs = (due_job(number, self.MILLISECONDS, once) for number in range(self.COUNT))
        self.collection.insert_many(map(make_document, jobs), ordered=False)
        self.collection.database.client.admin.command("fsync")
        self.children = [  # only those of this round: the idle ones of another would take time
            subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(self.PROCESSES)
        ]
        for child in self.children:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"

    def _say(self, word: str) -> None:
        for child in self.children:
            assert child.stdin
            child.stdin.write(f"{word}\n")
            child.stdin.flush()

    def run(self) -> None:
        self._say("go")
        while (
            self.collection.estimated_document_count()
        ):  # O(1): a count would slow the server down
            time.sleep(0.02)
        self._say("end")
        self.runs = [json.loads(child.stdout.readline()) for child in self.children if child.stdout]

    def check(self) -> None:
        """End the processes, and assert that each job ran once."""
        for child in self.children:
            child.communicate()
        assert sum(each["runs"] for each in self.runs) == self.COUNT

    def spread(self) -> str:
        """Say how many jobs each process ran, and how early each one ended before the last."""
        last = max(each["last"] for each in self.runs)
        each = ", ".join(f"{run['runs']} until -{last - run['last']:.1f} s" for run in self.runs)
        return f"{self.collection.name}: {each}"

    def variant(self) -> Variant:
        return Variant(self.run, self.COUNT, before=self.before, after=self.check)


@pytest.mark.check
def test_makespan(measure: Any, report: Any, server: Server, client: Any) -> None:
    """10,000 jobs of 20 ms for four processes of 10 threads; the ideal is 5 s."""
    groups = [
        Sharing(server, client["bench"][f"shared by four, {name}"], bound)
        for name, bound in BOUNDS.items()
    ]
    times = measure(*(each.variant() for each in groups), rounds=1)
    for group in groups:
        print(group.spread())
    ideal = Sharing.MILLISECONDS * 1_000 / (Sharing.PROCESSES * WORKERS)
    values = {**values_of(times, *BOUNDS), "ideal": ideal}
    row = "makespan of 10,000 jobs of 20 ms, four processes that share"
    report(TABLE, row, values, "auto / ideal", target=1.15, at_most=True)
