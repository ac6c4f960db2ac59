"""How many runs "auto" allows in flight, by the runs that have ended."""

from itertools import count

import pytest
from apscheduler.executors.pool import ThreadPoolExecutor

from jobstore import in_flight
from jobstore.in_flight import BoundedExecutor
from support.clocks import set_by_hand

numbers = count()


@pytest.fixture
def clock(monkeypatch):
    return set_by_hand(monkeypatch, in_flight)


@pytest.fixture
def pool(clock):
    """Return an executor with ten workers, at the start of a cycle in which it is idle."""
    executor = ThreadPoolExecutor(10)
    bounded = BoundedExecutor(executor, None, 10)
    bounded.forget_ended()
    yield bounded
    executor.shutdown()


def end(pool, count):
    for _ in range(count):
        pool.run_ended(f"job{next(numbers)}")


def test_idle_executor_may_take_twice_its_workers(pool):
    assert pool.bound == 20


def test_first_runs_show_how_many_end_in_a_fifth_of_a_second(pool, clock):
    clock.now += 0.04
    end(pool, 20)
    assert pool.bound == 100


def test_first_runs_raise_the_bound_to_eight_times_their_number_at_most(pool, clock):
    clock.now += 0.001
    end(pool, 3)
    assert pool.bound == 24
    end(pool, 17)
    assert pool.bound == 160


def test_busy_executor_may_take_what_it_finished_in_a_fifth_of_a_second(pool, clock):
    for _ in range(10):
        clock.now += 0.05
        end(pool, 25)
        pool.forget_ended()
    clock.now += 0.01
    assert pool.bound == 100


def test_bound_falls_when_no_runs_end(pool, clock):
    clock.now += 0.04
    end(pool, 100)
    clock.now += 0.3
    assert pool.bound == 20


def test_time_without_jobs_does_not_count(pool, clock):
    """A cycle may come late: the database is far, or the machine is busy."""
    for _ in range(4):
        clock.now += 0.02
        end(pool, 10)
        clock.now += 0.5
        pool.forget_ended()
    assert pool.bound == 100


def test_executor_that_was_idle_is_measured_anew(pool, clock):
    clock.now += 0.04
    end(pool, 100)
    clock.now += 60
    pool.forget_ended()
    clock.now += 0.04
    end(pool, 20)
    assert pool.bound == 100


def test_many_runs_of_one_submission_count_once(pool, clock):
    """Without `coalesce` a submission may have thousands of run times, which end together."""
    clock.now += 60
    for _ in range(1000):
        pool.run_ended("late")
    assert pool.bound == 20
