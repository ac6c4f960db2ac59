"""Schedulers with an executor that refuses jobs, until the test mends it."""

import pytest

from jobstore import submissions
from support.jobs import job
from support.manual_scheduler import ByHand, Submissions
from support.mirrored_stores import is_quiet
from support.waiting import until

__all__ = [
    "MODES",
    "RETRY_SECONDS",
    "cycle",
    "documents",
    "mode",
    "refused",
    "retry_clock",
    "start_unsteady",
    "unsteady",
    "unsteady_store",
]

MODES = {
    "queried": {"shared": False},
    "mirrored": {"shared": False, "mirror": True},
    "shared": {},
}
RETRY_SECONDS = 60  # the same in all modes here


class Unsteady(Submissions):
    """Records the jobs that it takes, and refuses all while `is_broken`."""

    is_broken = True

    def __init__(self):
        super().__init__()
        self.tries = []

    def submit_job(self, job, run_times):
        self.tries.append(job.id)
        if self.is_broken:
            raise OSError("broken")
        super().submit_job(job, run_times)


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def retry_clock(clock, monkeypatch):
    """Return the clock of the retries, too."""
    monkeypatch.setattr(submissions, "time", clock)
    return clock


@pytest.fixture
def unsteady_store(make, mode):
    """Return the store of the scheduler `unsteady`."""
    return make(start=False, **MODES[mode])


@pytest.fixture
def unsteady(unsteady_store, retry_clock):
    """Return a scheduler whose executor "unsteady" is broken."""
    return start_unsteady(unsteady_store)


def start_unsteady(store):
    """Start a scheduler whose executor "unsteady" is broken."""
    scheduler = ByHand(timezone="UTC", jobstore_retry_interval=RETRY_SECONDS)
    scheduler.executor, scheduler.unsteady = Submissions(), Unsteady()
    scheduler.add_executor(scheduler.executor, "default")
    scheduler.add_executor(scheduler.unsteady, "unsteady")
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    return scheduler


def cycle(scheduler):
    """Run one cycle; return the ids of the jobs that executors took, and the wait in seconds."""
    executors = scheduler.executor, scheduler.unsteady
    for executor in executors:
        executor.submitted.clear()
    wait = scheduler._process_jobs()
    store = scheduler._lookup_jobstore("default")
    if store._reader.is_live:
        until(lambda: is_quiet(store))
    return [job_id for executor in executors for job_id, _ in executor.submitted], wait


def refused(name, seconds=0, **options):
    """Make a job of the executor "unsteady"."""
    return job(name, seconds, executor="unsteady", **options)


def documents(store):
    """Return all documents by id, without what a claim writes."""
    return {
        each["_id"]: {key: each[key] for key in each if not key.startswith("acquired_")}
        for each in store.collection.find()
    }
