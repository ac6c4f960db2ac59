"""Memory stores with a bound on runs in flight, and jobs that wait at a gate."""

from threading import Event, Lock

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

from jobstore import MemoryJobStore
from support.jobs import job
from support.manual_scheduler import ByHand

STORE = "jobstore:MemoryJobStore"
SCHEDULERS = [BackgroundScheduler, BlockingScheduler, AsyncIOScheduler]


class Gate:
    """The function of jobs that wait until the test opens the gate; counts the runs."""

    def __init__(self):
        self._open = Event()
        self._lock = Lock()
        self.begun = self.ended = self.most = 0

    def __call__(self):
        with self._lock:
            self.begun += 1
            self.most = max(self.most, self.begun - self.ended)
        assert self._open.wait(60)
        with self._lock:
            self.ended += 1

    def open(self):
        self._open.set()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.open()  # even if the test fails: a scheduler's shutdown waits for the runs


@pytest.fixture
def gate():
    with Gate() as gate:
        yield gate


class Looking(MemoryJobStore):
    """Records how many jobs each cycle got."""

    def __init__(self, **options):
        super().__init__(**options)
        self.handed_out = []

    def get_due_jobs(self, now):
        jobs = super().get_due_jobs(now)
        self.handed_out.append(len(jobs))
        return jobs


def scheduler_of(store, kind=BackgroundScheduler, **executors):
    return kind(jobstores={"default": store}, executors=executors, timezone="UTC")


def due_jobs(number, name="job", **options):
    return [job(f"{name}-{n:05}", n / 1e6, every=None, **options) for n in range(number)]


def in_flight_of(executor):
    return sum(executor._instances.values())


def by_hand(store, executor, **options):
    scheduler = ByHand(executors={"default": executor}, timezone="UTC", **options)
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    return scheduler
