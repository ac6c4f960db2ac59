"""Synchronous jobs: they run in the scheduler's thread, in its cycle, and call the store."""

from datetime import datetime, timezone

import pytest

from jobstore import MongoDBJobStore
from support.jobs import at, job, names, run_times
from support.manual_scheduler import by_hand


class InCycle:
    """A scheduler with the due jobs "a" and "b"; "a" calls `act` in the cycle."""

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
        store,
        lambda scheduler: scheduler.reschedule_job("a", trigger="interval", days=9),
        every=None,
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
        scheduler.add_job("support.jobs:note", "interval", days=9, id="a", args=("new",))

    run = InCycle(store, act)
    assert run.job().args == ("new",)
    assert run.job().trigger.interval.days == 9


ENDS_OR_NOT = pytest.mark.parametrize("options", [{}, {"every": None}], ids=["goes on", "ends"])


@ENDS_OR_NOT
def test_a_synchronous_job_removes_adds_and_removes_itself(store, options):
    def act(scheduler):
        scheduler.remove_job("a")
        scheduler.add_job("support.jobs:note", "interval", days=9, id="a")
        scheduler.remove_job("a")

    assert names(InCycle(store, act, **options).store) == ["b"]


@ENDS_OR_NOT
def test_a_synchronous_job_replaces_itself(store, options):
    def act(scheduler):
        scheduler.add_job("support.jobs:note", "interval", days=9, id="a", replace_existing=True)

    assert InCycle(store, act, **options).job().trigger.interval.days == 9


@ENDS_OR_NOT
def test_a_synchronous_job_replaces_and_removes_itself(store, options):
    def act(scheduler):
        scheduler.add_job("support.jobs:note", "interval", days=9, id="a", replace_existing=True)
        scheduler.remove_job("a")

    assert names(InCycle(store, act, **options).store) == ["b"]


def test_a_synchronous_job_removes_the_next_job(store):
    run = InCycle(store, lambda scheduler: scheduler.remove_job("b"))
    assert names(run.store) == ["a"]
    assert future(run.job())


def test_a_synchronous_job_removes_all_jobs(store):
    run = InCycle(store, lambda scheduler: scheduler.remove_all_jobs())
    assert names(run.store) == []


def test_a_synchronous_job_adds_and_looks_up_jobs(store):
    seen = []

    def act(scheduler):
        scheduler.add_job("support.jobs:note", "interval", days=9, id="new")
        seen.extend(each.id for each in scheduler.get_jobs())
        seen.append(scheduler.get_job("a").id)

    run = InCycle(store, act)
    assert seen == ["a", "b", "new", "a"]
    assert names(run.store) == ["a", "b", "new"]
    assert future(run.job())


@pytest.mark.parametrize("call", ["due", "next"])
def test_cycle_goes_on_deferring_after_a_synchronous_job_queries_the_store(store, commands, call):
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


def test_a_synchronous_job_calls_the_bulk_methods(store):
    def act(scheduler):
        store.update_jobs([job("b", 500)])
        store.add_jobs([job("c", 600), job("a", 700)], replace_existing=True)
        store.remove_jobs(["c"])

    run = InCycle(store, act)
    assert run_times(run.store) == {"a": at(700).timestamp(), "b": at(500).timestamp()}


def test_a_synchronous_job_shuts_the_store_down_and_then_queries_it(server, database):
    store = MongoDBJobStore(database.name, host=server.uri)
    store.add_jobs([job("a", 0), job("b", 1)])
    scheduler = by_hand(store, lambda _: (store.shutdown(), store.get_next_run_time()))
    scheduler._process_jobs()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["a", "b"]


@pytest.mark.parametrize("whose", ["scheduler", "store"])
def test_shutdown_in_mid_cycle_leaves_the_rest_due(server, database, whose):
    store = MongoDBJobStore(database.name, host=server.uri)
    # After its shutdown, APScheduler raises on a removal without asking the store.
    end = {"every": None} if whose == "store" else {}
    store.add_jobs([job("a", 0), job("b", 1), job("c", 2), job("d", 3, **end)])
    scheduler = by_hand(store)
    shut_down = {"scheduler": scheduler, "store": store}[whose].shutdown
    scheduler.executor.then = lambda each: each.id == "b" and shut_down()
    scheduler._process_jobs()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["a", "b", "c", "d"]
    later = by_hand(store)  # starts the store again
    times = run_times(store)
    assert times["a"] > at(100).timestamp()
    assert [times[each] for each in "bcd"] == [at(i).timestamp() for i in (1, 2, 3)]
    later._process_jobs()
    assert [job_id for job_id, _ in later.executor.submitted] == ["b", "c", "d"]
    later.shutdown()
