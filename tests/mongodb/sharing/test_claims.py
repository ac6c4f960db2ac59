"""The claim protocol, checked in every order of its steps, which are real commands.

Two schedulers run a cycle each, and a third actor acts at any moment. A step is a command that
finds, claims or writes jobs. Everything else that a scheduler does, such as submitting jobs, is
invisible to the others until its next command. The last command of a cycle is no step, as its
answer changes nothing. A `find` and all until the next step change nothing for the others: they see
no submission. At the end all leases end, and another scheduler runs the jobs that are left.
"""

import logging
from types import SimpleNamespace

import pytest
from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb.sharing import candidates, claims, lease, unrunnable
from jobstore.mongodb.writes import write_behind
from support.commands import Commands
from support.interleavings import choose, every_order, step
from support.jobs import YEARS, at, job
from support.manual_scheduler import by_hand
from support.shared_stores import Clock

pytestmark = pytest.mark.slow

LATER = at(YEARS).timestamp()


class Steps(Commands):
    """Makes each command a step, except for the last one of a cycle."""

    def started(self, event):
        if event.command_name != "aggregate":
            step(only_reads=event.command_name == "find")


class Executor(BaseExecutor):
    def __init__(self, fired):
        super().__init__()
        self.fired = fired

    def submit_job(self, job, run_times):
        self._do_submit_job(job, run_times)  # without counting instances

    def _do_submit_job(self, job, run_times):
        self.fired.append(job.id)


class RunTwiceLog(logging.Handler):
    def __init__(self):
        super().__init__()
        self.ids = []

    def emit(self, record):
        if "runs twice" in record.msg:
            self.ids.append(record.args[0])


class World:
    """The collection, the schedulers, and the ids of the jobs fired."""

    def __init__(self, server, name, monkeypatch):
        # Writes that are not durable are fast; each test runs thousands of cycles.
        fast = {"w": 1, "journal": False}
        self.plain = MongoClient(server.uri, **fast)
        self.stepped = MongoClient(server.uri, event_listeners=[Steps()], **fast)
        self.jobs = self.plain[name]["jobs"]
        self.fired, self.documents = [], []
        self.windows = 1
        self.log = RunTwiceLog()
        self.clock = Clock(self.jobs)
        for module in (lease, claims, unrunnable):
            monkeypatch.setattr(module, "time", self.clock)
        monkeypatch.setattr(candidates, "rng", SimpleNamespace(randrange=choose))
        monkeypatch.setattr(claims, "rng", SimpleNamespace(uniform=min))
        monkeypatch.setattr(write_behind, "FLUSH_SECONDS", 3600)  # a cycle may stand still
        self.schedulers = [self.scheduler(name, self.stepped) for _ in range(2)]
        self.last = self.scheduler(name, self.plain)
        self.ours = MongoDBJobStore(name, client=self.plain, shared=True, watch=False)
        self.stock = StockMongoDBJobStore(name, client=self.plain)
        self.stores = [each._lookup_jobstore("default") for each in self.schedulers]

    def scheduler(self, name, client):
        store = MongoDBJobStore(name, client=client, shared=True, watch=False)
        scheduler = by_hand(store)
        scheduler._executors["default"] = Executor(self.fired)
        store._logger.addHandler(self.log)
        return scheduler

    def begin(self, jobs):
        self.jobs.delete_many({})
        self.ours.add_jobs(jobs)
        for store in self.stores:
            store._write_behind.forget()  # a scheduler that was killed leaves writes
            store._cycles.clear()
            store._reader._unread_claim = None
            store._reader._candidates._windows = self.windows
        self.fired.clear()
        self.log.ids.clear()

    def end(self):
        """Let all leases end, and run the jobs that are left."""
        self.clock.advance(11)
        while self.last._process_jobs() == 0:
            pass
        self.documents = {each["_id"]: each for each in self.jobs.find()}

    def close(self):
        for store in [*self.stores, self.last._lookup_jobstore("default")]:
            store._logger.removeHandler(self.log)
            store.shutdown()
        self.plain.close()
        self.stepped.close()


@pytest.fixture
def world(server, database, monkeypatch):
    world = World(server, database.name, monkeypatch)
    yield world
    world.close()


def explore(world, jobs, check, meanwhile=None):
    """Run a cycle of each scheduler, and `meanwhile`, in every order."""

    def prepare():
        world.begin(jobs)
        cycles = [lambda _, each=each: each._process_jobs() for each in world.schedulers]
        return [*cycles, meanwhile] if meanwhile else cycles

    def check_all(order):
        world.end()
        try:
            check()
        except AssertionError as error:
            raise AssertionError(f"in the order {order}, fired: {world.fired}") from error

    return every_order(prepare, check_all)


def is_run(world, name, ends):
    """Return whether a job's document has its next run time, or was removed."""
    if ends:
        return name not in world.documents
    return world.documents[name]["next_run_time"] == LATER


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize(("at_a_time", "windows", "least"), [(1, 1, 50), (1, 2, 50), (2, 1, 25)])
def test_every_job_runs_exactly_once(world, ends, at_a_time, windows, least):
    """This holds for each window that a scheduler may pick."""
    world.windows = windows
    for store in world.stores:
        store._hand_out._batch_size = at_a_time
    jobs = [job("a", every=None if ends else YEARS), job("b", 0)]

    def check():
        assert sorted(world.fired) == ["a", "b"]
        assert world.log.ids == []
        assert is_run(world, "a", ends)

    assert explore(world, jobs, check) > least


@pytest.mark.parametrize("ends", [False, True])
def test_every_second_run_is_logged_when_leases_end(world, ends):
    """Both schedulers pause for longer than the lease, at any moment."""

    def check():
        assert 1 <= len(world.fired) <= 2
        assert world.fired[1:] == world.log.ids
        assert is_run(world, "a", ends)

    def advance(_):
        step()
        world.clock.advance(11)

    jobs = [job("a", every=None if ends else YEARS)]
    assert explore(world, jobs, check, advance) > 100


@pytest.mark.parametrize("ends", [False, True])
def test_a_crash_at_any_moment_loses_nothing(world, ends):
    def check():
        assert 1 <= len(world.fired) <= 2
        assert world.log.ids == []
        assert is_run(world, "a", ends)

    def kill(actors):
        step()
        actors[0].is_killed = True

    assert explore(world, [job("a", every=None if ends else YEARS)], check, kill) > 100


CHANGES = {
    "removed": (lambda world: world.jobs.delete_one({"_id": "a"}), [0, 1]),
    "paused": (lambda world: world.ours.update_job(job("a", None, args=(1,))), [0, 1]),
    # A change unsets the lease, so another scheduler may claim the job before the first fires it.
    "modified": (lambda world: world.ours.update_job(job("a", 0, args=(1,))), [1, 2]),
    "modified by a stock store": (lambda world: change_by_stock(world), [1]),
}


def change_by_stock(world):
    world.stock.update_job(job("a", 0, args=(1,)))


@pytest.mark.parametrize("how", CHANGES)
def test_changes_by_others_win_at_any_moment(world, how):
    change, times = CHANGES[how]

    def meanwhile(_):
        step()
        if world.jobs.find_one({"_id": "a", "next_run_time": at(0).timestamp()}):
            change(world)
            world.changed = True

    def check():
        assert len(world.fired) in (times if world.changed else [1])
        document = world.documents.get("a")
        if how == "removed":
            assert document is None or not world.changed
            return
        args = world.ours.lookup_job("a").args
        assert args == ((1,) if world.changed else ())
        paused = how == "paused" and world.changed
        assert document["next_run_time"] == (None if paused else LATER)

    def jobs():
        world.changed = False
        return [job("a")]

    assert explore(world, FreshJobs(jobs), check, meanwhile) > 100


class FreshJobs:
    """Makes a new list of jobs for each iteration."""

    def __init__(self, make):
        self._make = make

    def __iter__(self):
        return iter(self._make())
