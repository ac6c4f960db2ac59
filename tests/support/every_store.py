"""Every kind of job store, for the tests of their common contract.

This module imports pymongo only when a test asks for a MongoDB store. So `-m "not mongodb"` needs
neither pymongo nor a server.
"""

from contextlib import contextmanager

import pytest

from support.memory_stores import memory_store

MEMORY = ["memory-stock", "memory-compiled", "memory-twin"]
MODES = {
    "mongodb-queried": {},
    "mongodb-mirrored": {"mirror": True},
    "mongodb-exclusive": {"mirror": "exclusive"},
    "mongodb-shared": {"shared": True},
}
OURS = MODES | {
    "mongodb-signed": {"mirror": True, "signing_keys": [b"the key of tests"], "allow": ["*"]}
}
MONGODB = ["mongodb-stock", *OURS]
EVERY = [*MEMORY, *MONGODB]
BULK = ["memory-looping", "memory-compiled", "memory-twin", *OURS]  # with bulk calls


def marked(kinds):
    """Return these kinds as parameters. The MongoDB stores get the mark `mongodb`."""
    return [
        pytest.param(kind, marks=[pytest.mark.mongodb] if kind in MONGODB else []) for kind in kinds
    ]


def all_but(*excluded):
    """Run a test on every store except these, which behave differently."""
    kinds = marked(kind for kind in EVERY if kind not in excluded)
    return pytest.mark.parametrize("store", kinds, indirect=True)


@contextmanager
def opened(kind, request, **arguments):
    """Start an empty store of this kind as "alias", and shut it down in the end."""
    if kind in MONGODB:
        with _mongodb_store(kind, request, arguments) as store:
            yield store
        return
    store = memory_store(kind.removeprefix("memory-"), **arguments)
    store.start(None, "alias")
    yield store
    store.shutdown()


@contextmanager
def _mongodb_store(kind, request, arguments):
    from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
    from pymongo import MongoClient

    from jobstore import MongoDBJobStore
    from jobstore.mongodb import connection

    server, database, monkeypatch = map(
        request.getfixturevalue, ["server", "database", "monkeypatch"]
    )
    monkeypatch.setattr(connection, "AWAIT_MS", 20)  # start and shutdown wait for an answer
    with MongoClient(server.uri) as client:
        if kind == "mongodb-stock":
            store = StockMongoDBJobStore(database.name, client=client)
        else:
            store = MongoDBJobStore(database.name, client=client, **OURS[kind], **arguments)
        store.start(None, "alias")
        yield store
        store.shutdown()
