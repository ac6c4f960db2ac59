"""A forked process leaves the records of its parent to it, and can have a history of its own."""

import os
import warnings

import pytest

from jobstore.mongodb.history import recorder
from support.history import kinds, wait_for
from support.manual_scheduler import by_hand
from support.mirrored_stores import own_threads

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def in_child(call):
    """Make the call in a forked process; return whether it returned without an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python and PyMongo warn of forks beside threads
        child = os.fork()
    if not child:
        status = 1
        try:
            call()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def test_child_writes_no_record_of_its_parent(recording, monkeypatch):
    monkeypatch.setattr(recorder, "WRITE_SECONDS", 60.0)
    store = recording()
    scheduler = by_hand(store)
    store._incidents.add("missed", "a")

    def child():
        assert len(store._incidents.entries) == 0
        store._incidents.add("missed", "of the child")
        assert len(store._incidents.entries) == 0
        assert not own_threads()

    assert in_child(child)
    scheduler.shutdown()
    reader = recording(history=None)
    assert kinds(reader, "a") == ["missed"]
    assert kinds(reader, "of the child") == []


def test_child_that_starts_the_store_records(recording, server, database):
    store = recording()
    by_hand(store)

    def child():
        from jobstore import MongoDBJobStore

        own = MongoDBJobStore(database.name, host=server.uri, history="all")
        own.start(None, "default")
        own._incidents.add("missed", "of the child")
        own.shutdown()

    assert in_child(child)
    wait_for(store, "missed", "of the child")
    store._incidents.add("missed", "of the parent")
    wait_for(store, "missed", "of the parent")
