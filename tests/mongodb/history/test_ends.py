"""The ends of schedulers that no shutdown has recorded: a later scheduler reports them."""

from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from bson import ObjectId

from jobstore.mongodb.history.record import HistoryRecord
from jobstore.mongodb.presence import presence
from support.history import kinds, wait_for
from support.jobs import job
from support.presences import plant
from support.restarts import MODES, cycles
from support.scheduler_runs import running
from support.standbys import beat, documents, expire, presence_of
from support.waiting import until


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


def test_end_of_a_store_of_this_process_is_its_own_to_report(recording, database):
    """In its shutdown, its document is nobody's for a moment."""
    store = recording()
    store.start(None, "default")
    name = plant(store.collection)
    own = name.rpartition(":")[0] + f":{ObjectId()}"
    document = database["jobs_meta"].find_one_and_delete({"_id": name})
    database["jobs_meta"].insert_one({**document, "_id": own})
    presence_of(store)._remove([own])
    store.shutdown()
    assert kinds(recording(history=None)) == ["started", "stopped"]


def test_presence_without_a_time_leaves_no_record(recording, database):
    store = recording()
    plant(store.collection, lives=False, age=2 * 86_400.0, seen="text")
    store.start(None, "default")
    (name,) = [each["_id"] for each in documents(database) if each["seen"] == "text"]
    presence_of(store)._remove([name])
    assert name not in [each["_id"] for each in documents(database)]
    store.shutdown()
    assert kinds(recording(history=None)) == ["started", "stopped"]


def test_gap_after_a_killed_scheduler_had_no_scheduler(recording, records, monkeypatch):
    monkeypatch.setattr(presence, "BEAT_SECONDS", 5.0)
    store = recording()
    at = datetime.now(timezone.utc) - timedelta(minutes=30)
    name = plant(store.collection, age=3600.0, lives=False)
    records(HistoryRecord(None, "started", at - timedelta(hours=3), by=name))
    trigger = IntervalTrigger(hours=1, start_date=at, timezone="UTC")
    store.add_job(job("a", trigger=trigger, next_run_time=at, misfire_grace_time=1))
    scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
    with running(scheduler):
        wait_for(store, "missed", "a")
        until(lambda: scheduler.wakeup() or "ended" in kinds(store))  # after the recovery
        assert name not in [each["_id"] for each in documents(store.collection.database)]
        answer = store.why("a", at)
    assert answer.kind == "no scheduler"
    assert [each.kind for each in answer.evidence] == ["ended", "started", "missed"]
