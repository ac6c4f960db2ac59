"""Jobs in a memory store whose executors refuse them, and the scheduler's next tries."""

import logging
from concurrent import futures

import pytest
from apscheduler.executors.pool import ThreadPoolExecutor

from jobstore import submissions
from support.clocks import set_by_hand
from support.manual_scheduler import by_hand
from support.memory_stores import memory_store

EVERY = pytest.mark.parametrize("every", [315360000, None], ids=["recurring", "one-off"])
INTERVAL = 10  # seconds: `by_hand` has this jobstore_retry_interval


@pytest.fixture(params=["compiled", "twin"])
def store(request):
    return memory_store(request.param)


@pytest.fixture
def clock(monkeypatch):
    return set_by_hand(monkeypatch, submissions)


def broken_pool(workers=1):
    executor = ThreadPoolExecutor(workers)
    executor._pool.shutdown()
    return executor


def repair(executor):
    executor._pool = futures.ThreadPoolExecutor(1)


class Tries:
    """A scheduler with the executors "default" and "broken", whose cycles a test runs."""

    def __init__(self, store, *jobs, then=None):
        store.add_jobs(jobs)
        self.store = store
        self.scheduler = by_hand(store, then)
        self.broken = broken_pool()
        self.scheduler.add_executor(self.broken, "broken")

    def cycle(self):
        """Run a cycle; return the seconds until the next one."""
        return self.scheduler._process_jobs()

    @property
    def submitted(self):
        return [job_id for job_id, _ in self.scheduler.executor.submitted]


@pytest.fixture
def refused(caplog):
    """Return a function for the ids that APScheduler could not submit so far."""
    caplog.set_level(logging.INFO)

    def refused():
        texts = [record.getMessage() for record in caplog.records]
        return [text.split('"')[1].split(" ")[0] for text in texts if "Error submitting" in text]

    return refused


def ours(caplog):
    return [
        record.getMessage() for record in caplog.records if "did not take" in record.getMessage()
    ]
