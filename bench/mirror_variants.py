"""The mirrored MongoDB store and its rivals: the memory store, and only the pickles."""

import pickle
import time
from datetime import timedelta
from typing import Any

from apscheduler.job import Job
from mongodb_variants import CycleVariant, make_job, now

import jobstore

__all__ = ["MemoryVariant", "MirrorVariant", "Pickles", "mirrored", "wait_for"]


def mirrored(client: Any, collection: str = "mirrored", **options: Any) -> Any:
    return jobstore.MongoDBJobStore("bench", collection, client=client, mirror=True, **options)


def wait_for(condition: Any) -> None:
    while not condition():
        time.sleep(0.001)


class MirrorVariant(CycleVariant):
    """A round starts once the change stream has delivered the due jobs.

    It ends once the store has written all changes.
    """

    def make_due(self) -> None:
        super().make_due()
        wait_for(lambda: len(self.store._reader.mirror.due(time.time(), self.due)) == self.due)
        self.seconds = 0.0

    def check(self) -> None:
        wait_for(lambda: not self.store.status().pending)
        super().check()


class MemoryVariant(CycleVariant):
    """A scheduler with the same jobs in the memory store."""

    def make_due(self) -> None:
        past = now() - timedelta(minutes=1)
        jobs = [make_job(i, past + timedelta(microseconds=i)) for i in range(self.due)]
        for job in jobs:
            job._jobstore_alias = "default"
            job._scheduler = self.scheduler
        self.store.add_jobs(jobs, replace_existing=True)
        self.seconds = 0.0

    def check(self) -> None:
        self.in_store.append(self.seconds)


class Pickles:
    """Unpickles the states of jobs, and pickles the jobs again."""

    def __init__(self, jobs: list[Job]) -> None:
        self.states = [pickle.dumps(job.__getstate__(), pickle.HIGHEST_PROTOCOL) for job in jobs]

    def go(self) -> None:
        for state in self.states:
            job = Job.__new__(Job)
            job.__setstate__(pickle.loads(state))
            pickle.dumps(job.__getstate__(), pickle.HIGHEST_PROTOCOL)
