"""Jobs and listeners that change the memory store within the scheduler's cycle, in its thread."""

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
    """A scheduler whose job "a" (of "a" and "b", both due) calls something in the cycle.

    :ivar returned: what that returned; a failing assertion within the scheduler might go unheard.
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
def test_a_job_that_removes_itself_is_gone_and_the_cycle_goes_on(store, options):
    run = InCycle(store, lambda scheduler: scheduler.remove_job("a"), **options)
    assert list(run.left) == ["b"]
    assert is_far(run.left["b"])
    assert run.wait > 0


def test_a_job_may_remove_one_whose_turn_is_still_to_come(store):
    run = InCycle(store, lambda scheduler: scheduler.remove_job("b"))
    assert list(run.left) == ["a"]


@pytest.mark.parametrize("options", [{}, ONCE], ids=["goes on", "ends"])
@pytest.mark.parametrize("call", ["remove_all_jobs", "shutdown"])
def test_a_job_may_empty_the_store(store, call, options):
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
def test_a_job_that_another_replaced_under_its_id_does_not_come_back(store, act, options):
    run = InCycle(store, lambda scheduler: act(scheduler, store), **options)
    assert run.left["a"].args == ("anew",)
    assert run.left["a"] is not run.handed[0]
    assert is_far(run.left["b"])  # only the replaced job is left alone


def test_the_new_job_of_an_id_runs_and_ends_like_any_other(store):
    run = InCycle(store, lambda scheduler: remove_and_add(scheduler, store), **ONCE)
    run.scheduler.executor.then = None
    run.scheduler.modify_job("a", next_run_time=at(5))
    run.scheduler._process_jobs()
    assert is_far(run.left["a"])
    run.scheduler.remove_job("a")
    assert list(run.left) == ["b"]


def test_a_job_that_removes_adds_and_removes_itself_is_gone(store):
    def act(scheduler):
        remove_and_add(scheduler, store)
        scheduler.remove_job("a")

    assert list(InCycle(store, act).left) == ["b"]


def test_a_job_that_changes_itself_in_the_cycle_goes_on_with_its_changes(store):
    run = InCycle(store, lambda scheduler: scheduler.modify_job("a", args=("new",)))
    assert run.left["a"].args == ("new",)
    assert is_far(run.left["a"])


def test_a_job_that_is_added_again_as_the_same_object_goes_on(store):
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
def test_who_removes_or_updates_in_the_cycle_what_is_gone_is_told(store, options):
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


def test_another_thread_that_asks_what_is_due_does_not_disturb_the_cycle(store):
    def act(scheduler):
        scheduler.remove_job("a")
        return in_thread(store.get_due_jobs, at(9)), in_thread(store.get_next_run_time)

    run = InCycle(store, act)
    assert list(run.left) == ["b"]
    assert [each.id for each in run.returned[0]] == ["b"]


@pytest.mark.parametrize("options", [{}, ONCE], ids=["goes on", "ends"])
@pytest.mark.parametrize("look", [lambda call: call(), in_thread], ids=["itself", "in a thread"])
def test_who_looks_in_the_cycle_at_what_is_due_brings_no_replaced_job_back(store, look, options):
    def act(scheduler):
        remove_and_add(scheduler, store)
        look(lambda: (store.get_due_jobs(at(9)), store.get_next_run_time()))

    run = InCycle(store, act, **options)
    assert run.left["a"].args == ("anew",)


@pytest.mark.parametrize("options", [{}, ONCE], ids=["goes on", "ends"])
def test_a_job_may_ask_the_store_what_is_due(store, options):
    def act(scheduler):
        scheduler.remove_job("a")
        return store.get_due_jobs(at(9)), store.get_next_run_time()

    run = InCycle(store, act, **options)
    assert list(run.left) == ["b"]
    assert run.returned == ([run.handed[1]], at(1))


def test_a_job_that_ends_and_adds_one_of_its_own_id_is_refused_and_still_ends(store):
    run = InCycle(store, lambda scheduler: outcome(anew, scheduler), **ONCE)
    assert run.returned[0] is ConflictingIdError
    assert list(run.left) == ["b"]


@pytest.mark.parametrize("options", [{}, ONCE], ids=["goes on", "ends"])
def test_the_cycle_of_a_subclass_is_safe_too(options):
    class Store(MemoryJobStore):
        def update_job(self, job):
            super().update_job(job)

        def remove_job(self, job_id):
            super().remove_job(job_id)

    run = InCycle(Store(), lambda scheduler: scheduler.remove_job("a"), **options)
    assert list(run.left) == ["b"]


def test_a_listener_that_removes_what_the_scheduler_has_removed_is_told(store):
    told = []

    def listener(event):
        told.append(outcome(scheduler.remove_job, event.job_id))

    store.add_job(job("a", 0, **ONCE))
    scheduler = by_hand(store)
    scheduler.add_listener(listener, EVENT_JOB_REMOVED)
    scheduler._process_jobs()
    assert [kind for kind, _ in told] == [JobLookupError]


def test_what_was_replaced_in_a_cycle_is_forgotten_at_its_end(store):
    run = InCycle(store, lambda scheduler: replace(scheduler, store))
    old = weakref.ref(run.handed[0])
    run.handed.clear()
    gc.collect()
    assert old() is None


def test_who_only_looks_at_due_jobs_makes_the_store_keep_no_old_ones(store):
    old = job("a", 5)
    store.add_jobs([old, job("due", 0)])
    alive = weakref.ref(old)
    del old
    assert store.get_due_jobs(at(0))
    store.update_jobs([job("a", 9)])
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("look", [list, lambda due: next(iter(due)), lambda due: due])
def test_who_only_looks_at_what_is_due_may_then_remove_and_add_it(store, look):
    """Nobody says that the look is over, and the next job of the id is not the one looked at."""
    store.add_job(job("a", 0, **ONCE))
    seen = look(store.get_due_jobs(at(0)))
    store.remove_job("a")
    with pytest.raises(JobLookupError):
        store.remove_job("a")
    store.add_job(job("a", 9, **ONCE))
    store.remove_job("a")
    assert seen
    assert len(store) == 0


def test_a_cycle_that_an_error_ended_is_followed_by_a_sound_one(store):
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


def test_after_the_cycle_who_removes_or_updates_what_is_gone_is_told(store):
    run = InCycle(store, lambda scheduler: scheduler.remove_job("a"), **ONCE)
    with pytest.raises(JobLookupError):
        run.scheduler.remove_job("a")
    with pytest.raises(JobLookupError):
        store.update_job(run.handed[0])


def test_a_job_without_an_executor_that_is_gone_when_its_turn_comes(store):
    """The scheduler removes it; a job before it did so."""
    store.add_jobs([job("a", 0), job("b", 1, executor="gone"), job("c", 2)])
    scheduler = by_hand(store, lambda each: each.id == "a" and scheduler.remove_job("b"))
    scheduler._process_jobs()
    assert [each.id for each in scheduler.get_jobs()] == ["a", "c"]


def test_thousands_that_one_job_removes_in_the_cycle(store):
    store.add_jobs([job(f"{i:05}", i) for i in range(20_000)])
    scheduler = by_hand(store, lambda each: each.id == "00000" and scheduler.remove_all_jobs())
    scheduler._process_jobs()
    assert scheduler.get_jobs() == []


def test_a_listener_that_removes_each_job_that_has_run_leaves_the_scheduler_alive(store):
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


def test_a_function_of_the_application_that_is_called_as_the_cycle_is_told_what_is_gone(store):
    def _process_jobs():
        with pytest.raises(JobLookupError):
            scheduler.remove_job("gone")
        with pytest.raises(JobLookupError):
            store.update_job(job("gone"))

    scheduler = by_hand(store)
    _process_jobs()
