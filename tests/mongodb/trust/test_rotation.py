"""Keys are introduced, and then replaced, under four running schedulers: no job is quarantined."""

import threading
from datetime import datetime, timezone

import pytest
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb.trust import keys
from support.jobs import job
from support.signed_stores import KEY, NEW_KEY, reasons
from support.waiting import until

JOBS = 40
THIRD_KEY = b"a third key of tests"
QUARANTINED = {"quarantine": {"$exists": True}}


class Runs(BaseExecutor):
    """Runs nothing, and adds the ids of the jobs that it takes to a list."""

    def __init__(self, ids):
        super().__init__()
        self._ids = ids

    def _do_submit_job(self, job, run_times):
        self._ids.append(job.id)
        self._run_job_success(job.id, [])


class Fleet:
    """Four schedulers that share a collection, and restart one by one."""

    def __init__(self, uri, database):
        self.uri, self.database = uri, database
        self.running, self.clients = [None] * 4, []
        self.ids = []

    def restart(self, place, **options):
        """Restart one scheduler, with these options of its store."""
        self.stop(place)
        self.clients.append(MongoClient(self.uri))
        scheduler = BackgroundScheduler(timezone="UTC")
        scheduler.add_executor(Runs(self.ids), "default")
        store = MongoDBJobStore(
            self.database.name, client=self.clients[-1], shared=True, lease=2, **options
        )
        scheduler.add_jobstore(store, "default")
        scheduler.start()
        self.running[place] = scheduler

    def stop(self, place):
        if self.running[place]:
            self.running[place].shutdown()
            self.running[place] = None

    def wait_for_runs(self):
        """Wait until each job has run again."""
        self.ids.clear()
        until(lambda: len(set(self.ids)) == JOBS)

    def signed_by(self, *known):
        """Wait until every state is signed by the first of these keys."""
        until(lambda: not reasons(self.database["jobs"], known[:1]))


@pytest.fixture
def fleet(server, database):
    fleet = Fleet(server.uri, database)
    yield fleet
    for place in range(4):
        fleet.stop(place)
    for client in fleet.clients:
        client.close()


@pytest.fixture
def watched(database):
    """Fail the test if any job goes into quarantine at any time."""
    ended, seen = threading.Event(), []

    def watch():
        while not ended.wait(0.01):
            seen.extend(database["jobs"].find(QUARANTINED, ["quarantine"]))

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    ended.set()
    thread.join()
    assert seen == []


def add_jobs(database, **options):
    store = MongoDBJobStore(database.name, client=database.client, **options)
    now = datetime.now(timezone.utc)
    trigger = IntervalTrigger(seconds=0.2, start_date=now, timezone="UTC")
    store.add_jobs([job(f"{n:02}", trigger=trigger, next_run_time=now) for n in range(JOBS)])


@pytest.mark.usefixtures("watched")
def test_keys_are_introduced_while_jobs_run(fleet, database):
    add_jobs(database)
    for place in range(4):
        fleet.restart(place)
    fleet.wait_for_runs()
    for place in range(4):  # the others, without keys, run jobs that have signatures meanwhile
        fleet.restart(place, signing_keys=[KEY], unsigned="run")
        fleet.wait_for_runs()
    fleet.signed_by(KEY)
    for place in range(4):
        fleet.restart(place, signing_keys=[KEY])
        fleet.wait_for_runs()
    fleet.signed_by(KEY)


@pytest.mark.usefixtures("watched")
def test_keys_are_replaced_twice_while_jobs_run(fleet, database, monkeypatch):
    """The second time, the schedulers have to wait before they may ask for their keys again."""
    monkeypatch.setattr(keys, "ASK_SECONDS", 1.0)
    current = [KEY]
    add_jobs(database, signing_keys=[KEY])
    for place in range(4):
        fleet.restart(place, signing_keys=lambda: list(current))
    fleet.wait_for_runs()
    for new in (NEW_KEY, THIRD_KEY):
        current.insert(0, new)
        fleet.restart(0, signing_keys=lambda: list(current))  # it signs with the new key first
        fleet.signed_by(new)
        fleet.wait_for_runs()
    del current[1:]
    for place in range(4):
        fleet.restart(place, signing_keys=lambda: list(current))
        fleet.wait_for_runs()


@pytest.mark.usefixtures("watched")
def test_key_is_replaced_in_lists_by_two_restarts_each(fleet, database):
    """All have to know the new key before the first one signs with it."""
    add_jobs(database, signing_keys=[KEY])
    for known in ([KEY], [KEY, NEW_KEY], [NEW_KEY, KEY], [NEW_KEY]):
        for place in range(4):
            fleet.restart(place, signing_keys=known)
            fleet.wait_for_runs()
        fleet.signed_by(known[0])
