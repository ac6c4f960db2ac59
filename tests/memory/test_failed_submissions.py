"""A job that its executor refuses stays due in the memory store, and the scheduler tries it again.

APScheduler logs the error of such a submission, and then goes on as if the job had run.
"""

from datetime import timedelta

import pytest

from support.jobs import at, job
from support.refused_jobs import EVERY, INTERVAL, Tries, repair
from support.scheduler_runs import Runs, utc_now
from support.waiting import in_thread

# The job stays


@EVERY
def test_refused_job_keeps_its_run_time_and_waits_for_the_next_try(store, clock, refused, every):
    refused_job = job("a", 3, every=every, executor="broken")
    tries = Tries(store, refused_job)
    wait = tries.cycle()
    assert refused() == ["a"]
    assert store.lookup_job("a") is refused_job
    assert refused_job.next_run_time == at(3)
    assert INTERVAL - 5 < wait <= INTERVAL
    assert tries.cycle() > 0
    assert refused() == ["a"]
    clock.now += INTERVAL
    tries.cycle()
    assert refused() == ["a", "a"]
    assert tries.cycle() > 0
    assert refused() == ["a", "a"]
    assert refused_job.next_run_time == at(3)


@EVERY
def test_refused_job_runs_once_its_executor_takes_it(store, clock, every):
    tries = Tries(store, job("a", 3, every=every, executor="broken"))
    runs = Runs(tries.scheduler)
    tries.cycle()
    repair(tries.broken)
    clock.now += INTERVAL
    tries.cycle()
    assert runs.wait("a", 1) == [at(3)]
    left = store.lookup_job("a")
    assert (left is None) if every is None else left.next_run_time > utc_now()
    tries.scheduler.shutdown()


def test_refused_job_keeps_the_first_of_its_overdue_run_times(store, clock):
    tries = Tries(store, job("a", 0, every=10**6, executor="broken", coalesce=True))
    tries.cycle()
    assert store.lookup_job("a").next_run_time == at(0)


@EVERY
def test_time_of_the_next_try_is_the_next_cycle(store, clock, every):
    tries = Tries(store, job("a", 0, every=every, executor="broken"))
    tries.cycle()
    clock.now += INTERVAL - 2
    assert tries.cycle() == pytest.approx(2, abs=1)
    clock.now += 2
    assert store.get_due_jobs(at(9)) == [store.lookup_job("a")]


def test_job_that_is_due_before_the_next_try_sets_the_next_cycle(store, clock):
    soon = job("soon", next_run_time=utc_now() + timedelta(seconds=INTERVAL - 5))
    later = job("later", next_run_time=utc_now() + timedelta(days=1))
    tries = Tries(store, job("a", executor="broken"), job("b", 1, executor="broken"), soon, later)
    assert tries.cycle() < INTERVAL - 5
    store.remove_job("soon")
    assert INTERVAL - 5 < tries.cycle() <= INTERVAL


def test_jobs_of_an_executor_that_works_run_beside_refused_ones(store, clock, refused):
    jobs = [
        job(f"{n:02}", n, executor="default" if n % 3 else "broken", every=every)
        for n, every in enumerate([None, 315360000, 315360000, None] * 5)
    ]
    tries = Tries(store, *jobs)
    tries.cycle()
    broken = [each.id for each in jobs if each.executor == "broken"]
    assert refused() == broken
    assert tries.submitted == [each.id for each in jobs if each.executor == "default"]
    assert [each.id for each in store.get_due_jobs(at(99))] == broken
    assert [store.lookup_job(job_id).next_run_time for job_id in broken] == [
        at(int(job_id)) for job_id in broken
    ]
    tries.cycle()
    assert refused() == broken
    assert len(tries.submitted) == len(jobs) - len(broken)


def test_only_a_cycle_leaves_waiting_jobs_out(store, clock):
    tries = Tries(store, job("a", executor="broken"))
    tries.cycle()
    assert [each.id for each in store.get_due_jobs(at(9))] == ["a"]
    assert store.get_next_run_time() == at(0)
    assert [each.id for each in in_thread(store.get_due_jobs, at(9))] == ["a"]


# No failed submission


@EVERY
def test_job_at_its_maximum_of_instances_has_not_failed(store, clock, every):
    tries = Tries(store, job("a", every=every))
    tries.scheduler.executor._instances["a"] = 1
    tries.cycle()
    left = store.lookup_job("a")
    assert (left is None) if every is None else left.next_run_time > utc_now()


@EVERY
def test_job_whose_executor_the_scheduler_does_not_have_is_removed_as_ever(store, clock, every):
    tries = Tries(store, job("a", every=every, executor="nobody's"))
    assert tries.cycle() is None
    assert len(store) == 0


@EVERY
def test_refused_job_whose_executor_goes_is_removed_as_ever(store, clock, every):
    tries = Tries(store, job("a", every=every, executor="broken"))
    tries.cycle()
    tries.scheduler.remove_executor("broken")
    clock.now += INTERVAL
    assert tries.cycle() is None
    assert len(store) == 0
    assert not store._backlog.failed


def test_refused_job_is_tried_for_ever(store, clock, refused):
    tries = Tries(store, job("a", executor="broken"), job("b"))
    for _ in range(9):
        tries.cycle()
        clock.now += INTERVAL
    assert refused() == ["a"] * 9
    assert store.lookup_job("a").next_run_time == at(0)
