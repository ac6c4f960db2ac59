"""Helpers for the tests of many schedulers on one collection."""

import pytest
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb.sharing import claims, lease, unrunnable
from support.commands import Commands
from support.manual_scheduler import by_hand

__all__ = ["Clock", "clock", "ids", "leased", "logged_to_run_twice", "make", "run", "run_all_due"]


@pytest.fixture
def make(server, database):
    """Return a function that makes stores on one collection, each with its own client."""
    clients, stores = [], []

    def make(uri=server.uri, start=True, **options):
        commands = Commands()
        clients.append(MongoClient(uri, event_listeners=[commands]))
        options = {"shared": True, "watch": False, **options}
        store = MongoDBJobStore(database.name, client=clients[-1], **options)
        store.commands = commands
        if start:
            store.start(None, "default")
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.shutdown()
    for client in clients:
        client.close()


class Clock:
    """The monotonic clock of the store's modules. A test can advance or stop it."""

    def __init__(self, collection):
        self._collection = collection
        self.advanced = 0.0
        self.stopped_at = None
        self.time = lease.time.time

    def monotonic(self):
        return (self.stopped_at or CLOCK()) + self.advanced

    def stop(self):
        self.stopped_at = CLOCK()

    def advance(self, seconds):
        """Let time pass for this process and for the server, where leases end earlier."""
        self.advanced += seconds
        self.set_server_forward(seconds)

    def set_server_forward(self, seconds):
        """Let leases end as if the server's clock were set forward, and no other clock."""
        self._collection.update_many(
            {"acquired_until": {"$type": "date"}},
            [{"$set": {"acquired_until": {"$subtract": ["$acquired_until", seconds * 1000]}}}],
        )


CLOCK = lease.time.monotonic


@pytest.fixture
def clock(database, monkeypatch):
    clock = Clock(database["jobs"])
    for module in (lease, claims, unrunnable):
        monkeypatch.setattr(module, "time", clock)
    return clock


def run(store, then=None):
    """Run one cycle of a real scheduler, and return the submitted ids and the wait in seconds."""
    scheduler = store._scheduler
    if scheduler is None:
        scheduler = by_hand(store, then)
    scheduler.executor.then = then
    scheduler.executor.submitted.clear()
    wait = scheduler._process_jobs()
    return [job_id for job_id, _ in scheduler.executor.submitted], wait


def ids(jobs):
    return [each.id for each in jobs]


def leased(store):
    """Return the ids of the documents that are leased now."""
    query = {"$expr": {"$gt": ["$acquired_until", "$$NOW"]}}
    return sorted(document["_id"] for document in store.collection.find(query))


def logged_to_run_twice(caplog):
    """Return the ids that the log says run twice."""
    job_ids = []
    for record in caplog.records:
        if "runs twice" in record.msg:
            job_ids.append(record.args[0])
        elif "run twice" in record.msg:
            job_ids += record.args[1].split(", ")
    return job_ids


def run_all_due(store):
    """Run cycles until no job is due, and return the submitted ids."""
    all_ids = []
    while True:
        done, wait = run(store)
        all_ids += done
        if wait is None or wait > 0:
            return all_ids
