"""Jobs whose executors did not take them stay due: no run is lost."""

import logging
from datetime import timedelta

import pytest

from support.jobs import YEARS, at, job, names, run_times
from support.manual_scheduler import ByHand
from support.scheduler_runs import utc_now
from support.shared_stores import ids, leased
from support.unsteady import (
    MODES,
    RETRY_SECONDS,
    cycle,
    documents,
    refused,
    start_unsteady,
)
from support.waiting import until


@pytest.fixture
def store(unsteady_store):
    return unsteady_store


@pytest.fixture
def scheduler(unsteady):
    return unsteady


# The job stays, and is tried again


@pytest.mark.parametrize("every", [YEARS, None], ids=["recurring", "one-off"])
def test_job_that_no_executor_took_stays_as_it_was_and_runs_later(
    scheduler, store, retry_clock, every
):
    store.add_jobs([refused("a", every=every), job("far", YEARS)])
    before = documents(store)
    assert cycle(scheduler)[0] == []
    assert scheduler.unsteady.tries == ["a"]
    assert documents(store) == before
    assert leased(store) == []
    scheduler.unsteady.is_broken = False
    retry_clock.advance(RETRY_SECONDS - 1)
    assert cycle(scheduler)[0] == []
    assert documents(store) == before
    retry_clock.advance(1)
    assert cycle(scheduler)[0] == ["a"]
    assert scheduler.unsteady.tries == ["a", "a"]
    assert names(store) == (["a", "far"] if every else ["far"])
    if every:
        assert run_times(store)["a"] == at(YEARS).timestamp()


def test_scheduler_waits_until_the_next_try_and_not_longer(scheduler, store, retry_clock):
    store.add_job(refused("a"))
    _, wait = cycle(scheduler)
    assert RETRY_SECONDS - 30 < wait <= RETRY_SECONDS
    retry_clock.stop()
    retry_clock.advance(10)
    _, wait = cycle(scheduler)
    assert scheduler.unsteady.tries == ["a"]
    assert RETRY_SECONDS - 40 < wait <= RETRY_SECONDS - 10
    retry_clock.advance(RETRY_SECONDS)
    _, wait = cycle(scheduler)
    assert scheduler.unsteady.tries == ["a", "a"]
    assert RETRY_SECONDS - 1 < wait <= RETRY_SECONDS


def test_scheduler_wakes_earlier_for_another_job(scheduler, store):
    store.add_job(refused("a"))
    soon = utc_now() + timedelta(seconds=20)
    store.add_job(job("soon", next_run_time=soon))
    _, wait = cycle(scheduler)
    assert 0 < wait <= 20


def test_other_jobs_of_the_cycle_run_and_are_written(scheduler, store):
    store.add_jobs(
        [refused("b", 1), job("a"), job("c", 2, every=None), refused("d", 3, every=None)]
    )
    before = documents(store)
    assert cycle(scheduler)[0] == ["a", "c"]
    after = documents(store)
    assert (after["b"], after["d"]) == (before["b"], before["d"])
    assert after["a"]["next_run_time"] == at(YEARS).timestamp()
    assert after.keys() == {"a", "b", "d"}


def test_due_jobs_behind_many_that_no_executor_took_still_run(make, mode, retry_clock):
    store = make(start=False, batch_size=10, **MODES[mode])
    scheduler = start_unsteady(store)
    store.add_jobs(refused(f"{n:03}", n) for n in range(100))
    store.add_job(job("behind", 1000))
    ran = []
    for _ in range(12):
        done, wait = cycle(scheduler)
        ran += done
        if wait > 0:
            break
    assert ran == ["behind"]
    assert sorted(scheduler.unsteady.tries) == [f"{n:03}" for n in range(100)]
    assert 0 < wait <= RETRY_SECONDS


def test_a_hundred_jobs_that_no_executor_took_make_one_log_line(
    scheduler, store, retry_clock, caplog
):
    caplog.set_level(logging.INFO)
    store.add_jobs(refused(f"{n:03}", n) for n in range(100))
    for _ in range(3):
        cycle(scheduler)
        retry_clock.advance(RETRY_SECONDS)
    lines = [each.getMessage() for each in caplog.records if "did not take" in each.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("100 jobs (000, 001, ")
    assert lines[0].endswith('stay due, as executor "unsteady" did not take them')


def test_job_with_too_many_instances_is_advanced_as_ever(scheduler, store):
    store.add_jobs([job("a"), job("b", every=None)])
    scheduler.executor._instances.update(a=1, b=1)
    assert cycle(scheduler) == ([], pytest.approx(YEARS, YEARS))
    assert run_times(store) == {"a": at(YEARS).timestamp()}


def test_job_is_advanced_as_ever_if_a_scheduler_processes_jobs_in_its_own_way(store):
    class Own(ByHand):
        def _process_jobs(self):
            for due in self._jobstores["default"].get_due_jobs(at(10)):
                due.next_run_time = at(20)  # no executor is asked
                self._jobstores["default"].update_job(due)
            return self._jobstores["default"].get_next_run_time()

    scheduler = Own(timezone="UTC")
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    store.add_job(job("a"))
    assert scheduler._process_jobs() == at(20)
    scheduler.shutdown()


# Quarantine


def fail_three_times(scheduler, retry_clock):
    for _ in range(3):
        cycle(scheduler)
        retry_clock.advance(RETRY_SECONDS + 1)


@pytest.mark.parametrize("unreadable", ["quarantine", "remove"])
def test_third_failure_puts_a_job_into_quarantine_if_others_run(
    make, mode, retry_clock, unreadable
):
    store = make(start=False, unreadable=unreadable, **MODES[mode])
    scheduler = start_unsteady(store)
    store.add_jobs([refused("a"), job("b")])
    before = documents(store)["a"]
    fail_three_times(scheduler, retry_clock)
    assert scheduler.unsteady.tries == ["a"] * 3
    assert store.quarantined() == []
    _, wait = cycle(scheduler)
    assert scheduler.unsteady.tries == ["a"] * 3
    (found,) = store.quarantined()
    assert found.id == "a"
    assert found.reason == 'executor "unsteady" did not take it 3 times'
    assert found.next_run_time == at(0)
    assert documents(store)["a"]["job_state"] == before["job_state"]
    assert wait > RETRY_SECONDS, "nothing is due"
    scheduler.unsteady.is_broken = False
    assert store.restore_quarantined(["a"]) == ["a"]
    if store._reader.is_live:
        until(lambda: store._reader.mirror.find("a")["next_run_time"])
    assert documents(store)["a"] == before
    assert cycle(scheduler)[0] == ["a"]


def test_no_job_is_quarantined_while_executors_take_none(scheduler, store, retry_clock):
    store.add_jobs([refused("a"), refused("b", 1, every=None)])
    before = documents(store)
    fail_three_times(scheduler, retry_clock)
    fail_three_times(scheduler, retry_clock)
    assert documents(store) == before
    assert scheduler.unsteady.tries == ["a", "b"] * 6
    scheduler.unsteady.is_broken = False
    retry_clock.advance(1)
    assert cycle(scheduler)[0] == ["a", "b"]


def test_tries_before_an_executor_took_the_job_do_not_count(
    scheduler, store, retry_clock, database
):
    store.add_jobs([refused("a"), job("b")])
    for _ in range(2):
        cycle(scheduler)
        retry_clock.advance(RETRY_SECONDS)
    scheduler.unsteady.is_broken = False
    assert cycle(scheduler)[0] == ["a"]
    scheduler.unsteady.is_broken = True
    due = {"$set": {"next_run_time": at(0).timestamp()}}
    database["jobs"].update_many({}, due)  # at the same time as before, by another process
    if store._reader.is_live:
        until(lambda: store._reader.next_run_time(0, {}) == at(0).timestamp())
    for _ in range(3):
        cycle(scheduler)
        retry_clock.advance(RETRY_SECONDS)
    assert scheduler.unsteady.tries == ["a"] * 6
    assert store.quarantined() == []


def test_start_retries_a_job_in_quarantine(make, mode, retry_clock):
    store = make(start=False, **MODES[mode])
    scheduler = start_unsteady(store)
    store.add_jobs([refused("a"), job("b")])
    before = documents(store)["a"]
    fail_three_times(scheduler, retry_clock)
    cycle(scheduler)
    assert ids(store.quarantined()) == ["a"]
    scheduler.shutdown()
    again = start_unsteady(make(start=False, **MODES[mode]))
    assert documents(store)["a"] == before
    again.unsteady.is_broken = False
    assert cycle(again)[0] == ["a"]


def test_job_is_tried_again_if_the_server_refuses_its_quarantine(
    scheduler, store, retry_clock, database
):
    store.add_jobs([refused("a"), job("b")])
    before = documents(store)["a"]
    fail_three_times(scheduler, retry_clock)
    database.command("collMod", "jobs", validator={"quarantine": {"$exists": False}})
    for _ in range(2):
        _, wait = cycle(scheduler)
        assert wait > 0, "the scheduler doesn't ask again and again"
        retry_clock.advance(RETRY_SECONDS + 1)
    assert documents(store)["a"] == before
    database.command("collMod", "jobs", validator={})
    scheduler.unsteady.is_broken = False
    until(lambda: "a" in cycle(scheduler)[0] or retry_clock.advance(RETRY_SECONDS))
    assert run_times(store)["a"] == at(YEARS).timestamp()
