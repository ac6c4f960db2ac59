"""Helpers for the tests of the mirrored store and of wake-ups."""

import gc
import threading
from collections import defaultdict
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from jobstore import MongoDBJobStore
from jobstore.mongodb.mirroring.mirror import NotLiveError
from support.jobs import at, job
from support.manual_scheduler import by_hand
from support.waiting import until


@pytest.fixture
def start(server, database):
    """Return a function that starts a manual scheduler on a mirrored store."""
    stores = []

    def start(uri=server.uri, **options):
        stores.append(MongoDBJobStore(database.name, host=uri, mirror=True, **options))
        return by_hand(stores[-1]), stores[-1]

    yield start
    for store in stores:
        store.shutdown()


def documents(store):
    """Return the documents by id, without their texts, which no mirror keeps."""
    found = store._connection.jobs.find({}, {"about": False})
    return {each["_id"]: each for each in found}


def mirrored(store):
    """Return the mirror's documents by id, or None while the mirror is not live."""
    try:
        return {each["_id"]: each for each in store._reader.mirror.all()}
    except NotLiveError:
        return None


def own_threads():
    """Return the threads of all stores, but for those that earlier tests have dropped."""
    gc.collect()
    return [each for each in threading.enumerate() if each.name.startswith("jobstore-")]


def is_quiet(store):
    """Return whether all changes are written, and the change stream has shown them."""
    return not store._write_behind.has_pending and not store._reader.mirror._unconfirmed


def wait_until_equal(store):
    """Wait until the mirror and the collection are equal."""
    until(lambda: is_quiet(store) and mirrored(store) == documents(store))


def wait_until_live(store):
    """Wait until the mirror is live again."""
    until(
        lambda: (
            not store._write_behind.has_pending
            and store._reader.mirror.caught_up(store._reader.awaited_time)
        )
    )
    store.get_due_jobs(at(-1))
    assert store._reader.is_live


class Runs(BaseExecutor):
    """Records the submitted run times of each job."""

    def __init__(self):
        super().__init__()
        self.times = defaultdict(list)

    def _do_submit_job(self, job, run_times):
        self.times[job.id] += run_times
        self._run_job_success(job.id, [])


def run(store, kind=BackgroundScheduler, executor=Runs, **options):
    scheduler = kind(timezone="UTC", **options)
    scheduler.executor = executor()
    scheduler.add_executor(scheduler.executor, "default")
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    return scheduler


def regular(name, every=5, start=None):
    """Make a job that is due every `every` seconds, from `start` or one second from now.

    It doesn't coalesce, so each run time must be submitted.
    """
    start = start or datetime.now(timezone.utc) + timedelta(seconds=1)
    return job(
        name,
        trigger=IntervalTrigger(seconds=every, start_date=start, timezone="UTC"),
        next_run_time=start,
        coalesce=False,
        max_instances=99,
    )
