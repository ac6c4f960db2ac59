"""Each answer of `why` made to happen, with real schedulers and a real server."""

import re
import signal
import subprocess
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore.mongodb.history.answer import ANSWERS
from support.history import wait_for
from support.jobs import job, note
from support.manual_scheduler import ByHand, by_hand
from support.programs import command, environment
from support.proxy import Proxy
from support.unsteady import Unsteady
from support.waiting import until

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}
NEVER_LATE = {"misfire_grace_time": None}
HOUR = timedelta(hours=1)


@pytest.fixture(params=MODES)
def modes(request):
    return MODES[request.param]


@pytest.fixture
def running_on():
    """Return a function that starts a scheduler on a store."""
    schedulers = []

    def running_on(store):
        scheduler = BackgroundScheduler(
            timezone="UTC", jobstores={"default": store}, jobstore_retry_interval=0.1
        )
        scheduler.start()
        schedulers.append(scheduler)
        return scheduler

    yield running_on
    for scheduler in schedulers:
        if scheduler.running:
            scheduler.shutdown()


def now():
    return datetime.now(timezone.utc)


def ago(seconds):
    return now() - timedelta(seconds=seconds)


def fail():
    raise ValueError("no paper")


def check(store, job_id, at, kind, *parts):
    """Check the answer's kind, and parts of its text; return it."""
    answer = store.why(job_id, at)
    assert answer.kind == kind, answer
    for part in parts:
        assert part in answer.text, answer
    return answer


# Records of the run


def test_run_that_returned_ran(recording, running_on, modes):
    store, at = recording(**modes), ago(1)
    running_on(store).add_job(note, "date", run_date=at, id="a", **NEVER_LATE)
    (record,) = wait_for(store, "executed", "a")
    answer = check(store, "a", at, "ran", "It ran on", "took")
    assert answer.evidence == (record,)
    assert answer.source.startswith('record "executed" of ')
    check(store, "a", None, "ran")


def test_run_that_raised_failed(recording, running_on, modes):
    store, at = recording(**modes), ago(1)
    running_on(store).add_job(fail, "date", run_date=at, id="a", **NEVER_LATE)
    wait_for(store, "error", "a")
    check(store, "a", at, "failed", "ValueError: no paper")


def test_run_that_was_too_late_misfired(recording, running_on, modes):
    store, at = recording(**modes), ago(60)
    running_on(store).add_job(note, "date", run_date=at, misfire_grace_time=1, id="a")
    wait_for(store, "missed", "a")
    check(store, "a", at, "misfired", "s late")


def wait_for_it():
    wait_for_it.left.wait(60)


def test_run_beyond_max_instances_was_skipped(recording, running_on, modes):
    wait_for_it.left = threading.Event()
    store = recording(**modes)
    scheduler = running_on(store)
    try:
        scheduler.add_job(wait_for_it, "interval", seconds=0.2, id="a", **NEVER_LATE)
        (record, *_) = wait_for(store, "skipped", "a")
        check(store, "a", record.run_time, "skipped", "max_instances=1")
    finally:
        wait_for_it.left.set()


def test_runs_before_the_last_due_one_were_coalesced(recording, running_on, modes):
    store = recording(**modes)
    scheduler = running_on(store)
    base = ago(100)
    start = base - 10 * HOUR
    scheduler.add_job(note, "interval", hours=1, start_date=start, id="a", **NEVER_LATE)
    scheduler.modify_job("a", next_run_time=base - 5 * HOUR)
    wait_for(store, "executed", "a")
    for hours in (5, 3, 1):
        check(store, "a", base - hours * HOUR, "coalesced", "5 due runs")
    check(store, "a", base, "ran")
    check(store, "a", base - 4.5 * HOUR, "not due")


def test_job_that_its_executor_did_not_take_was_refused(recording, modes):
    store = recording(**modes)
    scheduler = ByHand(timezone="UTC")
    executor = Unsteady()
    scheduler.add_executor(executor, "unsteady")
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    at = ago(1)
    store.add_job(job("a", next_run_time=at, executor="unsteady"))
    scheduler._process_jobs()
    wait_for(store, "refused", "a")
    check(store, "a", at, "refused", 'executor "unsteady" did not take it')


def test_job_whose_executor_is_missing_was_refused_where_another_may_have_it(recording):
    store, at = recording(shared=True), ago(1)
    store.add_job(job("a", next_run_time=at, executor="gone"))
    by_hand(store)._process_jobs()
    wait_for(store, "refused", "a")
    check(store, "a", at, "refused", "gone")


def test_job_whose_executor_is_missing_is_refused_also_without_a_history(recording):
    store, at = recording(shared=True, history=None), ago(5)
    store.add_job(job("a", next_run_time=at, executor="gone"))
    by_hand(store)
    check(store, "a", at, "refused", 'its executor "gone" is missing on')


def test_job_that_could_not_be_run_was_quarantined(recording):
    store, at = recording(), ago(1)
    store.add_job(job("a", next_run_time=at, executor="gone"))
    by_hand(store)._process_jobs()
    wait_for(store, "quarantined", "a")
    check(store, "a", at, "quarantined", "gone")
    check(store, "a", None, "quarantined", "gone")


def test_job_in_quarantine_is_known_also_without_a_history(recording):
    store, at = recording(history=None), ago(1)
    store.add_job(job("a", next_run_time=at, executor="gone"))
    by_hand(store)._process_jobs()
    answer = check(store, "a", at, "quarantined", "gone")
    assert answer.source == "the job's document in jobs"


def test_job_that_two_schedulers_ran_ran_twice(recording):
    first, second = recording(), recording()
    at = ago(1)
    first.add_job(job("a", next_run_time=at))
    another = by_hand(second)
    scheduler = by_hand(first, then=lambda job: another._process_jobs())
    scheduler._process_jobs()
    scheduler._process_jobs()
    wait_for(first, "double", "a")
    check(first, "a", at, "twice", "on another scheduler, too")


def test_run_whose_job_was_removed_meanwhile_is_lost(recording):
    store, other = recording(history="problems"), recording(history=None)
    at = ago(1)
    store.add_job(job("a", next_run_time=at))
    scheduler = by_hand(store, then=lambda job: other.remove_job("a"))
    scheduler._process_jobs()
    scheduler._process_jobs()
    wait_for(store, "lost", "a")
    check(store, "a", at, "lost", "its write lost")


# The job's state


def test_job_that_a_call_paused_was_paused(recording, running_on, modes):
    store = recording(**modes)
    scheduler = running_on(store)
    scheduler.add_job(note, "interval", hours=1, id="a")
    scheduler.pause_job("a")
    (record,) = wait_for(store, "paused", "a")
    answer = check(store, "a", now(), "paused", "by a call in")
    assert answer.evidence == (record,)
    scheduler.resume_job("a")
    wait_for(store, "changed", "a")
    check(store, "a", now(), "not due")


def test_job_that_a_call_removed_was_removed(recording, running_on, modes):
    store = recording(**modes)
    scheduler = running_on(store)
    scheduler.add_job(note, "interval", hours=1, id="a")
    scheduler.remove_job("a")
    wait_for(store, "removed", "a")
    check(store, "a", now(), "removed", "by a call in")


def test_job_after_its_last_run_is_removed(recording, running_on):
    store, at = recording(), ago(600)
    running_on(store).add_job(note, "date", run_date=at, id="a", **NEVER_LATE)
    wait_for(store, "executed", "a")
    until(lambda: store.describe("a") is None)
    check(store, "a", at, "ran")
    check(store, "a", now() + HOUR, "removed", 'Its last record is "executed"')


def test_job_that_a_start_held_is_held(recording):
    store, at = recording(catch_up="hold"), ago(600)
    store.add_job(job("a", next_run_time=at))
    by_hand(store)
    check(store, "a", at, "held", 'catch_up="hold"')
    check(store, "a", None, "held")


def test_job_that_a_start_moved_on_was_moved_on(recording):
    store, at = recording(catch_up="skip"), ago(600)
    store.add_job(job("a", next_run_time=at, every=3600))
    by_hand(store)
    wait_for(store, "moved on", "a")
    check(store, "a", at, "moved on", 'catch_up="skip" gave the job the run time')


# Not due


def test_time_between_two_runs_is_not_due(recording, running_on, modes):
    store = recording(history="problems", **modes)
    running_on(store).add_job(note, "cron", minute="*/10", id="a")
    at = now().replace(minute=5, second=0, microsecond=0) - 24 * HOUR
    check(store, "a", at, "not due", f"{at:%H}:00:00 UTC, and the next one at {at:%Y-%m-%d %H}:10")


def test_time_before_the_job_was_added_is_not_due(recording, running_on):
    store = recording()
    scheduler = running_on(store)
    until(store.history)  # it has begun
    at = now()
    scheduler.add_job(note, "interval", hours=1, id="a")
    wait_for(store, "added", "a")
    check(store, "a", at, "not due", "The job was not there yet")


def test_time_to_come_is_not_due_yet(recording, running_on):
    store, at = recording(), now() + HOUR
    running_on(store).add_job(note, "date", run_date=at, id="a")
    check(store, "a", at, "not due", "which is to come")


# Nobody fired


def test_job_that_is_due_while_its_scheduler_is_busy_is_due(recording):
    store, at = recording(), ago(5)
    by_hand(store)
    store.add_job(job("a", next_run_time=at))
    check(store, "a", at, "due", "fires jobs. The job waits, or runs now")
    check(store, "a", None, "due")


def test_job_that_is_due_without_a_scheduler_waits_for_one(recording):
    store, at = recording(), ago(5)
    store.add_job(job("a", next_run_time=at))
    check(store, "a", at, "no scheduler", "no scheduler runs that fires jobs")


def test_job_that_was_due_between_two_schedulers_had_none(recording, running_on):
    store = recording()
    scheduler = running_on(store)
    at = now() + timedelta(seconds=1)
    scheduler.add_job(note, "date", run_date=at, misfire_grace_time=1, id="a")
    scheduler.shutdown()
    assert now() < at
    until(lambda: now() > at + timedelta(seconds=1.5))
    store = recording()
    running_on(store)
    wait_for(store, "missed", "a")
    answer = check(store, "a", at, "no scheduler", "No scheduler ran at", "The run was left out")
    assert [each.kind for each in answer.evidence] == ["stopped", "started", "missed"]


def first_left_out(store, job_id, since):
    """Return the record of the first run that was rolled into one after a moment."""
    records = store.history(job_id)
    return next((each for each in records if each.kind == "coalesced" and each.at > since), None)


def test_runs_in_an_outage_had_no_database(recording, running_on, server):
    with Proxy(server.nodes[0].port) as proxy:
        # Without a short limit, the driver repeats a command for 5 s.
        store, reader = recording(uri=f"{proxy.uri}&timeoutMS=500"), recording(history=None)
        scheduler = running_on(store)
        scheduler.add_job(note, "interval", seconds=0.5, id="a", **NEVER_LATE)
        wait_for(reader, "executed", "a")
        proxy.fail("find", "close", 10**9)
        until(lambda: proxy.fault_count >= 2)
        at = now()
        until(lambda: now() > at + timedelta(seconds=2.5))
        proxy.release()
        (away,) = wait_for(reader, "away")
        left_out = until(lambda: first_left_out(reader, "a", away.at))
        parts = "could not reach", "rolled into that of"
        check(reader, "a", left_out.run_time, "database away", *parts)


@pytest.mark.slow
def test_job_of_a_killed_scheduler_is_due_until_its_presence_is_over(recording, server, database):
    store = recording(history=None)
    store.add_jobs([job("a"), job("b", 1)])
    done = subprocess.run(
        command("run_until_killed", server.uri, database.name, "1"),
        env=environment(),
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    check(store, "b", None, "due", "fires jobs. The job waits, or runs now")
    over = [{"$set": {"expires": {"$subtract": ["$$NOW", 1]}}}]  # as it is 30 s later
    assert database.jobs_meta.update_many({"state": "firing"}, over).modified_count == 1
    check(store, "b", None, "no scheduler", "no scheduler runs that fires jobs")


def test_job_that_was_due_before_a_standby_took_over_had_no_scheduler(recording, running_on):
    store = recording(others="wait")
    scheduler = running_on(store)
    wait_for(store, "took over")
    at = now() + timedelta(seconds=1)
    scheduler.add_job(note, "date", run_date=at, misfire_grace_time=1, id="a")
    scheduler.shutdown()
    until(lambda: now() > at + timedelta(seconds=1.5))
    store = recording(others="wait")
    running_on(store)
    wait_for(store, "missed", "a")
    answer = check(store, "a", at, "no scheduler", "No scheduler ran at")
    assert [each.kind for each in answer.evidence] == ["stopped", "took over", "missed"]


# Unknown


def test_ids_of_no_job_are_told(recording):
    check(recording(), "a", now(), "no such job")


def test_run_without_a_history_is_unknown(recording, running_on):
    store, at = recording(history=None), ago(2)
    scheduler = running_on(store)
    scheduler.add_job(
        note, "interval", hours=1, start_date=at, next_run_time=at, id="a", **NEVER_LATE
    )
    until(lambda: store.describe("a").next_run_time > now())
    check(store, "a", at, "unknown", "no scheduler keeps a history")


def test_run_without_a_problem_is_unknown_if_only_problems_are_kept(recording, running_on):
    store, at = recording(history="problems"), ago(2)
    scheduler = running_on(store)
    wait_for(store, "started")
    options = {"start_date": at, "next_run_time": at, **NEVER_LATE}
    until(lambda: now() > at + timedelta(seconds=5))
    at = now()
    scheduler.add_job(note, "interval", hours=1, id="a", **{**options, "next_run_time": at})
    until(lambda: store.describe("a").next_run_time > now())
    check(store, "a", at, "unknown", "so it probably ran")


def test_each_answer_is_made_to_happen_here():
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    checks = [line for line in lines if line.lstrip().startswith(("check(", "answer = check("))]
    assert {*re.findall('"([a-z ]+)"', " ".join(checks))} >= ANSWERS.keys()
