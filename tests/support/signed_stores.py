"""Stores with keys, and the documents whose states nobody has signed."""

import pytest
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb.trust.signatures import Signatures
from jobstore.mongodb.trust.untrusted import UntrustedError
from support.jobs import job
from support.manual_scheduler import by_hand

__all__ = [
    "EVERY",
    "KEY",
    "MODES",
    "NEW_KEY",
    "Stubborn",
    "every_mode",
    "reasons",
    "recurring",
    "signed_on",
]

EVERY = 10**7  # seconds: a run each few months, as the scheduler counts all missed ones
KEY, NEW_KEY = b"the key of tests", b"a new key of tests"
MODES = {
    "queried": {},
    "mirrored": {"mirror": True},
    "exclusive": {"mirror": "exclusive"},
    "shared": {"shared": True},
}
every_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


class Stubborn:
    """An argument that can be pickled until a job has used it."""

    used = False

    def __reduce__(self):
        if self.used:
            raise ValueError("used")
        return Stubborn, ()


def reasons(collection, keys=(KEY,)):
    """Return the reasons for which states can't be trusted, by id."""
    signatures = Signatures(list(keys), collection.full_name, False)
    found = {}
    for document in collection.find():
        try:
            signatures.verify(document["_id"], document["job_state"], document.get("signature"))
        except UntrustedError as reason:
            found[document["_id"]] = str(reason)
    return found


def recurring(name, **options):
    """Make a job that has missed some runs."""
    return job(name, every=EVERY, **options)


@pytest.fixture
def signed_on(server, database):
    """Return a function that starts a manual scheduler on a store with a key."""
    stores, clients = [], []

    def signed_on(jobs=(), then=None, **options):
        clients.append(MongoClient(server.uri))
        options = {"watch": False, "signing_keys": [KEY], **options}
        stores.append(MongoDBJobStore(database.name, client=clients[-1], **options))
        if jobs:
            stores[-1].add_jobs(jobs)
        return by_hand(stores[-1], then), stores[-1]

    yield signed_on
    for store in stores:
        store.shutdown()
    for client in clients:
        client.close()
