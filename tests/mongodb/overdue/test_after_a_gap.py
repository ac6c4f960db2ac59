"""A scheduler in its own process starts an hour late, with 2,000 overdue jobs."""

import json
import subprocess
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.triggers.interval import IntervalTrigger

from jobstore import MongoDBJobStore
from support.jobs import YEARS, job, run_times
from support.overdue import EVERY_MODE
from support.programs import command, environment

pytestmark = pytest.mark.slow

COUNT = 2_000
GAP = timedelta(hours=1)


class Process:
    """A scheduler's process, and what it has reported."""

    def __init__(self, server, database, **options):
        arguments = [server.uri, database.name, json.dumps(options)]
        self.process = subprocess.Popen(
            command("catch_up", *arguments),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.read_until("started")

    def read_until(self, kind, count=1):
        """Return the reports up to the last of so many of a kind."""
        reports = []
        while sum(each[0] == kind for each in reports) < count:
            line = self.process.stdout.readline()
            assert line, "the process has ended"
            reports.append(line.split())
        return reports

    def release(self):
        self.process.stdin.write("release\n")
        self.process.stdin.flush()

    def stop(self):
        """Close its input, and return the reports that remain."""
        self.process.stdin.close()
        reports = [line.split() for line in self.process.stdout]
        assert self.process.wait(60) == 0
        return reports


@contextmanager
def running(server, database, **options):
    process = Process(server, database, **options)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait()
        process.process.stdout.close()


@pytest.fixture
def store(database):
    """A store with the overdue jobs: half of them end, and the others repeat in ten years."""
    store = MongoDBJobStore(database.name, client=database.client)
    first = datetime.now(timezone.utc) - GAP
    jobs = []
    for i in range(COUNT):
        run_time = first + timedelta(milliseconds=i)
        trigger = IntervalTrigger(seconds=YEARS, start_date=run_time, timezone="UTC")
        options = {} if i % 2 else {"trigger": trigger}
        jobs.append(job(f"{i:04}", 0, every=None, next_run_time=run_time, **options))
    store.add_jobs(jobs)
    return store


def reported(reports, kind):
    return [each[1] for each in reports if each[0] == kind]


@EVERY_MODE
def test_fire_runs_all_of_them_at_once(server, database, store, mode):
    with running(server, database, catch_up="fire", **mode) as process:
        reports = process.read_until("run", COUNT)
        assert sorted(reported(reports, "run")) == [f"{i:04}" for i in range(COUNT)]
        assert process.stop() == []
    assert len(run_times(store)) == COUNT / 2


@EVERY_MODE
def test_skip_runs_none_of_them(server, database, store, mode):
    with running(server, database, catch_up="skip", **mode) as process:
        assert process.stop() == []
    times = run_times(store)
    assert sorted(times) == [f"{i:04}" for i in range(0, COUNT, 2)]
    assert min(times.values()) > (datetime.now(timezone.utc) + GAP).timestamp()


@EVERY_MODE
def test_spread_runs_each_of_them_once_over_the_time(server, database, store, mode):
    with running(server, database, catch_up="spread:4", **mode) as process:
        reports = process.read_until("run", COUNT)
        assert sorted(reported(reports, "run")) == [f"{i:04}" for i in range(COUNT)]
        assert process.stop() == []
    times = sorted(float(each[2]) for each in reports)
    assert 3 < times[-1] - times[0] < 4
    for tenth in range(10):  # as many in each tenth of the time
        start = times[0] + (times[-1] - times[0]) * tenth / 10
        end = start + (times[-1] - times[0]) / 10
        assert abs(sum(start <= each < end for each in times) - COUNT / 10) < 5


@EVERY_MODE
def test_hold_runs_none_of_them_until_they_are_released(server, database, store, mode):
    with running(server, database, catch_up="hold", **mode) as process:
        assert set(run_times(store).values()) == {None}
        process.release()
        reports = process.read_until("run", COUNT) + process.stop()
    assert sorted(reported(reports, "run")) == [f"{i:04}" for i in range(COUNT)]
    assert reported(reports, "released") == [str(COUNT)]


def test_start_that_is_killed_half_way_is_completed_by_the_next(server, database, store):
    """Whatever moment it is killed at, a job is either overdue or caught up with."""
    arguments = [server.uri, database.name, json.dumps({"catch_up": "hold"})]
    for _ in range(3):
        process = subprocess.Popen(
            command("catch_up", *arguments),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        while process.poll() is None and not any(
            each is None for each in run_times(store).values()
        ):
            pass
        process.kill()
        process.communicate()
    with running(server, database, catch_up="hold") as process:
        assert process.stop() == []
    assert run_times(store) == dict.fromkeys(f"{i:04}" for i in range(COUNT))
    assert store.release_held() == COUNT
