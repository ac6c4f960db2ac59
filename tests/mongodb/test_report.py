"""The report looks at the collection from time to time, for the status."""

from datetime import datetime, timedelta, timezone

import pytest

from jobstore import MongoDBJobStore
from jobstore.mongodb.health import backlog
from jobstore.mongodb.health import report as module
from support.jobs import YEARS, job


@pytest.fixture
def report(store):
    return store._lifecycle._report


def test_look_counts_overdue_jobs_and_the_age_of_the_oldest(store, report):
    now = datetime.now(timezone.utc)
    for name, seconds in (("old", 1000), ("older", 2000), ("future", -1000)):
        store.add_job(job(name, next_run_time=now - timedelta(seconds=seconds)))
    assert store.status().overdue is None
    report.look()
    assert store.status().overdue == 2
    assert store.status().oldest_overdue == pytest.approx(2000, abs=60)
    store.remove_jobs(["old", "older"])
    report.look()
    assert store.status().overdue == 0
    assert store.status().oldest_overdue is None


def test_look_stops_counting_at_a_bound(store, report, monkeypatch):
    monkeypatch.setattr(backlog, "MOST_COUNTED", 3)
    store.add_jobs([job(f"job-{number}") for number in range(5)])
    report.look()
    assert store.status().overdue == 3


def test_look_counts_the_quarantine(store, report):
    store.add_job(job("bad"))
    store.collection.update_one({"_id": "bad"}, {"$set": {"job_state": b"no pickle"}})
    store.start(None, "default")
    store.get_due_jobs(datetime.now(timezone.utc))
    report.look()
    status = store.status()
    assert (status.quarantined, status.overdue) == (1, 0)
    assert store._counters.quarantined == 1
    store.shutdown()


def test_look_names_the_fields_without_an_index(store, report, monkeypatch):
    store.start(None, "default")
    report.look()
    assert store.status().missing_indexes == ()
    store.collection.drop_index("next_run_time_1")
    report.look()
    assert store.status().missing_indexes == ()  # looked at a moment ago
    monkeypatch.setattr(report, "_look_at_indexes_at", 0)
    report.look()
    assert store.status().missing_indexes == ("next_run_time",)
    store.shutdown()


def test_look_that_fails_keeps_the_values_of_the_last_one(store, report, point):
    store.add_job(job("late"))
    report.look()
    point("failCommand", failCommands=["find", "aggregate", "count"], errorCode=8000)
    store.add_job(job("later"))
    report.look()
    assert store.status().overdue == 1


def test_status_names_the_pool_that_the_stores_need(server, database):
    store = MongoDBJobStore(database.name, host=server.uri, maxPoolSize=2)
    assert store.status().needed_pool is None
    with module.pool_of(store.client).count_watcher():
        assert store.status().needed_pool == 3
    store.shutdown()


def test_far_jobs_are_not_overdue(store, report):
    store.add_job(job("far", YEARS))
    report.look()
    assert store.status().overdue == 0
