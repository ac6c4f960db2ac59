"""Helpers for the tests of the history: stores that record, and their records."""

import pytest
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb.history import recorder
from support.waiting import until

__all__ = ["end", "kinds", "recording", "wait_for"]


@pytest.fixture
def recording(server, database, monkeypatch):
    """Return a function that makes stores with a history, on one collection."""
    monkeypatch.setattr(recorder, "WRITE_SECONDS", 0.02)
    stores, clients = [], []

    def make(uri=server.uri, **options):
        clients.append(MongoClient(uri))
        options = {"history": "all", **options}
        stores.append(MongoDBJobStore(database.name, client=clients[-1], **options))
        return stores[-1]

    yield make
    for store in stores:
        store.shutdown()
    for client in clients:
        client.close()


def kinds(store, job_id=None):
    """Return the kinds of a job's records, or of the schedulers'."""
    return [record.kind for record in store.history(job_id)]


def wait_for(store, kind, job_id=None, count=1):
    """Wait for records of a kind; return them."""

    def found():
        records = [record for record in store.history(job_id) if record.kind == kind]
        return records if len(records) >= count else None

    return until(found)


def end(scheduler):
    """Shut a scheduler down between two cycles. In mid-cycle its thread would raise an error."""
    scheduler.pause()
    with scheduler._jobstores_lock:  # the last cycle has ended
        pass
    scheduler.shutdown()
