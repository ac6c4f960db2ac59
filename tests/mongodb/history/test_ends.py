"""The ends of schedulers that no shutdown has recorded: a later scheduler reports them."""

from datetime import datetime, timedelta, timezone

import pytest

from jobstore.mongodb.presence import presence
from support.history import kinds, wait_for
from support.presences import plant
from support.restarts import MODES, cycles
from support.standbys import beat, documents, expire, presence_of


@pytest.fixture
def seen(database):
    """Return a function that tells when a scheduler was last seen."""

    def seen(name):
        (found,) = [each["seen"] for each in documents(database) if each["_id"] == name]
        return found.replace(tzinfo=timezone.utc)

    return seen


def beat_length():
    """Return the time between two beats, which the tests change."""
    return timedelta(seconds=presence.BEAT_SECONDS)


@pytest.mark.parametrize("mode", ["queried", "mirrored", "exclusive"])
def test_start_reports_the_end_of_a_killed_scheduler(restart, seen, mode):
    options = {"history": "problems", **MODES[mode]}
    scheduler = restart(**options)
    store = scheduler._lookup_jobstore("default")
    (started,) = wait_for(store, "started")
    killed = restart(**options)
    last_seen = seen(started.by)
    cycles(killed)
    cycles(killed)  # the recovery is over
    (ended,) = wait_for(store, "ended")
    assert (ended.job_id, ended.by, ended.at) == (None, started.by, last_seen + beat_length())


def test_end_is_reported_once_its_presence_has_expired(restart, database):
    """In a rolling deploy the other scheduler still runs when the recovery is over."""
    scheduler = restart(history="all")
    store = scheduler._lookup_jobstore("default")
    name = plant(store.collection)
    restarted = restart(history="all")
    expire(database, _id=name)
    newer = restarted._lookup_jobstore("default")
    cycles(restarted)
    cycles(restarted)
    beat(newer)
    assert name in [each.by for each in wait_for(newer, "ended", count=2)]


def test_end_is_reported_by_one_of_two_schedulers(recording, database):
    long_ago = datetime.now(timezone.utc) - timedelta(days=2)
    stores = [recording(shared=True), recording(shared=True)]
    for store in stores:
        store.start(None, "default")
    name = plant(stores[0].collection, lives=False, age=2 * 86_400.0, seen=long_ago)
    for store in stores:
        beat(store)
        beat(store)
    (ended,) = wait_for(stores[0], "ended")
    for store in stores:
        store.shutdown()
    assert ended.by == name
    assert kinds(recording(history=None)).count("ended") == 1


def test_presence_without_a_time_leaves_no_record(recording, database):
    store = recording()
    plant(store.collection, lives=False, age=2 * 86_400.0, seen="text")
    store.start(None, "default")
    (name,) = [each["_id"] for each in documents(database) if each["seen"] == "text"]
    presence_of(store)._remove([name])
    assert name not in [each["_id"] for each in documents(database)]
    store.shutdown()
    assert kinds(recording(history=None)) == ["started", "stopped"]
