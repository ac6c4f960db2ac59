"""A scheduler's cycle on the MongoDB store: its commands, its deferred writes, its errors."""

import signal
import sys
import threading

import pytest
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.interval import IntervalTrigger
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb.writes import write_behind
from support.jobs import YEARS, at, job, names, run_times
from support.manual_scheduler import Submissions, by_hand
from support.waiting import in_thread


def cycle(scheduler, commands):
    """Run one cycle, and return the commands that it sent."""
    commands.names.clear()
    scheduler._process_jobs()
    return list(commands.names)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("size", [400, 5_000])
@pytest.mark.parametrize("count", [1, 102, 1_000])
def test_cycle_sends_two_reads_and_one_write(store, commands, count, size):
    store.add_jobs([job(f"job-{i}", args=("x" * size,)) for i in range(count)])
    scheduler = by_hand(store)
    assert cycle(scheduler, commands) == ["find", "update", "find"]
    assert len(scheduler.executor.submitted) == count
    assert cycle(scheduler, commands) == ["find", "find"]


def test_ended_jobs_cost_one_more_command(store, commands):
    store.add_jobs([job("a"), job("b", every=None), job("c", every=None)])
    assert cycle(by_hand(store), commands) == ["find", "update", "delete", "find"]
    assert names(store) == ["a"]


def test_idle_cycle_sends_two_reads(store, commands):
    assert cycle(by_hand(store), commands) == ["find", "find"]


def test_due_jobs_are_handed_out_in_order_and_in_batches(server, database):
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client, batch_size=10)
        store.add_jobs([job(f"job-{i:02}", i) for i in range(25)])
        scheduler = by_hand(store)
        waits = [scheduler._process_jobs() for _ in range(3)]
        assert waits[:2] == [0, 0]  # more jobs are due, so the next cycle follows at once
        assert waits[2] > 0
        submitted = [job_id for job_id, _ in scheduler.executor.submitted]
        assert submitted == [f"job-{i:02}" for i in range(25)]


def test_cycle_writes_the_run_time_that_the_scheduler_set(store):
    store.add_job(job("a"))
    by_hand(store)._process_jobs()
    assert store.lookup_job("a").next_run_time == at(YEARS)


def test_only_updates_of_objects_handed_out_are_deferred(store, commands):
    store.add_jobs([job("a"), job("b")])
    loop = iter(store.get_due_jobs(at(1)))
    commands.names.clear()
    due = next(loop)
    due.next_run_time = at(10)
    store.update_job(due)
    assert commands.names == []
    other = job("b", 20)
    store.update_job(other)  # flushes first, then writes through
    assert commands.names == ["update", "update"]
    assert run_times(store) == {"a": at(10).timestamp(), "b": at(20).timestamp()}


def test_writes_of_another_thread_are_not_deferred(store):
    store.add_jobs([job("a"), job("b")])
    loop = iter(store.get_due_jobs(at(1)))
    due = next(loop)
    due.next_run_time = at(10)
    in_thread(store.update_job, due)
    in_thread(store.remove_job, "b")
    assert run_times(store) == {"a": at(10).timestamp()}


@pytest.mark.parametrize("options", [{}, {"mirror": True}], ids=["queried", "mirrored"])
def test_calls_outside_the_schedulers_loop_are_written_at_once(server, database, options):
    """Only the scheduler, while it iterates over the due jobs, defers writes."""
    store = MongoDBJobStore(database.name, host=server.uri, **options)
    scheduler = by_hand(store)
    store.add_jobs([job("a"), job("b")])
    due = store.get_due_jobs(at(1))
    in_thread(scheduler._process_jobs)
    store.remove_job("a")
    with pytest.raises(JobLookupError):
        store.remove_job("a")
    due[1].next_run_time = at(7)
    store.update_job(due[1])
    assert run_times(store) == {"b": at(7).timestamp()}
    store.shutdown()


def test_ended_cycle_notes_no_rewrites(store):
    by_hand(store)._process_jobs()
    store.add_jobs([job(f"{number}") for number in range(100)])
    store.remove_all_jobs()
    assert not store._cycles.current._rewritten


def test_nothing_is_deferred_after_the_cycle(store):
    store.add_job(job("a"))
    (due,) = store.get_due_jobs(at(1))
    store.get_next_run_time()
    store.remove_job("a")
    assert names(store) == []
    with pytest.raises(JobLookupError):
        store.update_job(due)
    with pytest.raises(JobLookupError):
        store.remove_job("a")


def test_reads_see_deferred_writes(store):
    store.add_jobs([job("a"), job("b"), job("c")])
    for due in store.get_due_jobs(at(1)):
        if due.id == "a":
            due.next_run_time = at(10)
            store.update_job(due)
        elif due.id == "b":
            store.remove_job("b")
    assert store.lookup_job("a").next_run_time == at(10)
    assert store.lookup_job("b") is None
    assert [job.id for job in store.get_all_jobs()] == ["c", "a"]
    assert len(store) == 2


def test_removal_is_final_within_the_cycle(store):
    store.add_job(job("a"))
    for due in store.get_due_jobs(at(1)):
        store.remove_job("a")
        store.remove_job("a")
        due.next_run_time = at(10)
        store.update_job(due)
    store.get_next_run_time()
    assert names(store) == []


def test_deferred_write_is_flushed_after_a_while_without_any_call(store, monkeypatch):
    monkeypatch.setattr(write_behind, "FLUSH_SECONDS", 0.01)
    flushed = threading.Event()
    write = store._write_behind._flush

    def flush_and_notify(*args):
        write(*args)
        flushed.set()

    store._write_behind._flush = flush_and_notify
    store.add_job(job("a"))
    for due in store.get_due_jobs(at(1)):
        due.next_run_time = at(10)
        store.update_job(due)
        assert flushed.wait(30)
    assert run_times(store) == {"a": at(10).timestamp()}


def test_flush_begins_at_12_mb_of_states(store, commands):
    store.add_jobs([job(f"job-{i}", args=("x" * 1_000_000,)) for i in range(15)])
    due = store.get_due_jobs(at(1))
    commands.names.clear()
    for one in due:
        one.next_run_time = at(10)
        store.update_job(one)
    assert commands.names == ["update"]  # of 11 jobs
    store.get_next_run_time()
    assert set(run_times(store).values()) == {at(10).timestamp()}


def test_job_that_became_unpicklable_keeps_its_old_state(store):
    store.add_job(job("a", args=([],)))
    for due in store.get_due_jobs(at(1)):
        due.args[0].append(threading.Lock())
        due.next_run_time = at(10)
        store.update_job(due)
    store.get_next_run_time()
    kept = store.lookup_job("a")
    assert kept.next_run_time == at(10)
    assert kept.args == ([],)


def test_two_stores_of_one_scheduler_write_their_own_jobs(store, server, database):
    with MongoClient(server.uri) as client:
        second = MongoDBJobStore(database.name, "others", client=client)
        store.add_jobs([job("a"), job("both")])
        second.add_jobs([job("x"), job("both", every=None)])
        scheduler = by_hand(store)
        scheduler.add_jobstore(second, "second")
        scheduler.executor.then = lambda each: (
            each.id == "a" and scheduler.remove_job("x", "second")
        )
        scheduler._process_jobs()
        assert names(store) == ["a", "both"]
        assert all(time > at(100).timestamp() for time in run_times(store).values())
        assert names(second) == []


class Bomb(IntervalTrigger):
    """A trigger that raises when it is asked for the next time."""

    def get_next_fire_time(self, previous_fire_time, now):
        if previous_fire_time is not None:
            raise RuntimeError("no next time")
        return super().get_next_fire_time(previous_fire_time, now)


def test_trigger_that_raises_in_mid_cycle_does_not_affect_other_jobs(store):
    bomb = Bomb(seconds=YEARS, start_date=at(2), timezone="UTC")
    store.add_jobs([job("a", 0), job("b", 1), job("bomb", 2, trigger=bomb), job("c", 3)])
    scheduler = by_hand(store)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no next time"):
            scheduler._process_jobs()
    # The second cycle flushed the writes that the first had deferred, and reached the bomb at once.
    scheduler.remove_job("bomb")
    scheduler._process_jobs()
    submitted = [job_id for job_id, _ in scheduler.executor.submitted]
    assert submitted == ["a", "b", "c"]
    assert all(time > at(100).timestamp() for time in run_times(store).values())


class Interrupted(IntervalTrigger):
    """A trigger during which Ctrl-C comes, just after its job was submitted."""

    def get_next_fire_time(self, previous_fire_time, now):
        following = super().get_next_fire_time(previous_fire_time, now)
        if sys._getframe(1).f_code.co_name == "_process_jobs":
            signal.raise_signal(signal.SIGINT)
        return following


def test_ctrl_c_in_mid_cycle_flushes_deferred_writes_and_leaves_the_rest_due(store):
    interrupted = Interrupted(seconds=YEARS, start_date=at(1), timezone="UTC")
    store.add_jobs([job("a", 0), job("b", 1, trigger=interrupted), job("c", 2)])
    scheduler = BlockingScheduler(
        timezone="UTC", jobstores={"default": store}, executors={"default": Submissions()}
    )
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background job ignores SIGINT
    try:
        with pytest.raises(KeyboardInterrupt):
            scheduler.start()
    finally:
        signal.signal(signal.SIGINT, before)
    scheduler.shutdown()
    times = run_times(store)
    assert times["a"] > at(100).timestamp()  # handed out and flushed
    assert times["b"] == at(1).timestamp()  # handed out: runs again
    assert times["c"] == at(2).timestamp()  # never handed out: still due


def test_background_scheduler_fires_a_job_and_shuts_down(store):
    done = threading.Event()
    scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
    scheduler.add_listener(lambda event: done.set())
    store.add_job(job("a", args=("ran",)))
    scheduler.start()
    assert done.wait(30)
    scheduler.shutdown()
