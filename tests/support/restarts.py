"""Helpers for the tests of a start after a process has ended without a shutdown."""

import os

import pytest
from bson import ObjectId

from jobstore import MongoDBJobStore
from support.jobs import job
from support.manual_scheduler import by_hand

__all__ = [
    "MODES",
    "Killed",
    "attempt_counts",
    "count_presences",
    "cycle",
    "cycles",
    "end_uncleanly",
    "expire_presences",
    "in_another_process",
    "jobs",
    "restart",
    "run_until_killed",
]

MODES = {
    "queried": {},
    "mirrored": {"mirror": True},
    "exclusive": {"mirror": "exclusive"},
    "shared": {"shared": True, "lease": 3},
}


@pytest.fixture
def in_another_process(monkeypatch):
    """Return a function after whose call this process makes the tokens of another process."""

    def go():
        monkeypatch.setattr(ObjectId, "_ObjectId__random", os.urandom(5))

    return go


@pytest.fixture
def restart(server, database, in_another_process):
    """Return a function that starts a manual scheduler. The one before it ends without a shutdown.

    Each scheduler is as if in a process of its own.
    """
    stores = []

    def restart(then=None, **options):
        if stores:
            end_uncleanly(stores[-1])
            in_another_process()
        stores.append(MongoDBJobStore(database.name, host=server.uri, watch=False, **options))
        return by_hand(stores[-1], then)

    restart.in_another_process = in_another_process
    yield restart
    for store in stores:
        store.shutdown()


def end_uncleanly(store):
    """Let a store's scheduler end as if its process had been killed some time ago."""
    store._write_behind.forget()
    if store._lifecycle.beating:
        store._lifecycle.beating.stop()
        expire_presences(store.collection.database)


def expire_presences(database):
    """Let others ignore all presences, as if none had been written for a while."""
    query = {"_id": {"$regex": "^scheduler:"}}
    database["jobs_meta"].update_many(query, [{"$set": {"expires": "$seen"}}])


def cycle(scheduler):
    """Run one cycle, and return the submitted ids."""
    before = len(scheduler.executor.submitted)
    scheduler._process_jobs()
    return [job_id for job_id, _ in scheduler.executor.submitted[before:]]


def cycles(scheduler):
    """Run cycles until nothing is due, and return the number of submitted jobs of each."""
    return [len(submitted) for submitted in iter(lambda: cycle(scheduler), [])]


def attempt_counts(database):
    return {
        each["_id"]: each["attempts"]["count"]
        for each in database["jobs"].find({"attempts": {"$ne": None}})
    }


def count_presences(database):
    return database["jobs_meta"].count_documents({"_id": {"$regex": "^scheduler:"}})


class Killed(BaseException):
    """Stands for the end of the process."""


def run_until_killed(scheduler):
    """Run cycles until the job "culprit" ends the process: its update raises `Killed`."""
    store = scheduler._lookup_jobstore("default")

    def end(*args):
        raise Killed

    def then(job):
        if job.id == "culprit":
            store.update_job = end

    scheduler.executor.then = then
    with pytest.raises(Killed):
        cycles(scheduler)


def jobs(store, count):
    store.add_jobs([job(f"{n:04}", n) for n in range(count)])
