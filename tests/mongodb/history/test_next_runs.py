"""A run time that a caller has set, which need not be one of the trigger's times."""

from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.triggers.cron import CronTrigger

from support.evidence import HOUR, NOON, change, record
from support.history import wait_for
from support.jobs import job, note
from support.manual_scheduler import by_hand

MINUTE = timedelta(minutes=1)


@pytest.fixture
def hour():
    """Return the beginning of this hour."""
    return datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)


def cron(**fields):
    return CronTrigger(timezone="UTC", **fields)


def hourly(store, next_run_time=NOON + HOUR, **fields):
    store.add_job(job("a", trigger=cron(minute=0, **fields), next_run_time=next_run_time))


def check(store, at, kind, *parts):
    answer = store.why("a", at)
    assert answer.kind == kind, answer
    for part in parts:
        assert part in answer.text, answer
    return answer


def text_of(time):
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def set_to(kind, seconds, time):
    return change(kind, seconds, job="a", detail=time.isoformat())


def test_interval_goes_on_from_a_run_time_that_was_set(recording):
    """As `add_job(..., next_run_time=now)` asks: the trigger starts an interval later."""
    store = recording()
    scheduler = by_hand(store)
    run_time = datetime.now(timezone.utc)
    scheduler.add_job(note, "interval", hours=1, next_run_time=run_time, id="a")
    scheduler._process_jobs()
    assert abs(store.lookup_job("a").next_run_time - run_time - HOUR) < timedelta(seconds=1)
    following = store.lookup_job("a").next_run_time
    check(store, run_time + 30 * MINUTE, "not due", f"its next run is due at {following:%Y-%m-%d}")
    check(store, run_time + 90 * MINUTE, "not due", f"the run before was due at {following:%Y-%m}")


def test_run_in_flight_was_due_though_it_is_none_of_the_times_of_the_trigger(recording):
    store = recording()
    scheduler = by_hand(store)  # its runs never end
    run_time = datetime.now(timezone.utc)
    scheduler.add_job(note, "interval", hours=1, next_run_time=run_time, id="a")
    wait_for(store, "added", "a")
    scheduler._process_jobs()
    assert check(store, run_time, "unknown").at == check(store, None, "unknown").at
    assert abs(store.why("a").at - run_time) < timedelta(milliseconds=1)


def test_one_off_in_flight_is_meant_without_a_time(recording):
    store = recording()
    scheduler = by_hand(store)
    run_time = datetime.now(timezone.utc)
    scheduler.add_job(note, "date", run_date=run_time, id="a")
    wait_for(store, "added", "a")
    scheduler._process_jobs()
    assert store.describe("a") is None
    assert abs(store.why("a").at - run_time) < timedelta(milliseconds=1)


@pytest.mark.parametrize("fields", [{}, {"jitter": 5}], ids=["known times", "random times"])
def test_no_run_is_due_before_the_next_run_time_of_the_document(store, hour, fields):
    hourly(store, hour + 5 * HOUR + 9 * MINUTE, **fields)
    answer = check(store, hour + 2 * HOUR, "not due", text_of(hour + 5 * HOUR + 9 * MINUTE))
    assert answer.source == "the job's document in jobs"
    check(store, hour + 5 * HOUR + 9 * MINUTE, "not due", "which is to come")


def test_whether_a_job_with_random_times_is_due_later_can_not_be_told(store, hour):
    hourly(store, hour + HOUR, jitter=5)
    check(store, hour + 5 * HOUR, "unknown", "can't be told yet", "jitter")


@pytest.mark.parametrize("fields", [{}, {"jitter": 5}], ids=["known times", "random times"])
@pytest.mark.parametrize("kind", ["added", "changed"])
def test_no_run_was_due_before_a_run_time_that_was_set_then(store, records, kind, fields):
    hourly(store, NOON + 8 * HOUR, **fields)
    records(set_to(kind, -9000, NOON + 2 * HOUR + 9 * MINUTE))
    answer = check(store, NOON, "not due", "2025-11-29 14:09:00 UTC", "web-1:4711 set it")
    assert [each.kind for each in answer.evidence] == [kind]
    assert store.why("a", NOON + 2 * HOUR + 9 * MINUTE).at == NOON + 2 * HOUR + 9 * MINUTE


def test_run_time_to_which_a_start_has_moved_a_job_was_due(store, records):
    hourly(store, NOON + 8 * HOUR)
    until = NOON + 2 * HOUR + 9 * MINUTE
    records(record("moved on", -9000, NOON - 9 * HOUR, job="a", until=until))
    assert store.why("a", until).at == until


def test_run_after_a_change_shows_that_somebody_without_a_history_has_changed_the_job(
    store, records
):
    hourly(store, NOON + 8 * HOUR)
    records(set_to("changed", -9000, NOON + 9 * HOUR))
    records(record("executed", -3599, NOON - HOUR, job="a"))
    check(store, NOON, "unknown")


@pytest.mark.parametrize("detail", ["", "soon", "0001-01-01T00:00:00+05:00", "2025", "x" * 999])
def test_text_that_is_no_time_sets_none(store, records, detail):
    hourly(store, NOON + 8 * HOUR)
    records(change("changed", -9000, job="a", detail=detail))
    check(store, NOON, "unknown")
