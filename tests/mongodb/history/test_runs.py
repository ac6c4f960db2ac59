"""Records of runs: their durations, and the runs rolled into one."""

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

import jobstore
from jobstore.mongodb.documents import Record
from jobstore.mongodb.history import recording
from jobstore.mongodb.history.recording import Runs
from jobstore.mongodb.history.run_end import RunEnd
from jobstore.mongodb.restored import Restored
from support.jobs import at, job

SECONDS = IntervalTrigger(seconds=1, timezone="UTC")
# A scheduler whose executor "loop" has no thread of its own for a run.
SCHEDULER = SimpleNamespace(
    _executors={"default": ThreadPoolExecutor(), "loop": object(), "debug": DebugExecutor()}
)


class OwnTrigger(BaseTrigger):
    """A trigger that no other thread may call."""

    def get_next_fire_time(self, previous_fire_time, now):
        raise AssertionError("called in another thread")


def handed_out(seconds, due=0, **options):
    """Return a batch: one job, due `due` seconds after START, handed out at a time."""
    options = {"trigger": SECONDS, **options}
    each = job("a", due, **options)
    return seconds, [Restored(each, Record("a", at(due).timestamp(), b""), None, None)]


def end(ended_at, due=0, kind="executed", thread=1, runs=1, job_id="a"):
    return RunEnd(kind, job_id, at(due), runs, at(due).timestamp() + 1, ended_at, thread, "")


def note(*batches):
    runs = Runs()
    runs.note_handed_out(batches, SCHEDULER)
    return runs


def seconds_of(runs, *ends):
    return [record.seconds for each in ends for record in runs.records(each)]


def coalesced(trigger, first, last, **options):
    """Return the records of runs that were rolled into one, and the run that took place."""
    each = job("a", trigger=trigger, next_run_time=first, **options)
    runs = note((0, [Restored(each, Record("a", first.timestamp(), b""), None, None)]))
    return list(runs.records(RunEnd("executed", "a", last, 1, last.timestamp(), 1, 1, "")))


def test_first_run_of_a_thread_lasts_from_its_hand_out():
    assert seconds_of(note(handed_out(10.0)), end(12.5)) == [2.5]


@pytest.mark.parametrize("executor", ["default", "debug"])
def test_next_run_of_a_thread_lasts_from_the_end_before(executor):
    runs = note(handed_out(10.0, executor=executor), handed_out(10.0, 1, executor=executor))
    assert seconds_of(
        runs,
        end(12.5),
        end(14.0, 1),
    ) == [2.5, 1.5]


def test_run_of_another_thread_lasts_from_its_hand_out():
    runs = note(handed_out(10.0), handed_out(10.0, 1))
    assert seconds_of(runs, end(12.5), end(14.0, 1, thread=2)) == [2.5, 4.0]


def test_run_after_a_pause_of_its_thread_lasts_from_its_hand_out():
    runs = note(handed_out(10.0), handed_out(20.0, 1))
    assert seconds_of(runs, end(12.5), end(21.0, 1)) == [2.5, 1.0]


def test_runs_of_an_executor_that_mixes_them_last_from_their_hand_outs():
    runs = note(handed_out(10.0, executor="loop"), handed_out(10.0, 1, executor="loop"))
    assert seconds_of(runs, end(12.5), end(14.0, 1)) == [2.5, 4.0]


def test_runs_of_one_submission_have_one_duration_together():
    runs = note(handed_out(10.0, coalesce=False))
    assert seconds_of(runs, end(12.0), end(12.0, 1), end(12.0, 2)) == [2.0, None, None]


def test_overlapping_runs_have_their_own_hand_outs():
    runs = note(
        *(handed_out(10.0 + due, due, executor="loop", max_instances=3) for due in range(3))
    )
    assert seconds_of(runs, end(20.0, 1), end(20.0, 0), end(20.0, 2)) == [9.0, 10.0, 8.0]


def test_run_that_is_not_known_has_no_duration():
    assert seconds_of(Runs(), end(1.0)) == [None]
    assert seconds_of(note(handed_out(10.0, 5)), end(1.0)) == [None]


@pytest.mark.parametrize("kind", ["missed", "skipped"])
def test_run_that_was_left_out_has_no_duration(kind):
    assert seconds_of(note(handed_out(10.0)), end(12.5, kind=kind)) == [None]


def test_ended_runs_are_forgotten():
    runs = note(handed_out(10.0), handed_out(11.0, 1, coalesce=False))
    assert seconds_of(runs, end(10.5), end(11.5, 1)) == [0.5, 0.5]
    runs.note_handed_out([handed_out(12.0, 2)], SCHEDULER)
    assert seconds_of(runs, end(12.5, 2)) == [0.5]
    assert len(runs._handed_out["a"]) == 1  # of the job that has one run time or more


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(recording, "MAX_JOBS", 2)
    monkeypatch.setattr(recording, "MAX_THREADS", 2)
    runs = Runs()
    for number in range(100):
        runs.note_handed_out([handed_out(1.0, number)], SCHEDULER)
        each = job(f"job-{number}", trigger=SECONDS)
        batch = [Restored(each, Record(each.id, 0.0, b""), None, None)]
        runs.note_handed_out([(1.0, batch)], SCHEDULER)
        list(runs.records(end(2.0, thread=number, job_id="unknown")))
    assert len(runs._handed_out) <= 2
    assert len(runs._last_ends) <= 3
    runs = Runs()
    for number in range(100):
        runs.note_handed_out([handed_out(1.0, number)], SCHEDULER)
    assert len(runs._handed_out["a"]) == recording.MAX_OF_JOB


ZONE = ZoneInfo("Europe/Berlin")
FIRST = datetime(2020, 3, 29, 0, 30, tzinfo=timezone.utc)
HOURS = timedelta(hours=1)


@pytest.mark.parametrize(
    "trigger",
    [
        IntervalTrigger(hours=1, start_date=FIRST, timezone=ZONE),
        IntervalTrigger(hours=1, start_date=FIRST, timezone=ZONE, jitter=1),
        CronTrigger(minute=30, timezone=ZONE),
        jobstore.triggers.CronTrigger(minute=30, timezone=ZONE),
    ],
    ids=["interval", "interval with jitter", "cron", "compiled cron"],
)
def test_coalesced_runs_are_counted(trigger):
    """Over the change of the clocks to summer time, too."""
    left_out, ran = coalesced(trigger, FIRST, (FIRST + 5 * HOURS).astimezone(ZONE))
    assert left_out.kind == "coalesced"
    assert left_out.run_time == FIRST
    assert left_out.until == FIRST + 5 * HOURS == ran.run_time
    assert left_out.runs == pytest.approx(5, abs=1 if getattr(trigger, "jitter", None) else 0)
    assert left_out.detail == ""
    assert ran.kind == "executed"


@pytest.mark.parametrize(
    "trigger",
    [OwnTrigger(), OrTrigger([OwnTrigger()])],
    ids=["of a user", "combined"],
)
def test_trigger_that_may_not_be_called_counts_as_one_run_at_least(trigger):
    left_out, _ = coalesced(trigger, FIRST, FIRST + 5 * HOURS)
    assert (left_out.runs, left_out.detail) == (1, "at least")


def test_count_of_coalesced_runs_has_a_bound():
    trigger = CronTrigger(second="*", timezone="UTC")
    left_out, _ = coalesced(trigger, FIRST, FIRST + 24 * HOURS)
    assert (left_out.runs, left_out.detail) == (recording.MAX_STEPS, "at least")


def test_trigger_that_ends_early_ends_the_count():
    trigger = CronTrigger(hour="*", end_date=FIRST + 2 * HOURS, timezone="UTC")
    left_out, _ = coalesced(trigger, FIRST.replace(minute=0), FIRST + 5 * HOURS)
    assert left_out.runs == 3


def test_run_on_time_has_no_record_of_coalesced_runs():
    (ran,) = coalesced(SECONDS, FIRST, FIRST)
    assert ran.kind == "executed"


def test_job_that_does_not_coalesce_has_no_record_of_coalesced_runs():
    (ran,) = coalesced(SECONDS, FIRST, FIRST + HOURS, coalesce=False)
    assert ran.kind == "executed"
