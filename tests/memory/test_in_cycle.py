"""Jobs and listeners change the memory store within the scheduler's cycle, in its thread."""

import gc
import weakref
from datetime import datetime, timedelta, timezone
from threading import Event

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_REMOVED
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from jobstore import ConflictingIdError, JobLookupError, JobsLookupError, MemoryJobStore
from support.indexes import outcome
from support.jobs import at, job, note
from support.manual_scheduler import by_hand
from support.memory_stores import memory_store
from support.scheduler_runs import Runs, running
from support.waiting import in_thread

ONCE = {"every": None}


@pytest.fixture(params=["compiled", "twin"])
def store(request):
    return memory_store(request.param)


class InCycle:
    """A scheduler with the due jobs "a" and "b", of which "a" calls `act` in the cycle.

    :ivar returned: result of `act`, for assertions: the scheduler might swallow an error in `act`.
    """

    def __init__(self, store, act, **options):
        def run(each):
            if each.id == "a":
                self.returned = act(self.scheduler)

        self.handed = [job("a", 0, **options), job("b", 1)]
        store.add_jobs(self.handed)
        self.scheduler = by_hand(store, run)
        self.wait = self.scheduler._process_jobs()
        self.submitted = [job_id for job_id, _ in self.scheduler.executor.submitted]
        assert self.submitted == ["a", "b"]

    @property
    def left(self):
        return {each.id: each for each in self.scheduler.get_jobs()}


def is_far(job):
    return job.next_run_time > datetime.now(timezone.utc)


@pytest.mark.parametrize("options", [{}, ONCE], ids=["goes on", "ends"])
def test_job_that_removes_itself_stays_removed_and_the_cycle_continues(store, options):
    run = InCycle(store, lambda scheduler: scheduler.remove_job("a"), **options)
    assert list(run.left) == ["b"]
    assert is_far(run.left["b"])
    assert run.wait > 0


def test_job_can_remove_a_later_job_of_the_same_cycle(store):
    run = InCycle(store, lambda scheduler: scheduler.remove_job("b"))
    assert list(run.left) == ["a"]


@pytest.mark.parametrize("options", [{}, ONCE], ids=["goes on", "ends"])
@pytest.mark.parametrize("call", ["remove_all_jobs", "shutdown"])
def test_job_can_empty_the_store(store, call, options):
    run = InCycle(store, lambda scheduler: getattr(store, call)(), **options)
    assert run.left == {}
    assert run.wait is None


def anew(scheduler, **options):
    return scheduler.add_job(note, "interval", days=9, id="a", args=("anew",), **options)


def remove_and_add(scheduler, store):
    scheduler.remove_job("a")
    anew(scheduler)


def replace(scheduler, store):
    anew(scheduler, replace_existing=True)


def add_many(scheduler, store):
    new = job("a", 10**9, args=("anew",))
    store.add_jobs([new], replace_existing=True)


def update_many(scheduler, store):
    store.update_jobs([job("a", 10**9, args=("anew",))])


@pytest.mark.parametrize("options", [{}, ONCE], ids=["goes on", "ends"])
@pytest.mark.parametrize("act", [remove_and_add, replace, add_many, update_many])
def test_job_replaced_during_its_cycle_does_not_return(store, act, options):
    run = InCycle(store, lambda scheduler: act(scheduler, store), **options)
    assert run.left["a"].args == ("anew",)
    assert run.left["a"] is not run.handed[0]
    assert is_far(run.left["b"])  # the cycle has rescheduled the other job


def test_replacement_of_a_job_runs_and_ends_normally(store):
    run = InCycle(store, lambda scheduler: remove_and_add(scheduler, store), **ONCE)
    run.scheduler.executor.then = None
    run.scheduler.modify_job("a", next_run_time=at(5))
    run.scheduler._process_jobs()
    assert is_far(run.left["a"])
    run.scheduler.remove_job("a")
    assert list(run.left) == ["b"]


def test_job_that_removes_adds_and_removes_itself_stays_removed(store):
    def act(scheduler):
        remove_and_add(scheduler, store)
        scheduler.remove_job("a")

    assert list(InCycle(store, act).left) == ["b"]


def test_job_that_modifies_itself_keeps_its_changes(store):
    run = InCycle(store, lambda scheduler: scheduler.modify_job("a", args=("new",)))
    assert run.left["a"].args == ("new",)
    assert is_far(run.left["a"])


def test_job_removed_and_added_as_the_same_object_continues(store):
    def act(scheduler):
        scheduler.remove_job("a")
        store.add_job(run_of_a)

    run_of_a = job("a", 0)
    store.add_job(run_of_a)
    scheduler = by_hand(store, lambda each: act(scheduler))
    scheduler._process_jobs()
    assert store.lookup_job("a") is run_of_a
    assert is_far(run_of_a)


@pytest.mark.parametrize("options", [{}, ONCE], ids=["goes on", "ends"])
def test_removal_or_update_of_a_removed_job_raises_within_the_cycle(store, options):
    def act(scheduler):
        handed = scheduler.get_job("a")
        scheduler.remove_job("a")
        return [
            outcome(scheduler.remove_job, "a"),
            outcome(scheduler.remove_job, "nobody"),
            outcome(scheduler.modify_job, "a"),
            outcome(store.update_job, handed),
            outcome(store.remove_jobs, ["a"]),
            outcome(store.update_jobs, [handed]),
            in_thread(outcome, store.remove_job, "a"),
            in_thread(outcome, store.update_job, handed),
        ]

    run = InCycle(store, act, **options)
    assert list(run.left) == ["b"]
    one, many = JobLookupError, JobsLookupError
    assert [told[0] for told in run.returned] == [one, one, one, one, many, many, one, one]


def test_cycle_ignores_another_threads_query_for_due_jobs(store):
    def act(scheduler):
        scheduler.remove_job("a")
        return in_thread(store.get_due_jobs, at(9)), in_thread(store.get_next_run_time)

    run = InCycle(store, act)
    assert list(run.left) == ["b"]
    assert [each.id for each in run.returned[0]] == ["b"]


@pytest.mark.parametrize("options", [{}, ONCE], ids=["goes on", "ends"])
@pytest.mark.parametrize("look", [lambda call: call(), in_thread], ids=["itself", "in a thread"])
def test_query_for_due_jobs_within_the_cycle_brings_no_replaced_job_back(store, look, options):
    def act(scheduler):
        remove_and_add(scheduler, store)
        look(lambda: (store.get_due_jobs(at(9)), store.get_next_run_time()))

    run = InCycle(store, act, **options)
    assert run.left["a"].args == ("anew",)


@pytest.mark.parametrize("options", [{}, ONCE], ids=["goes on", "ends"])
def test_job_can_query_the_store_for_due_jobs(store, options):
    def act(scheduler):
        scheduler.remove_job("a")
        return store.get_due_jobs(at(9)), store.get_next_run_time()

    run = InCycle(store, act, **options)
    assert list(run.left) == ["b"]
    assert run.returned == ([run.handed[1]], at(1))


def test_last_run_that_adds_a_job_under_its_own_id_is_refused_and_ends(store):
    run = InCycle(store, lambda scheduler: outcome(anew, scheduler), **ONCE)
    assert run.returned[0] is ConflictingIdError
    assert list(run.left) == ["b"]


@pytest.mark.parametrize("options", [{}, ONCE], ids=["goes on", "ends"])
def test_job_that_removes_itself_stays_removed_in_a_subclass(options):
    class Store(MemoryJobStore):
        def update_job(self, job):
            super().update_job(job)

        def remove_job(self, job_id):
            super().remove_job(job_id)

    run = InCycle(Store(), lambda scheduler: scheduler.remove_job("a"), **options)
    assert list(run.left) == ["b"]


def test_listeners_removal_raises_when_the_scheduler_has_removed_the_job(store):
    told = []

    def listener(event):
        told.append(outcome(scheduler.remove_job, event.job_id))

    store.add_job(job("a", 0, **ONCE))
    scheduler = by_hand(store)
    scheduler.add_listener(listener, EVENT_JOB_REMOVED)
    scheduler._process_jobs()
    assert [kind for kind, _ in told] == [JobLookupError]


def test_store_frees_a_replaced_job_at_the_end_of_the_cycle(store):
    run = InCycle(store, lambda scheduler: replace(scheduler, store))
    old = weakref.ref(run.handed[0])
    run.handed.clear()
    gc.collect()
    assert old() is None


def test_store_frees_replaced_jobs_after_a_query_outside_a_cycle(store):
    old = job("a", 5)
    store.add_jobs([old, job("due", 0)])
    alive = weakref.ref(old)
    del old
    assert store.get_due_jobs(at(0))
    store.update_jobs([job("a", 9)])
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("look", [list, lambda due: next(iter(due)), lambda due: due])
def test_due_job_can_be_removed_and_added_after_a_query_outside_a_cycle(store, look):
    """The store can't know that the query is over; the next job of the id is another object."""
    store.add_job(job("a", 0, **ONCE))
    seen = look(store.get_due_jobs(at(0)))
    store.remove_job("a")
    with pytest.raises(JobLookupError):
        store.remove_job("a")
    store.add_job(job("a", 9, **ONCE))
    store.remove_job("a")
    assert seen
    assert len(store) == 0


def test_cycle_after_a_failed_one_works(store):
    class Failing(IntervalTrigger):
        def get_next_fire_time(self, previous, now):
            raise OSError("once")

    store.add_jobs([job("a", 0), job("b", 1)])
    scheduler = by_hand(store)
    trigger, store.lookup_job("a").trigger = store.lookup_job("a").trigger, Failing()
    with pytest.raises(OSError, match="once"):
        scheduler._process_jobs()
    store.lookup_job("a").trigger = trigger
    scheduler.executor.then = lambda each: each.id == "b" and scheduler.remove_job("b")
    scheduler._process_jobs()
    assert [each.id for each in scheduler.get_jobs()] == ["a"]


def test_removal_or_update_of_a_removed_job_raises_after_the_cycle(store):
    run = InCycle(store, lambda scheduler: scheduler.remove_job("a"), **ONCE)
    with pytest.raises(JobLookupError):
        run.scheduler.remove_job("a")
    with pytest.raises(JobLookupError):
        store.update_job(run.handed[0])


def test_job_without_an_executor_can_be_removed_before_its_turn(store):
    """The scheduler wants to remove the job, but an earlier job of the cycle has done so."""
    store.add_jobs([job("a", 0), job("b", 1, executor="gone"), job("c", 2)])
    scheduler = by_hand(store, lambda each: each.id == "a" and scheduler.remove_job("b"))
    scheduler._process_jobs()
    assert [each.id for each in scheduler.get_jobs()] == ["a", "c"]


def test_job_can_remove_thousands_of_due_jobs(store):
    store.add_jobs([job(f"{i:05}", i) for i in range(20_000)])
    scheduler = by_hand(store, lambda each: each.id == "00000" and scheduler.remove_all_jobs())
    scheduler._process_jobs()
    assert scheduler.get_jobs() == []


def test_scheduler_survives_a_listener_that_removes_each_executed_job(store):
    scheduler = BackgroundScheduler(
        jobstores={"default": store}, executors={"default": DebugExecutor()}, timezone="UTC"
    )
    runs = Runs(scheduler)
    done = Event()
    scheduler.add_listener(lambda event: scheduler.remove_job(event.job_id), EVENT_JOB_EXECUTED)
    options = {"seconds": 60, "misfire_grace_time": None}
    with running(scheduler):
        now = datetime.now(timezone.utc)
        for n in range(25):
            scheduler.add_job(int, "interval", id=f"{n}", next_run_time=now, **options)
        for n in range(25):
            runs.wait(f"{n}", 1)
        later = now + timedelta(milliseconds=1)
        scheduler.add_job(done.set, "interval", id="last", next_run_time=later, **options)
        runs.wait("last", 1)
        assert done.is_set()
        assert scheduler.get_jobs() == []


def test_application_function_named_process_jobs_gets_lookup_errors(store):
    def _process_jobs():
        with pytest.raises(JobLookupError):
            scheduler.remove_job("gone")
        with pytest.raises(JobLookupError):
            store.update_job(job("gone"))

    scheduler = by_hand(store)
    _process_jobs()
