"""Helpers for the tests of presence and of hot standbys."""

import re
import time

import pytest
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb.presence import presence
from support.commands import Commands
from support.manual_scheduler import ByHand, Submissions
from support.waiting import until

__all__ = [
    "ask",
    "beat",
    "documents",
    "expire",
    "firing_one",
    "lease_of",
    "lose_lease",
    "presence_of",
    "scheduler_on",
    "standing",
    "states",
    "submitted",
]

NEVER = 1e9  # seconds
SCHEDULERS = re.compile("^scheduler:")
# A test waits for events, and no beat or lease is over before it ends.
LEASE = 3600


def silence(monkeypatch):
    """Let no thread write presences, or look at the collection, after the start."""
    monkeypatch.setattr(presence, "FIRST_SECONDS", NEVER)
    monkeypatch.setattr(presence, "BEAT_SECONDS", NEVER)
    monkeypatch.setattr(presence, "VALID_SECONDS", 3 * NEVER)


@pytest.fixture
def scheduler_on(server, database):
    """Return a function that starts a manual scheduler on a store with a client of its own.

    With `start=False` it only makes the scheduler.
    """
    clients, schedulers = [], []

    def scheduler_on(uri=server.uri, start=True, **options):
        clients.append(MongoClient(uri, event_listeners=[Commands()], retryWrites=False))
        options = {"watch": False, "lease": LEASE, **options}
        store = MongoDBJobStore(database.name, client=clients[-1], **options)
        scheduler = ByHand(timezone="UTC", jobstore_retry_interval=10)
        scheduler.executor, scheduler.store = Submissions(), store
        scheduler.add_executor(scheduler.executor, "default")
        scheduler.add_jobstore(store, "default")
        schedulers.append(scheduler)
        if start:
            scheduler.start()
        return scheduler

    yield scheduler_on
    for scheduler in schedulers:
        scheduler.store.shutdown()
    for client in clients:
        client.close()


def documents(database):
    """Return the documents of all presences, in the order in which they started."""
    return list(database["jobs_meta"].find({"_id": SCHEDULERS}).sort("started"))


def presence_of(store):
    return store._lifecycle._presence


def lease_of(database):
    """Return the document of the firing lease."""
    return database["jobs_meta"].find_one("firing")


def beat(store):
    """Let the store's thread write its presence at once, and wait for that."""
    presence = presence_of(store)
    query = {"_id": presence.name}
    meta = store.collection.database["jobs_meta"]
    before = meta.find_one(query)["seen"]
    presence.beat_soon()
    store._lifecycle.beating.go_on()
    until(lambda: meta.find_one(query)["seen"] > before)
    until(lambda: presence._next_beat > 0)


def standing(scheduler):
    """Run a cycle; return whether the store stands by."""
    scheduler._process_jobs()
    return scheduler.store._firing.stands_by


def expire(database, **query):
    """Let leases end, and presences, as if nobody had written them for long."""
    is_expiring = {"expires": {"$type": "date"}, **query}
    database["jobs_meta"].update_many(is_expiring, [{"$set": {"expires": "$$NOW"}}])


def submitted(scheduler):
    """Run a cycle, and return the ids of the submitted jobs."""
    before = len(scheduler.executor.submitted)
    scheduler._process_jobs()
    return [job_id for job_id, _ in scheduler.executor.submitted[before:]]


def firing_one(standby_on, **options):
    """Start a scheduler that has taken over."""
    scheduler = standby_on(**options)
    until(lambda: not standing(scheduler))
    return scheduler


def states(database):
    return [each["state"] for each in documents(database)]


def lose_lease(scheduler):
    """Let the scheduler's lease end by its own clock, before the next renewal."""
    scheduler.store._firing.lease.ends_at = scheduler.store._firing._until = time.monotonic() - 1


def ask(scheduler):
    """Let the scheduler's thread ask for the lease at once."""
    scheduler.store._firing.next_request = -1.0
    scheduler.store._lifecycle.beating.go_on()
