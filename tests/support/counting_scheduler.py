"""Helpers for the tests of `jobstore.add_jobs`: stores, a counting scheduler, jobs to add."""

from datetime import datetime, timedelta, timezone

from apscheduler.events import EVENT_JOB_ADDED
from apscheduler.job import Job
from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore
from apscheduler.schedulers.base import BaseScheduler

import jobstore
from jobstore import ConflictingIdError, ConflictingIdsError
from support.memory_stores import LoopingStore

FUTURE = datetime(2100, 1, 1, tzinfo=timezone.utc)


def work():
    pass


def task(first, *, second=None):
    pass


STORES = {"stock": StockMemoryJobStore, "looping": LoopingStore, "ours": jobstore.MemoryJobStore}


class CountingScheduler(BaseScheduler):
    """Runs no job; counts its wake-ups, and records the jobs that it announces as added."""

    wakeups = 0

    def __init__(self, store, start=True, **options):
        super().__init__(jobstores={"default": store}, timezone="UTC", **options)
        self.store = store
        if start:
            self.start()
        self.forget()
        self.add_listener(self._keep, EVENT_JOB_ADDED)

    def _keep(self, event):
        self.announced.append((event.job_id, event.jobstore))

    def forget(self):
        self.wakeups = 0
        self.announced = []

    def wakeup(self):
        self.wakeups += 1

    def shutdown(self, wait=True):
        super().shutdown(wait)

    @property
    def stored(self):
        return [state(job) for job in self.store.get_all_jobs()]

    @property
    def stored_ids(self):
        return sorted(job.id for job in self.store.get_all_jobs())


def state(job):
    """Return the whole state of a job for comparison, as `==` of jobs compares only ids."""
    return {**job.__getstate__(), "trigger": repr(job.trigger), "pending": job.pending}


def loop(scheduler, jobs, **options):
    """Add jobs one by one: the reference for `add_jobs`."""
    added, refused = [], []
    for job in jobs:
        try:
            added.append(scheduler.add_job(**job, **options))
        except ConflictingIdError:
            refused.append(job["id"])
    if refused:
        raise ConflictingIdsError(refused)
    return added


def named(*job_ids, **arguments):
    """Make jobs with distinct run times, which distinguish jobs with equal ids."""
    return [
        {"func": work, "id": job_id, "run_date": FUTURE + timedelta(days=day), **arguments}
        for day, job_id in enumerate(job_ids)
    ]


def ready(*job_ids, **arguments):
    return [
        Job(None, job_id, func=work, args=(), kwargs={}, executor="default", **arguments)
        for job_id in job_ids
    ]
