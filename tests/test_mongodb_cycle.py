"""A scheduler's cycle on the MongoDB store: how many commands, what is deferred, what goes wrong."""

import os
import signal
import threading
from datetime import datetime, timezone

import pytest
from apscheduler.executors.debug import DebugExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.interval import IntervalTrigger
from mongo import YEARS, Commands, at, by_hand, in_thread, job
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb import deferred


@pytest.fixture
def commands():
    return Commands()


@pytest.fixture
def store(server, database, commands):
    with MongoClient(server.uri, event_listeners=[commands]) as client:
        store = MongoDBJobStore(database.name, client=client)
        yield store
        store.shutdown()


def names(store):
    return sorted(document["_id"] for document in store.collection.find())


def run_times(store):
    return {document["_id"]: document["next_run_time"] for document in store.collection.find()}


def cycle(scheduler, commands):
    """Run one cycle, and return the commands that it took."""
    commands.names.clear()
    scheduler._process_jobs()
    return list(commands.names)


@pytest.mark.parametrize("size", [400, 5_000])
@pytest.mark.parametrize("count", [1, 102, 1_000])
def test_a_cycle_is_two_reads_and_one_write(store, commands, count, size):
    store.add_jobs([job(f"job-{i}", args=("x" * size,)) for i in range(count)])
    scheduler = by_hand(store)
    assert cycle(scheduler, commands) == ["find", "update", "find"]
    assert len(scheduler.executor.submitted) == count
    assert cycle(scheduler, commands) == ["find", "find"]


def test_jobs_that_end_cost_one_command_more(store, commands):
    store.add_jobs([job("a"), job("b", every=None), job("c", every=None)])
    assert cycle(by_hand(store), commands) == ["find", "update", "delete", "find"]
    assert names(store) == ["a"]


def test_an_idle_cycle_is_two_reads(store, commands):
    assert cycle(by_hand(store), commands) == ["find", "find"]


def test_more_than_a_batch_is_handed_out_by_batches_in_order(server, database):
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client, batch_size=10)
        store.add_jobs([job(f"job-{i:02}", i) for i in range(25)])
        scheduler = by_hand(store)
        waits = [scheduler._process_jobs() for _ in range(3)]
        assert waits[:2] == [0, 0]  # there is more: at once
        assert waits[2] > 0
        submitted = [job_id for job_id, _ in scheduler.executor.submitted]
        assert submitted == [f"job-{i:02}" for i in range(25)]


def test_what_the_cycle_writes_is_what_the_scheduler_decided(store):
    store.add_job(job("a"))
    by_hand(store)._process_jobs()
    assert store.lookup_job("a").next_run_time == at(YEARS)


def test_only_the_very_object_handed_out_is_deferred(store, commands):
    store.add_jobs([job("a"), job("b")])
    due = store.get_due_jobs(at(1))
    commands.names.clear()
    due[0].next_run_time = at(10)
    store.update_job(due[0])
    assert commands.names == []
    other = job("b", 20)
    store.update_job(other)  # flushes first, then writes through
    assert commands.names == ["update", "update"]
    assert run_times(store) == {"a": at(10).timestamp(), "b": at(20).timestamp()}


def test_another_threads_writes_are_not_deferred(store):
    store.add_jobs([job("a"), job("b")])
    due = store.get_due_jobs(at(1))
    due[0].next_run_time = at(10)
    in_thread(store.update_job, due[0])
    in_thread(store.remove_job, "b")
    assert run_times(store) == {"a": at(10).timestamp()}


def test_after_the_cycle_nothing_is_deferred(store):
    store.add_job(job("a"))
    (due,) = store.get_due_jobs(at(1))
    store.get_next_run_time()
    store.remove_job("a")
    assert names(store) == []
    with pytest.raises(JobLookupError):
        store.update_job(due)
    with pytest.raises(JobLookupError):
        store.remove_job("a")


def test_reads_see_what_is_deferred(store):
    store.add_jobs([job("a"), job("b"), job("c")])
    due = store.get_due_jobs(at(1))
    due[0].next_run_time = at(10)
    store.update_job(due[0])
    store.remove_job("b")
    assert store.lookup_job("a").next_run_time == at(10)
    assert store.lookup_job("b") is None
    assert [job.id for job in store.get_all_jobs()] == ["c", "a"]
    assert len(store) == 2


def test_a_removal_is_final_within_the_cycle(store):
    store.add_job(job("a"))
    (due,) = store.get_due_jobs(at(1))
    store.remove_job("a")
    store.remove_job("a")
    due.next_run_time = at(10)
    store.update_job(due)
    store.get_next_run_time()
    assert names(store) == []


def test_what_is_deferred_for_a_second_is_flushed_without_any_call(store, monkeypatch):
    monkeypatch.setattr(deferred, "FLUSH_SECONDS", 0.01)
    flushed = threading.Event()
    write = store._deferred._flush

    def told(writes):
        write(writes)
        flushed.set()

    store._deferred._flush = told
    store.add_job(job("a"))
    (due,) = store.get_due_jobs(at(1))
    due.next_run_time = at(10)
    store.update_job(due)
    assert flushed.wait(30)
    assert run_times(store) == {"a": at(10).timestamp()}


def test_a_flush_happens_at_12_mb(store, commands):
    store.add_jobs([job(f"job-{i}", args=("x" * 1_000_000,)) for i in range(15)])
    due = store.get_due_jobs(at(1))
    commands.names.clear()
    for one in due:
        one.next_run_time = at(10)
        store.update_job(one)
    assert commands.names == ["update", "update"]  # of seen and new states: 6 jobs each
    store.get_next_run_time()
    assert set(run_times(store).values()) == {at(10).timestamp()}


def test_deferring_a_job_that_has_become_unpicklable_keeps_its_state(store):
    store.add_job(job("a", args=([],)))
    (due,) = store.get_due_jobs(at(1))
    due.args[0].append(threading.Lock())
    due.next_run_time = at(10)
    store.update_job(due)
    store.get_next_run_time()
    kept = store.lookup_job("a")
    assert kept.next_run_time == at(10)
    assert kept.args == ([],)


# Jobs that run in the cycle itself


class InCycle:
    """A scheduler whose job "a" (of "a" and "b", both due) calls something in the cycle."""

    def __init__(self, store, act, **options):
        self.store = store
        store.add_jobs([job("a", 0, args=("old",), **options), job("b", 1)])
        self.scheduler = by_hand(store, lambda each: each.id == "a" and act(self.scheduler))
        self.scheduler._process_jobs()
        self.submitted = [job_id for job_id, _ in self.scheduler.executor.submitted]
        assert self.submitted[:2] == ["a", "b"]

    def job(self, job_id="a"):
        return self.scheduler.get_job(job_id)


def future(job):
    return job.next_run_time is not None and job.next_run_time > datetime.now(timezone.utc)


def test_a_synchronous_job_pauses_itself(store):
    run = InCycle(store, lambda scheduler: scheduler.pause_job("a"))
    assert run.job().next_run_time is None
    assert future(run.job("b"))


def test_a_synchronous_job_changes_its_arguments(store):
    run = InCycle(store, lambda scheduler: scheduler.modify_job("a", args=("new",)))
    assert run.job().args == ("new",)
    assert future(run.job())


def test_a_synchronous_job_reschedules_itself(store):
    run = InCycle(
        store, lambda scheduler: scheduler.reschedule_job("a", trigger="interval", days=9)
    )
    assert run.job().trigger.interval.days == 9
    assert future(run.job())


def test_a_synchronous_job_that_has_ended_reschedules_itself(store):
    run = InCycle(
        store, lambda scheduler: scheduler.reschedule_job("a", trigger="interval", days=9), every=None
    )
    assert run.job().trigger.interval.days == 9


def test_a_synchronous_job_removes_itself(store):
    run = InCycle(store, lambda scheduler: scheduler.remove_job("a"))
    assert names(run.store) == ["b"]


def test_a_synchronous_job_changes_and_then_removes_itself(store):
    def act(scheduler):
        scheduler.modify_job("a", args=("new",))
        scheduler.remove_job("a")

    assert names(InCycle(store, act).store) == ["b"]


def test_a_synchronous_job_removes_and_adds_itself(store):
    def act(scheduler):
        scheduler.remove_job("a")
        scheduler.add_job("mongo:note", "interval", days=9, id="a", args=("anew",))

    run = InCycle(store, act)
    assert run.job().args == ("anew",)
    assert run.job().trigger.interval.days == 9


def test_a_synchronous_job_removes_adds_and_removes_itself(store):
    def act(scheduler):
        scheduler.remove_job("a")
        scheduler.add_job("mongo:note", "interval", days=9, id="a")
        scheduler.remove_job("a")

    assert names(InCycle(store, act).store) == ["b"]


def test_a_synchronous_job_removes_the_next_one(store):
    run = InCycle(store, lambda scheduler: scheduler.remove_job("b"))
    assert names(run.store) == ["a"]
    assert future(run.job())


def test_a_synchronous_job_removes_all(store):
    run = InCycle(store, lambda scheduler: scheduler.remove_all_jobs())
    assert names(run.store) == []


def test_a_synchronous_job_adds_and_looks_up(store):
    seen = []

    def act(scheduler):
        scheduler.add_job("mongo:note", "interval", days=9, id="new")
        seen.extend(each.id for each in scheduler.get_jobs())
        seen.append(scheduler.get_job("a").id)

    run = InCycle(store, act)
    assert seen == ["a", "b", "new", "a"]
    assert names(run.store) == ["a", "b", "new"]
    assert future(run.job())


@pytest.mark.parametrize("call", ["due", "next"])
def test_a_synchronous_job_asks_the_store_itself(store, commands, call):
    def act(scheduler):
        if call == "due":
            assert [each.id for each in store.get_due_jobs(at(5))] == ["a", "b"]
        else:
            assert store.get_next_run_time() == at(0)
        commands.names.clear()

    run = InCycle(store, act)
    assert commands.names == ["update", "find"]  # the cycle went on deferring
    assert future(run.job())
    assert future(run.job("b"))


def test_many_jobs_at_once_in_the_cycle(store):
    def act(scheduler):
        store.update_jobs([job("b", 500)])
        store.add_jobs([job("c", 600), job("a", 700)], replace_existing=True)
        store.remove_jobs(["c"])

    run = InCycle(store, act)
    assert run_times(run.store) == {"a": at(700).timestamp(), "b": at(500).timestamp()}


def test_shutdown_in_the_cycle_leaves_the_rest_due(server, database):
    store = MongoDBJobStore(database.name, host=server.uri)
    store.add_jobs([job("a", 0), job("b", 1), job("c", 2), job("d", 3, every=None)])
    scheduler = by_hand(store)
    scheduler.executor.then = lambda each: each.id == "b" and scheduler.shutdown()
    scheduler._process_jobs()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["a", "b", "c", "d"]
    later = by_hand(store)  # starts it again
    times = run_times(store)
    assert times["a"] > at(100).timestamp()
    assert [times[each] for each in "bcd"] == [at(i).timestamp() for i in (1, 2, 3)]
    later._process_jobs()
    assert [job_id for job_id, _ in later.executor.submitted] == ["b", "c", "d"]
    later.shutdown()


def test_two_stores_in_one_scheduler(store, server, database):
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


def test_a_trigger_that_raises_in_mid_cycle_costs_the_others_nothing(store):
    bomb = Bomb(seconds=YEARS, start_date=at(2), timezone="UTC")
    store.add_jobs([job("a", 0), job("b", 1), job("bomb", 2, trigger=bomb), job("c", 3)])
    scheduler = by_hand(store)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no next time"):
            scheduler._process_jobs()
    # The second cycle flushed what the first had deferred, and came to the bomb at once.
    scheduler.remove_job("bomb")
    scheduler._process_jobs()
    submitted = [job_id for job_id, _ in scheduler.executor.submitted]
    assert submitted == ["a", "b", "bomb", "bomb", "c"]
    assert all(time > at(100).timestamp() for time in run_times(store).values())


RUNS = []


def interrupt():
    """What the interrupted job does: Ctrl-C."""
    RUNS.append(1)
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_in_a_blocking_scheduler(store):
    store.add_jobs([job("a", 0), job("b", 1, func=interrupt), job("c", 2)])
    scheduler = BlockingScheduler(
        timezone="UTC", jobstores={"default": store}, executors={"default": RaisingExecutor()}
    )
    with pytest.raises(KeyboardInterrupt):
        scheduler.start()
    scheduler.shutdown()
    times = run_times(store)
    assert times["a"] > at(100).timestamp()  # handed out and flushed
    assert times["c"] == at(2).timestamp()  # never handed out: still due


class RaisingExecutor(DebugExecutor):
    """Runs jobs in the cycle; lets Ctrl-C through, as it comes between two of Python's steps."""

    def submit_job(self, job, run_times):
        super().submit_job(job, run_times)


def test_a_background_scheduler_fires_and_ends(store):
    done = threading.Event()
    scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
    scheduler.add_listener(lambda event: done.set())
    store.add_job(job("a", args=("ran",)))
    scheduler.start()
    assert done.wait(30)
    scheduler.shutdown()
