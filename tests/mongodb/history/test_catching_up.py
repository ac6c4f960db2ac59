"""The records of jobs that a start moved on, removed, spread or held, and the answers by them."""

from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobstore.mongodb.overdue import catch_up
from support.evidence import NOON, OTHER, after, check, evidence, record
from support.history import kinds, wait_for
from support.jobs import job
from support.manual_scheduler import by_hand

HOUR = timedelta(hours=1)
MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


@pytest.fixture(params=MODES)
def modes(request):
    return MODES[request.param]


def two_hours_ago():
    since = datetime.now(timezone.utc) - 2 * HOUR
    return since.replace(microsecond=0)


def hourly(job_id, since):
    trigger = IntervalTrigger(hours=1, start_date=since, timezone="UTC")
    return job(job_id, trigger=trigger, next_run_time=since)


def once(job_id, run_time):
    return job(job_id, trigger=DateTrigger(run_time, "UTC"), next_run_time=run_time)


def test_skip_records_each_job_that_it_moved_or_removed(recording, modes):
    store, since = recording(catch_up="skip", **modes), two_hours_ago()
    store.add_jobs([hourly("often", since), once("once", since)])
    by_hand(store)
    (moved,) = wait_for(store, "moved on", "often")
    assert moved.run_time == since
    assert moved.until == store.describe("often").next_run_time == since + 3 * HOUR
    assert moved.detail == 'catch_up="skip"'
    (removed,) = wait_for(store, "moved on", "once")
    assert (removed.run_time, removed.until) == (since, None)


def test_skip_answers_for_each_run_that_it_left_out(recording):
    store, since = recording(catch_up="skip"), two_hours_ago()
    store.add_jobs([hourly("often", since), once("once", since)])
    by_hand(store)
    wait_for(store, "moved on", "often")
    for hours in (0, 1, 2):
        answer = store.why("often", since + hours * HOUR)
        assert answer.kind == "moved on", answer
        assert 'catch_up="skip" gave the job the run time' in answer.text
    wait_for(store, "moved on", "once")
    answer = store.why("once", since)
    assert answer.kind == "moved on", answer
    assert "removed the job, as it has no later run time" in answer.text


def test_spread_records_the_later_run_time(recording):
    store, since = recording(catch_up="spread:3600"), two_hours_ago()
    store.add_job(once("once", since))
    by_hand(store)
    (moved,) = wait_for(store, "moved on", "once")
    later = store.describe("once").next_run_time
    assert abs(moved.until - later) < timedelta(milliseconds=1)
    answer = store.why("once", since)
    assert answer.kind == "moved on", answer
    assert 'catch_up="spread:3600" gave the job the run time' in answer.text


def test_hold_has_a_record_also_after_the_release(recording):
    store, since = recording(catch_up="hold"), two_hours_ago()
    store.add_job(hourly("often", since))
    scheduler = by_hand(store)
    wait_for(store, "held", "often")
    scheduler.resume_job("often")
    answer = store.why("often", since)
    assert answer.kind == "held", answer
    assert 'catch_up="hold" held the job until its release' in answer.text


@pytest.mark.parametrize("policy", ["skip", "spread:600", "hold"])
def test_a_job_that_another_process_changed_meanwhile_has_no_record(recording, policy, monkeypatch):
    store, since = recording(catch_up=policy), two_hours_ago()
    store.add_jobs([hourly("a", since), hourly("b", since)])
    later = hourly("b", since + 5 * HOUR)
    send = catch_up.send

    def changed_first(*args):
        monkeypatch.setattr(catch_up, "send", send)
        recording(history=None).update_job(later)
        return send(*args)

    monkeypatch.setattr(catch_up, "send", changed_first)
    scheduler = by_hand(store)
    wait_for(store, "held" if policy == "hold" else "moved on", "a")
    scheduler.shutdown()  # it writes all records
    assert kinds(store, "b") == []


def test_a_store_without_history_records_nothing(recording):
    store, since = recording(catch_up="skip", history=None), two_hours_ago()
    store.add_job(hourly("a", since))
    by_hand(store).shutdown()
    assert kinds(recording(), "a") == []


# Answers, decided from evidence by hand


def test_a_run_after_the_release_says_more_than_the_hold():
    held = record("held", -600, NOON - 2 * HOUR)
    late = record("coalesced", 60, NOON - 2 * HOUR, runs=3, until=NOON + HOUR)
    check(evidence(runs=(held, late)), "coalesced")


def test_the_last_start_that_moved_the_job_answers():
    early = record("moved on", -600, NOON - 2 * HOUR, until=after(-300))
    late = record("moved on", 600, after(-300), until=after(900), by=OTHER)
    check(evidence(runs=(early, late)), "moved on", "web-2:4711")
