"""Answers of `why` about jobs that were changed, removed or in flight, on a real server."""

import threading
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from support.history import wait_for
from support.jobs import job, note
from support.manual_scheduler import by_hand
from support.waiting import until


def now():
    return datetime.now(timezone.utc)


def run_until_told():
    run_until_told.started.set()
    run_until_told.end.wait(60)


@pytest.fixture
def in_flight(recording):
    """Return a store, a job's only run in flight, and the run's time."""
    run_until_told.started, run_until_told.end = threading.Event(), threading.Event()
    store, at = recording(), now() + timedelta(seconds=1)
    scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
    scheduler.start()
    options = {"id": "a", "misfire_grace_time": None}
    scheduler.add_job(run_until_told, "date", run_date=at, **options)
    assert run_until_told.started.wait(20)
    yield store, at
    run_until_told.end.set()
    scheduler.shutdown()


def test_job_whose_only_run_is_in_flight_is_not_removed(in_flight):
    store, at = in_flight
    wait_for(store, "added", "a")
    until(lambda: store.describe("a") is None)
    for moment in (at, None):
        answer = store.why("a", moment)
        assert answer.kind == "unknown"
        assert "in flight still" in answer.text
    run_until_told.end.set()
    wait_for(store, "executed", "a")
    assert store.why("a", at).kind == "ran"


def paused(scheduler):
    scheduler.pause_job("a")


def renamed(scheduler):
    scheduler.modify_job("a", name="another")


@pytest.mark.parametrize("change", [paused, renamed])
def test_job_that_was_changed_in_its_pause_was_paused_before_and_after(recording, change):
    store = recording()
    scheduler = by_hand(store)
    scheduler.add_job(note, "interval", hours=1, id="a")
    scheduler.pause_job("a")
    (pause,) = wait_for(store, "paused", "a")
    until(lambda: now() > pause.at + timedelta(milliseconds=2))
    at = now()
    until(lambda: now() > at + timedelta(milliseconds=2))
    change(scheduler)
    wait_for(store, "paused", "a", count=2)
    assert store.why("a", at).kind == "paused"
    assert store.why("a", now()).kind == "paused"
    scheduler.resume_job("a")
    wait_for(store, "changed", "a")
    answer = store.why("a", at)
    assert (answer.kind, answer.evidence) == ("paused", (pause,))


def test_job_that_is_paused_is_known_also_without_a_history(recording):
    store = recording(history=None)
    store.add_job(job("a", None))
    answer = store.why("a", now())
    assert answer.kind == "paused"
    assert "No record says since when" in answer.text


def test_jobs_that_were_removed_together_were_removed(recording):
    store = recording()
    scheduler = by_hand(store)
    scheduler.add_job(note, "interval", hours=1, id="a")
    scheduler.remove_all_jobs()
    wait_for(store, "removed")
    answer = store.why("a", now())
    assert answer.kind == "removed"
    assert "All jobs were removed at" in answer.text


def test_job_that_was_removed_with_all_others_is_not_called_removed_before(recording):
    store = recording()
    scheduler = by_hand(store)
    at = now() + timedelta(seconds=1)
    store.add_job(job("a", next_run_time=at))
    until(lambda: now() > at + timedelta(seconds=0.1))
    scheduler.remove_all_jobs()
    wait_for(store, "removed")
    answer = store.why("a", at)
    assert answer.kind == "unknown"
    assert "All jobs were removed at" in answer.text
