"""What the tests of the mirrored store, and of wake-ups, share."""

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
    """Starts a scheduler, run by hand, on a mirrored store."""
    stores = []

    def start(uri=server.uri, **options):
        stores.append(MongoDBJobStore(database.name, host=uri, mirror=True, **options))
        return by_hand(stores[-1]), stores[-1]

    yield start
    for store in stores:
        store.shutdown()


def documents(store):
    return {each["_id"]: each for each in store._connection.jobs.find()}


def mirrored(store):
    """None while the mirror is not live."""
    try:
        return {each["_id"]: each for each in store._reader.mirror.all()}
    except NotLiveError:
        return None


def own_threads():
    return [each for each in threading.enumerate() if each.name.startswith("jobstore-")]


def is_quiet(store):
    """Whether all is written, and the stream has told it."""
    return not store._write_behind.waits and not store._reader.mirror._ahead


def wait_until_equal(store):
    """Wait until mirror and collection are equal."""
    until(lambda: is_quiet(store) and mirrored(store) == documents(store))


def wait_until_live(store):
    """Wait until the mirror is back, and live."""
    until(lambda: store._reader.mirror.caught_up(store._connection.write_time))
    store.get_due_jobs(at(-1))
    assert store._reader.is_live


class Runs(BaseExecutor):
    """Notes which due times of each job were submitted, and how late, in seconds."""

    def __init__(self):
        super().__init__()
        self.times = defaultdict(list)
        self.late = []

    def _do_submit_job(self, job, run_times):
        self.times[job.id] += run_times
        self.late.append((datetime.now(timezone.utc) - run_times[-1]).total_seconds())
        self._run_job_success(job.id, [])


def run(store, kind=BackgroundScheduler, executor=Runs, **options):
    scheduler = kind(timezone="UTC", **options)
    scheduler.executor = executor()
    scheduler.add_executor(scheduler.executor, "default")
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    return scheduler


def regular(name, every=5, start=None):
    """A job due every so many seconds, from now on; each due time is to be submitted."""
    start = start or datetime.now(timezone.utc) + timedelta(seconds=1)
    return job(
        name,
        trigger=IntervalTrigger(seconds=every, start_date=start, timezone="UTC"),
        next_run_time=start,
        coalesce=False,
        max_instances=99,
    )
