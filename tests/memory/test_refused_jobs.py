"""A job that its executor refuses in the memory store, and everything else that happens to it."""

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MemoryJobStore
from support.jobs import at, job
from support.manual_scheduler import ByHand
from support.memory_stores import memory_store
from support.refused_jobs import EVERY, INTERVAL, Tries, broken_pool, ours, repair
from support.scheduler_runs import Runs, running, utc_now
from support.waiting import in_thread, until

# Changes by the application


@EVERY
def test_new_run_time_of_a_refused_job_holds(store, clock, refused, every):
    tries = Tries(store, job("a", every=every, executor="broken"))
    tries.cycle()
    tries.scheduler.modify_job("a", next_run_time=at(7))
    tries.cycle()
    assert refused() == ["a", "a"]
    assert store.lookup_job("a").next_run_time == at(7)
    tries.scheduler.reschedule_job("a", trigger="date", run_date=at(10**9))
    assert tries.cycle() > 10**6
    assert store.lookup_job("a").next_run_time == at(10**9)


def test_refused_job_moved_to_a_working_executor_runs_at_once(store, clock):
    tries = Tries(store, job("a", executor="broken"))
    tries.cycle()
    tries.scheduler.modify_job("a", executor="default")
    tries.cycle()
    assert tries.submitted == ["a"]


@pytest.mark.parametrize("call", ["pause_job", "remove_job"])
def test_refused_job_can_be_paused_and_removed(store, clock, refused, call):
    tries = Tries(store, job("a", executor="broken"))
    tries.cycle()
    getattr(tries.scheduler, call)("a")
    assert tries.cycle() is None
    assert not store._backlog.failed
    clock.now += INTERVAL
    tries.cycle()
    assert refused() == ["a"]


CHANGES = {
    "removes": lambda store: store.remove_job("a"),
    "removes in bulk": lambda store: store.remove_jobs(iter(["a"])),
    "removes all": lambda store: store.remove_all_jobs(),
    "replaces": lambda store: store.add_jobs(iter([job("a", 10**9)]), replace_existing=True),
    "updates": lambda store: store.update_jobs(iter([job("a", 10**9)])),
    "removes and adds": lambda store: (store.remove_job("a"), store.add_job(job("a", 10**9))),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@EVERY
def test_change_of_a_refused_job_in_the_store_holds(store, clock, refused, change, every):
    tries = Tries(store, job("a", every=every, executor="broken"))
    tries.cycle()
    change(store)
    changed = store.lookup_job("a")
    clock.now += INTERVAL
    tries.cycle()
    assert refused() == ["a"]
    assert store.lookup_job("a") is changed
    assert changed is None or changed.next_run_time == at(10**9)
    assert not store._backlog.failed


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@EVERY
def test_change_within_the_cycle_that_refuses_the_job_holds(store, clock, refused, change, every):
    """Another job of the cycle makes the change before the scheduler's turn for the job comes."""
    tries = Tries(
        store,
        job("0"),
        job("a", 1, every=every, executor="broken"),
        then=lambda each: each.id == "0" and change(store),
    )
    tries.cycle()
    assert refused() == ["a"]  # the scheduler has got it before
    changed = store.lookup_job("a")
    assert changed is None or changed.next_run_time == at(10**9)


@EVERY
def test_run_time_given_within_the_cycle_is_kept_when_the_job_is_refused(store, clock, every):
    def act(each):
        if each.id == "0":
            tries.scheduler.modify_job("a", next_run_time=at(5))

    tries = Tries(store, job("0"), job("a", 1, every=every, executor="broken"), then=act)
    tries.cycle()
    assert store.lookup_job("a").next_run_time == at(5)
    assert store.get_due_jobs(at(4)) == []
    assert [each.id for each in store.get_due_jobs(at(5))] == ["a"]


@pytest.mark.parametrize("index", ["compiled", "twin"])
def test_job_replaced_by_another_thread_within_the_cycle_holds_and_does_not_wait(clock, index):
    def act(each):
        if each.id == "0":
            in_thread(store.update_job, job("a", 2, executor="broken"))

    store = memory_store(index)
    tries = Tries(store, job("0"), job("a", 1, executor="broken"), then=act)
    assert tries.cycle() == 0
    assert store.lookup_job("a").next_run_time == at(2)
    assert not store._backlog.failed


def test_refused_addition_of_the_same_id_changes_no_run_time(store, clock):
    def act(each):
        if each.id == "0":
            with pytest.raises(KeyError):
                store.add_job(job("a", 10**9))

    tries = Tries(store, job("0"), job("a", 1, executor="broken"), then=act)
    tries.cycle()
    assert tries.submitted == ["0"]
    assert store.lookup_job("a").next_run_time == at(1)


def test_update_by_a_job_of_the_cycle_is_no_failed_submission(store, clock):
    def act(each):
        if each.id == "a":
            tries.scheduler.modify_job("far", name="changed")
            tries.scheduler.modify_job("a", name="changed")
            tries.scheduler.remove_job("gone")
            in_thread(store.update_job, store.lookup_job("far"))

    tries = Tries(store, job("a"), job("b"), job("far", 10**9), job("gone", 10**9), then=act)
    tries.cycle()
    assert tries.submitted == ["a", "b"]
    assert store.get_due_jobs(at(9)) == []
    assert sorted(each.name for each in store.get_all_jobs()) == ["b", "changed", "changed"]
    assert not store._backlog.failed


# Other stores, cycles and restarts


def test_same_id_in_two_stores_of_one_cycle_is_refused_in_one(store, clock):
    first = MemoryJobStore()
    tries = Tries(store, job("a", executor="broken"))
    tries.scheduler._jobstores.clear()
    tries.scheduler.add_jobstore(first, "first")
    first.add_job(job("a", 1))
    tries.scheduler.add_jobstore(store, "second")
    tries.cycle()
    assert tries.submitted == ["a"]
    assert first.get_due_jobs(at(9)) == []
    assert [each.next_run_time for each in store.get_due_jobs(at(9))] == [at(0)]


class AtOnce(ByHand):
    """Runs a cycle whenever it is woken, as the Qt scheduler does."""

    def wakeup(self):
        if self.running:
            self._process_jobs()


def test_refused_jobs_stay_due_around_a_nested_cycle(store, clock, refused):
    """A job adds another one, for which the scheduler runs a cycle within its cycle."""

    class Adding(DebugExecutor):
        def submit_job(self, job, run_times):
            super().submit_job(job, run_times)
            if job.id == "1" and not store.lookup_job("new"):
                scheduler.add_job(int, "date", run_date=at(5), id="new", misfire_grace_time=None)

    scheduler = AtOnce(executors={"default": Adding(), "broken": broken_pool()}, timezone="UTC")
    scheduler.add_jobstore(store, "default")
    runs = Runs(scheduler)
    scheduler.start()
    for number, executor in enumerate(["broken", "default", "broken", "default"]):
        store.add_job(job(str(number), number, executor=executor, every=None, func=int))
    scheduler._process_jobs()
    assert len(runs.of("new")) == 1
    assert [each.id for each in store.get_due_jobs(at(9))] == ["0", "2"]
    assert set(refused()) == {"0", "2"}
    assert store._cycle is None
    scheduler.shutdown()


def test_cycle_that_failed_leaves_nothing_behind(store, clock):
    tries = Tries(store, job("a", executor="broken"), job("b"))
    trigger, store.lookup_job("b").trigger = store.lookup_job("b").trigger, None
    with pytest.raises(AttributeError):
        tries.cycle()
    store.lookup_job("b").trigger = trigger
    tries.cycle()
    assert store._cycle is None
    assert [each.id for each in store.get_due_jobs(at(9))] == ["a"]


def test_restart_of_the_scheduler_forgets_refused_jobs(store, clock):
    tries = Tries(store, job("a", executor="broken"))
    tries.cycle()
    tries.scheduler.shutdown()
    assert not store._backlog.failed
    tries.scheduler.start()
    store.add_job(job("a"))
    tries.cycle()
    assert tries.submitted == ["a"]


# The log


def test_one_line_names_the_jobs_that_were_refused_for_the_first_time(store, clock, caplog):
    tries = Tries(store, *(job(f"{n:02}", n, executor="broken") for n in range(12)), job("ok"))
    tries.cycle()
    [line] = ours(caplog)
    assert line.startswith("Executors did not take 12 due jobs")
    assert "in 10 s" in line
    assert line.endswith("08, 09 and 2 more")
    clock.now += INTERVAL
    tries.cycle()
    assert len(ours(caplog)) == 1
    store.add_job(job("new", executor="broken"))
    tries.cycle()
    assert ours(caplog)[1].startswith("Executors did not take 1 due jobs")


def test_cycle_without_a_failed_submission_logs_nothing(store, clock, caplog):
    tries = Tries(store, job("a"), job("b", every=None))
    tries.cycle()
    assert ours(caplog) == []


# Schedulers that run by themselves

SOON = {"jobstore_retry_interval": 0.05, "timezone": "UTC"}


@EVERY
def test_jobs_wait_until_a_pool_that_was_shut_down_is_replaced(every):
    pool = ThreadPoolExecutor(2)
    store = MemoryJobStore()
    scheduler = BackgroundScheduler(jobstores={"default": store}, executors={"p": pool}, **SOON)
    runs = Runs(scheduler)
    names = [f"{n:03}" for n in range(100)]
    with running(scheduler):
        pool._pool.shutdown()
        jobs = [job(name, every=every, executor="p", scheduler=scheduler) for name in names]
        store.add_jobs(jobs)
        scheduler.wakeup()
        until(lambda: all(name in store._backlog.failed for name in names))
        assert [each.next_run_time for each in jobs] == [at(0)] * 100
        repair(pool)
        for name in names:
            assert runs.wait(name, 1) == [at(0)]
        until(lambda: not store._backlog.failed)
    assert all(len(runs.of(name)) == 1 for name in names)


@EVERY
def test_debug_executor_runs_each_job_once_even_if_it_raises(every):
    def fail():
        called.append(1)
        raise OSError("no")

    called = []
    store = MemoryJobStore()
    scheduler = BackgroundScheduler(
        jobstores={"default": store}, executors={"default": DebugExecutor()}, **SOON
    )
    store.add_job(job("a", every=every, func=fail, scheduler=scheduler))
    ended = []
    with running(scheduler):
        until(lambda: called)
        scheduler.add_listener(lambda event: ended.append(event.job_id), EVENT_JOB_EXECUTED)
        scheduler.add_job(int, id="last", misfire_grace_time=None)
        until(lambda: ended)
        left = store.lookup_job("a")
    assert called == [1]
    assert (left is None) if every is None else left.next_run_time > utc_now()


@EVERY
def test_coroutine_waits_until_its_executor_takes_it(every):
    class Failing(AsyncIOExecutor):
        failures = 3

        def _do_submit_job(self, job, run_times):
            if self.failures:
                self.failures -= 1
                raise RuntimeError("no")
            super()._do_submit_job(job, run_times)

    async def run():
        return "done"

    store = MemoryJobStore()
    executor = Failing()
    scheduler = AsyncIOScheduler(
        jobstores={"default": store}, executors={"default": executor}, **SOON
    )
    runs = Runs(scheduler)
    store.add_job(job("a", every=every, func=run, scheduler=scheduler))
    with running(scheduler):
        assert runs.wait("a", 1) == [at(0)]
        assert executor.failures == 0
        assert runs.returned["a"] == ["done"]
