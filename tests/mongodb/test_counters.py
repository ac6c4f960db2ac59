"""A store counts lateness, cycles, flushes, conflicts, and the runs that happened twice."""

import time
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import PyMongoError

from jobstore import MongoDBJobStore
from jobstore.mongodb.counters import LATENESS, Counters, Histogram
from support.jobs import YEARS, job
from support.manual_scheduler import by_hand
from support.waiting import until

MODES = {"queried": {}, "mirrored": {"mirror": True}}


@given(st.lists(st.integers(0, 10_000)))  # exact, also at the bounds
def test_times_counted_at_once_fill_the_buckets_as_one_by_one(ages):
    at_once, one_by_one = Histogram(LATENESS), Histogram(LATENESS)
    now = 20_000.0
    times = sorted(now - age for age in ages)
    at_once.observe_since(now, times)
    for each in times:
        one_by_one.observe(now - each)
    assert at_once.count == one_by_one.count == len(ages)
    assert at_once.sum == one_by_one.sum
    assert at_once.counts == one_by_one.counts


def test_job_late_by_exactly_a_bound_counts_within_the_bound():
    histogram = Histogram((1, 2))
    histogram.observe_since(10, [7, 8, 9, 10])
    assert histogram.counts == [2, 1, 1]
    for value in (3, 2, 1, 0):
        histogram.observe(value)
    assert histogram.counts == [4, 2, 2]


def test_cycle_counts_its_jobs_and_their_lateness(store):
    scheduler = by_hand(store)
    now = datetime.now(timezone.utc)
    scheduler.pause()
    for name, seconds in (("late", 100), ("later", 20_000)):
        store.add_job(job(name, next_run_time=now - timedelta(seconds=seconds)))
    scheduler.resume()
    scheduler._process_jobs()
    counters = store._counters
    assert counters.fired == store.status().fired == 2
    assert counters.lateness.count == 2
    assert counters.lateness.sum == pytest.approx(20_100, abs=60)
    assert counters.lateness.counts[LATENESS.index(300)] == 1
    assert counters.lateness.counts[-1] == 1
    assert counters.batch_sizes.count == 1
    assert counters.flush_times.count == 1
    assert counters.cycles >= 1
    assert store.status().since_cycle >= 0
    assert store.status().cycle > 0
    store.shutdown()


@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
def test_second_unshared_scheduler_knows_of_double_runs(server, database, options, caplog):
    first, second = (MongoDBJobStore(database.name, host=server.uri, **options) for _ in range(2))
    ours = by_hand(first)
    others = []

    def let_the_first_run_it(job):
        if not others:
            others.append(job.id)
            ours._process_jobs()
            until(lambda: first.status().pending == 0)

    theirs = by_hand(second, let_the_first_run_it)
    until(lambda: second._reader.is_live or not options)
    until(lambda: first._reader.is_live or not options)
    first.add_job(job("twice"))
    until(lambda: len(second) == 1)
    theirs._process_jobs()
    until(lambda: second.status().pending == 0)
    assert [run[0] for run in ours.executor.submitted] == ["twice"]
    assert [run[0] for run in theirs.executor.submitted] == ["twice"]
    status = second.status()
    assert status.doubles == status.guards_lost == 1
    assert status.since_double is not None
    assert 'Job "twice" ran twice' in caplog.text
    assert first.status().doubles == 0
    first.shutdown()
    second.shutdown()


def test_own_write_whose_reply_was_lost_is_no_double_run(store, point, caplog):
    scheduler = by_hand(store)
    store.add_job(job("once"))
    point(
        "failCommand",
        failCommands=["update"],
        writeConcernError={"code": 91, "errmsg": "shutdown in progress"},
    )
    scheduler._process_jobs()
    point.off()
    scheduler._process_jobs()
    status = store.status()
    assert status.pending == 0
    assert status.doubles == status.guards_lost == 0
    assert status.flush_failures >= 1
    assert status.flush_failures_in_a_row == 0
    assert "twice" not in caplog.text
    store.shutdown()


def test_failed_flushes_count_until_one_succeeds(store, point):
    scheduler = by_hand(store)
    store.add_job(job("a"))
    point("failCommand", failCommands=["update"], errorCode=8000)
    scheduler._process_jobs()
    with pytest.raises(PyMongoError):
        store._write_behind.flush()
    status = store.status()
    assert status.flush_failures == status.flush_failures_in_a_row >= 2
    point.off()
    store._write_behind.flush()
    assert store.status().flush_failures == status.flush_failures
    assert store.status().flush_failures_in_a_row == 0
    store.shutdown()


def test_removal_by_a_user_in_mid_cycle_is_no_double_run(store, database, server):
    other = MongoDBJobStore(database.name, host=server.uri)
    scheduler = by_hand(store, lambda job: other.remove_job(job.id))
    store.add_job(job("ends", every=None))
    scheduler._process_jobs()
    assert store.status().doubles == 0
    other.shutdown()
    store.shutdown()


def test_rescheduled_job_counts_as_a_lost_guard_and_no_double_run(store, database, server):
    other = MongoDBJobStore(database.name, host=server.uri)
    scheduler = by_hand(store, lambda each: other.update_job(job(each.id, 2 * YEARS)))
    store.add_job(job("a"))
    scheduler._process_jobs()
    status = store.status()
    assert (status.guards_lost, status.doubles) == (1, 0)
    other.shutdown()
    store.shutdown()


def test_cycle_that_hangs_is_more_and_more_late():
    counters = Counters()
    assert counters.expected(time.time()) is None
    counters.cycle_begins()
    first = counters.expected(0)
    until(lambda: counters.expected(0) < first <= 0)
    counters.cycle_ends(100.0)
    assert counters.expected(90.0) == 10.0
    assert counters.expected(130.0) == -30.0
    counters.cycle_begins()
    counters.cycle_ends(None)
    assert counters.expected(130.0) is None
    assert counters.cycles == 2


def test_question_for_the_next_run_time_outside_a_cycle_is_no_cycle(store):
    by_hand(store)
    store.get_next_run_time()
    cycles = store._counters.cycles
    store.get_next_run_time()
    assert store._counters.cycles == cycles
    store.shutdown()
