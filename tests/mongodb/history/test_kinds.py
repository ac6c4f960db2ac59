"""Every kind of record made to happen, with real schedulers and a real server."""

import threading
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore
from jobstore.mongodb.history.record import KINDS, PROBLEMS
from support.history import end, kinds, wait_for
from support.jobs import job, note
from support.manual_scheduler import ByHand, by_hand
from support.mirrored_stores import own_threads
from support.scheduler_runs import running
from support.unsteady import Unsteady
from support.waiting import until

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}
LATE = {"misfire_grace_time": None}


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


@pytest.fixture
def started(recording):
    """Return a function that starts a scheduler on a store."""
    schedulers = []

    def start(store):
        schedulers.append(BackgroundScheduler(timezone="UTC", jobstores={"default": store}))
        schedulers[-1].start()
        return schedulers[-1]

    yield start
    for scheduler in schedulers:
        if scheduler.running:
            end(scheduler)


def fail(text):
    raise ValueError(text)


def ago(seconds):
    return datetime.now(timezone.utc) - timedelta(seconds=seconds)


async def sleep():
    """Do nothing: the function of a job in an event loop."""


def test_run_that_returns_is_executed(recording, started, mode):
    store = recording(**mode)
    scheduler = started(store)
    run_time = ago(1).replace(microsecond=123_000)
    scheduler.add_job(note, "date", run_date=run_time, id="a", **LATE)
    (record,) = wait_for(store, "executed", "a")
    assert record.job_id == "a"
    assert record.run_time == run_time
    assert 0 <= record.seconds < 60
    assert run_time < record.at <= datetime.now(timezone.utc)
    assert (record.runs, record.until, record.detail) == (1, None, "")
    assert kinds(store, "a") == ["added", "executed"]


def test_duration_covers_the_run(recording, started):
    entered, leave = threading.Event(), threading.Event()

    def wait():
        entered.set()
        assert leave.wait(60)

    wait_for_it.now = wait
    store = recording()
    scheduler = started(store)
    scheduler.add_job(wait_for_it, "date", id="a")
    assert entered.wait(60)
    began = datetime.now(timezone.utc)
    until(lambda: datetime.now(timezone.utc) - began > timedelta(seconds=0.3))
    leave.set()
    (record,) = wait_for(store, "executed", "a")
    assert record.seconds >= 0.3


def wait_for_it():
    wait_for_it.now()


def test_run_that_raises_is_an_error_with_the_first_500_characters(recording, started, mode):
    store = recording(**mode)
    scheduler = started(store)
    scheduler.add_job(fail, "date", args=["x" * 600], id="a")
    (record,) = wait_for(store, "error", "a")
    assert record.detail == ("ValueError: " + "x" * 600)[:500]
    assert record.seconds >= 0


def test_run_that_is_too_late_is_missed(recording, started, mode):
    store = recording(**mode)
    scheduler = started(store)
    scheduler.add_job(note, "date", run_date=ago(60), misfire_grace_time=1, id="a")
    (record,) = wait_for(store, "missed", "a")
    assert record.seconds is None


def test_run_beyond_max_instances_is_skipped(recording, started, mode):
    leave = threading.Event()
    wait_for_it.now = lambda: leave.wait(60)
    store = recording(**mode)
    scheduler = started(store)
    try:
        scheduler.add_job(wait_for_it, "interval", seconds=0.1, id="a", **LATE)
        (record, *_) = wait_for(store, "skipped", "a")
    finally:
        leave.set()
    assert record.run_time is not None
    assert record.runs == 1


def test_runs_that_are_rolled_into_one_are_counted(recording, started, mode):
    store = recording(**mode)
    scheduler = started(store)
    first = ago(100)
    scheduler.add_job(note, "interval", hours=1, start_date=first, id="a", **LATE)
    late = first - timedelta(hours=5)
    scheduler.modify_job("a", next_run_time=late)
    (record,) = wait_for(store, "coalesced", "a")
    assert record.runs == 5
    assert abs(record.run_time - late) < timedelta(milliseconds=1)
    (ran,) = wait_for(store, "executed", "a")
    assert record.until == ran.run_time


def test_runs_that_are_not_rolled_into_one_have_a_record_each(recording, started):
    store = recording()
    scheduler = started(store)
    options = {"coalesce": False, "max_instances": 9, **LATE}
    scheduler.add_job(
        note,
        "interval",
        hours=1,
        start_date=ago(10),
        next_run_time=ago(2 * 3600),
        id="a",
        **options,
    )
    wait_for(store, "executed", "a", count=2)
    assert "coalesced" not in kinds(store, "a")


def test_job_that_its_executor_does_not_take_is_refused(recording, mode):
    store = recording(**mode)
    scheduler = ByHand(timezone="UTC")
    scheduler.add_executor(Unsteady(), "unsteady")
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    store.add_job(job("a", executor="unsteady"))
    scheduler._process_jobs()
    (record,) = wait_for(store, "refused", "a")
    assert record.detail == 'executor "unsteady" did not take it'
    assert record.run_time is not None


def test_job_whose_executor_is_missing_is_refused_where_others_may_have_it(recording):
    store = recording(shared=True)
    store.add_job(job("a", executor="gone"))
    by_hand(store)._process_jobs()
    (record,) = wait_for(store, "refused", "a")
    assert "gone" in record.detail


@pytest.mark.parametrize("kind", ["queried", "mirrored"])
def test_job_whose_executor_is_missing_is_quarantined(recording, kind):
    store = recording(**MODES[kind])
    store.add_job(job("a", executor="gone"))
    by_hand(store)._process_jobs()
    (record,) = wait_for(store, "quarantined", "a")
    assert "gone" in record.detail
    assert record.run_time is not None


def test_removed_unreadable_job_has_a_record(recording):
    store = recording(unreadable="remove")
    store.collection.insert_one({"_id": "a", "next_run_time": 1.0, "job_state": b"no pickle"})
    by_hand(store)._process_jobs()
    (record,) = wait_for(store, "removed", "a")
    assert record.detail


def test_job_that_comes_back_from_quarantine_is_changed(recording):
    store = recording()
    store.add_job(job("a", executor="gone"))
    scheduler = by_hand(store)
    scheduler._process_jobs()
    scheduler.add_executor(Unsteady(), "gone")
    assert store.restore_quarantined() == ["a"]
    (record,) = wait_for(store, "changed", "a")
    assert record.detail == "back from quarantine"


def test_calls_of_a_scheduler_have_records(recording, started, mode):
    store = recording(**mode)
    scheduler = started(store)
    later = datetime(2100, 1, 1, tzinfo=timezone.utc)
    scheduler.add_job(note, "date", run_date=later, id="a")
    scheduler.pause_job("a")
    scheduler.resume_job("a")
    scheduler.remove_job("a")
    wait_for(store, "removed", "a")
    found = store.history("a")
    assert [each.kind for each in found] == ["added", "paused", "changed", "removed"]
    assert [each.detail for each in found] == [later.isoformat(), "", later.isoformat(), ""]


def test_bulk_calls_have_a_record_for_each_job(recording, mode):
    store = recording(**mode)
    by_hand(store)
    store.add_jobs([job(name, 10**10) for name in "abc"])
    store.update_jobs([job("a", 10**10 + 1), job("b", None)])
    store.remove_jobs(["a"])
    wait_for(store, "removed", "a")
    assert kinds(store, "a") == ["added", "changed", "removed"]
    assert kinds(store, "b") == ["added", "paused"]
    assert kinds(store, "c") == ["added"]


def test_jobs_of_a_bulk_call_that_replace_others_are_changed(recording, mode):
    store = recording(**mode)
    by_hand(store)
    store.add_job(job("a", 10**10))
    jobs = [job("a", 10**10), job("b", 10**10), job("b", 10**10 + 1)]
    store.add_jobs(jobs, replace_existing=True)
    wait_for(store, "added", "b")
    assert kinds(store, "a") == ["added", "changed"]
    assert kinds(store, "b") == ["added"]


@pytest.mark.parametrize("history", ["all", "problems"])
def test_jobs_that_are_added_without_a_run_time_are_paused(recording, history):
    store = recording(history=history)
    by_hand(store)
    store.add_job(job("a", None))
    store.add_jobs([job("a", None), job("b", None)], replace_existing=True)
    wait_for(store, "paused", "b")
    added = ["added"] if history == "all" else []
    assert kinds(store, "a") == [*added, "paused", "paused"]
    assert kinds(store, "b") == [*added, "paused"]


def test_refused_jobs_of_a_bulk_call_have_no_record(recording):
    store = recording()
    by_hand(store)
    store.add_job(job("a", 10**10))
    with pytest.raises(Exception, match="a"):
        store.add_jobs([job("a", 10**10), job("b", 10**10)])
    wait_for(store, "added", "b")
    assert kinds(store, "a") == ["added"]


def test_removal_of_all_jobs_is_one_record_without_a_job(recording):
    store = recording()
    by_hand(store)
    store.add_jobs([job(name, 10**10) for name in "abc"])
    store.remove_all_jobs()
    (record,) = wait_for(store, "removed")
    assert (record.job_id, record.detail) == (None, "all jobs")


def test_released_jobs_are_changed(recording):
    store = recording(catch_up="hold")
    store.add_job(job("a"))
    by_hand(store)
    assert store.release_held() == 1
    wait_for(store, "changed", "a")


def test_start_and_shutdown_have_records(recording, mode):
    store = recording(**mode)
    scheduler = by_hand(store)
    wait_for(store, "started")
    scheduler.shutdown()
    assert kinds(recording(history=None)) == ["started", "stopped"]


def test_records_name_the_scheduler(recording):
    store = recording()
    by_hand(store)
    (record,) = wait_for(store, "started")
    assert record.by.startswith("scheduler:")


@pytest.mark.parametrize("history", ["problems", "all"])
def test_history_keeps_its_kinds(recording, started, history):
    store = recording(history=history)
    scheduler = started(store)
    scheduler.add_job(note, "date", id="good")
    scheduler.add_job(fail, "date", args=[""], id="bad")
    wait_for(store, "error", "bad")
    end(scheduler)
    reader = recording(history=None)
    found = {*kinds(reader, "good"), *kinds(reader, "bad"), *kinds(reader)}
    wanted = {"added", "executed", "error", "started", "stopped"}
    assert found == wanted & (PROBLEMS if history == "problems" else KINDS.keys())


def test_event_loop_of_coroutines_has_records(recording):
    store = recording()
    scheduler = AsyncIOScheduler(timezone="UTC", jobstores={"default": store})
    scheduler.add_executor(AsyncIOExecutor(), "default")
    with running(scheduler):
        scheduler.add_job(sleep, "date", id="a")
        (record,) = wait_for(store, "executed", "a")
    assert record.seconds >= 0


def test_jobs_of_another_store_have_no_record(recording, started):
    store = recording()
    scheduler = started(store)
    scheduler.add_jobstore("memory", "other")
    for alias in ("other", "default"):
        scheduler.add_job(fail, "date", args=[alias], id="a", jobstore=alias)
    (record,) = wait_for(store, "error", "a")
    assert record.detail == "ValueError: default"


def test_history_is_off_by_default_and_leaves_no_trace(server, database, session_client):
    store = MongoDBJobStore(database.name, host=server.uri)
    scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
    scheduler.start()
    scheduler.add_job(note, "date", id="a")
    until(lambda: not scheduler.get_jobs())
    assert "jobstore-history" not in {thread.name for thread in own_threads()}
    end(scheduler)
    assert "jobs_runs" not in session_client[database.name].list_collection_names()
    assert len(store._incidents.entries) == 0
