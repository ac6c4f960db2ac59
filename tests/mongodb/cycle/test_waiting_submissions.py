"""Changes of jobs that wait for another try, as their executors did not take them."""

import pytest
from apscheduler.executors.debug import DebugExecutor

from support.jobs import YEARS, at, job, names, note, run_times
from support.shared_stores import ids
from support.unsteady import MODES, RETRY_SECONDS, cycle, documents, refused, start_unsteady
from support.waiting import until


@pytest.fixture
def store(unsteady_store):
    return unsteady_store


@pytest.fixture
def scheduler(unsteady):
    return unsteady


# Others change the job while it waits


def test_job_that_is_modified_while_it_waits_runs_at_its_new_time(scheduler, store):
    store.add_jobs([refused("a"), job("far", YEARS)])
    cycle(scheduler)
    scheduler.unsteady.is_broken = False
    scheduler.modify_job("a", next_run_time=at(5), name="new")
    assert cycle(scheduler)[0] == ["a"]
    assert scheduler.get_job("a").name == "new"


def test_paused_job_is_not_tried_again_until_it_is_resumed(scheduler, store, retry_clock):
    store.add_job(refused("a"))
    cycle(scheduler)
    scheduler.unsteady.is_broken = False
    scheduler.pause_job("a")
    retry_clock.advance(RETRY_SECONDS)
    assert cycle(scheduler)[0] == []
    assert run_times(store) == {"a": None}
    scheduler.modify_job("a", next_run_time=at(5))
    assert cycle(scheduler)[0] == ["a"]


def test_job_that_is_removed_while_it_waits_does_not_come_back(scheduler, store, retry_clock):
    store.add_jobs([refused("a"), refused("b", 1)])
    cycle(scheduler)
    scheduler.remove_job("a")
    retry_clock.advance(RETRY_SECONDS)
    cycle(scheduler)
    assert names(store) == ["b"]
    assert scheduler.unsteady.tries == ["a", "b", "b"]


@pytest.mark.parametrize("seconds", [-5, 5])
def test_job_that_another_process_reschedules_while_it_waits_runs_at_its_new_time(
    scheduler, store, stock, seconds
):
    store.add_jobs([refused("a"), job("far", YEARS)])
    cycle(scheduler)
    scheduler.unsteady.is_broken = False
    changed = stock.lookup_job("a")
    changed.next_run_time = at(seconds)
    stock.update_job(changed)
    if store._reader.is_live:
        until(lambda: store._reader.mirror.find("a")["next_run_time"] == at(seconds).timestamp())
    taken = []
    for _ in range(3):
        done, wait = cycle(scheduler)
        taken += done
        if wait > 0:
            break
    assert taken == ["a"]
    assert wait > RETRY_SECONDS


def test_job_that_another_process_removes_while_it_waits_is_forgotten(
    scheduler, store, stock, retry_clock
):
    store.add_jobs([refused("a"), job("far", YEARS)])
    cycle(scheduler)
    stock.remove_job("a")
    if store._reader.is_live:
        until(lambda: store._reader.mirror.find("a") is None)
    retry_clock.advance(RETRY_SECONDS)
    assert cycle(scheduler)[1] > RETRY_SECONDS
    assert scheduler.unsteady.tries == ["a"]
    assert names(store) == ["far"]


# Jobs that run within the cycle


def remove(job_id):
    SCHEDULERS[0].remove_job(job_id)


def rename(job_id):
    SCHEDULERS[0].modify_job(job_id, name="renamed", next_run_time=at(7 * YEARS))


def ask(_):
    store = SCHEDULERS[0]._lookup_jobstore("default")
    ANSWERS.extend(ids(store.get_due_jobs(at(10))))
    store.get_next_run_time()


def fail(_):
    raise ValueError("the job's own error")


SCHEDULERS, ANSWERS = [], []


@pytest.fixture
def synchronous(scheduler):
    scheduler.add_executor(DebugExecutor(), "debug")
    SCHEDULERS[:] = [scheduler]
    ANSWERS.clear()
    yield scheduler
    SCHEDULERS.clear()


def within(name, seconds, func, *args, **options):
    return job(name, seconds, executor="debug", func=func, args=args, **options)


@pytest.mark.parametrize("every", [YEARS, None], ids=["recurring", "one-off"])
@pytest.mark.parametrize("other", ["a", "b", "c"])
@pytest.mark.parametrize("change", [remove, rename, ask, fail])
def test_job_that_changes_jobs_within_the_cycle_counts_as_taken(
    synchronous, store, caplog, change, other, every
):
    store.add_jobs(
        [
            within("a", 0, note, every=every),
            within("b", 1, change, other, every=every),
            within("c", 2, note, every=every),
        ]
    )
    cycle(synchronous)
    assert "did not take" not in caplog.text
    due = [name for name, seconds in run_times(store).items() if seconds <= at(10).timestamp()]
    assert due == []
    assert store._hand_out._failed.waiting() == {}


def test_refused_jobs_and_jobs_that_ask_within_the_cycle_are_told_apart(synchronous, store):
    store.add_jobs([within("a", 0, ask, ""), refused("b", 1), within("c", 2, ask, "")])
    cycle(synchronous)
    far = at(YEARS).timestamp()
    assert run_times(store) == {"a": far, "b": at(1).timestamp(), "c": far + 2}
    assert synchronous.unsteady.tries == ["b"]


def remove_executor(alias):
    SCHEDULERS[0].remove_executor(alias)


def test_job_whose_executor_is_removed_within_the_cycle_stays_due(synchronous, store):
    store.add_jobs([within("a", 0, remove_executor, "unsteady"), refused("b", 1, every=None)])
    before = documents(store)["b"]
    cycle(synchronous)
    assert documents(store)["b"] == before


# Restarts, and a mirror that goes live or is lost


def test_shutdown_and_a_new_start_try_the_job_again_at_once(make, mode, retry_clock):
    store = make(start=False, **MODES[mode])
    scheduler = start_unsteady(store)
    store.add_job(refused("a"))
    before = documents(store)
    cycle(scheduler)
    scheduler.shutdown()
    assert documents(store) == before
    again = start_unsteady(store)
    again.unsteady.is_broken = False
    assert cycle(again)[0] == ["a"]


def test_job_stays_due_if_the_mirror_is_lost_or_goes_live_between_tries(make, retry_clock):
    store = make(start=False, **MODES["mirrored"])
    scheduler = start_unsteady(store)
    store.add_jobs([refused("a"), job("far", YEARS)])
    before = documents(store)
    for is_live in [True, False, False, True]:
        if is_live:
            until(lambda: store._reader.mirror.caught_up(store._connection.write_time))
            store._reader.go_live()
        else:
            store._reader.mirror.live = False
        cycle(scheduler)
        assert documents(store) == before
        retry_clock.advance(RETRY_SECONDS)
    assert scheduler.unsteady.tries == ["a"] * 4
