"""Runs in flight: how many an executor may have, and when the scheduler is woken for more."""

import pytest
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobEvent,
)
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor

from jobstore import in_flight
from jobstore.in_flight import BoundedExecutor, Rooms, check_bound
from support.bounded_executors import Countless, Woken, end, hand_out, ids, started, submit
from support.clocks import set_by_hand
from support.manual_scheduler import ByHand


@pytest.fixture
def clock(monkeypatch):
    return set_by_hand(monkeypatch, in_flight)


@pytest.fixture
def scheduler():
    executors = {
        "threads": ThreadPoolExecutor(3),
        "processes": ProcessPoolExecutor(2),
        "debug": DebugExecutor(),
        "countless": Countless(),
    }
    scheduler = Woken(executors=executors)
    scheduler.start()
    scheduler.wakeups = 0
    yield scheduler
    scheduler.shutdown()


# Bounds


@pytest.mark.parametrize("bound", [0, -1, 1.5, "5", True, False, "all", (), b"auto"])
def test_wrong_bound_is_refused_by_name(bound):
    with pytest.raises(ValueError, match=r"in_flight is .*auto.*None.*whole number") as error:
        check_bound(bound)
    assert repr(bound) in str(error.value)


@pytest.mark.parametrize("bound", [None, "auto", 1, 10**9])
def test_right_bound_is_accepted(bound):
    check_bound(bound)


def test_auto_bounds_pools_to_twice_their_workers(scheduler):
    rooms = started(scheduler, "auto").rooms()
    assert rooms.free("threads") == 6
    assert rooms.free("processes") == 4


@pytest.mark.parametrize("alias", ["debug", "countless", "nobody's"])
def test_auto_leaves_an_executor_with_unknown_workers_without_a_bound(scheduler, alias):
    rooms = started(scheduler, "auto").rooms()
    assert rooms.free(alias) == rooms.total == float("inf")
    assert all(rooms.take(alias) for _ in range(1000))
    assert rooms.full == set()


def test_number_bounds_each_executor_that_counts_its_runs(scheduler):
    rooms = started(scheduler, 5).rooms()
    assert [rooms.free(alias) for alias in ("threads", "processes", "debug")] == [5, 5, 5]
    assert rooms.free("countless") == float("inf")


@pytest.mark.parametrize("bound", [None, "auto", 5])
def test_store_without_a_scheduler_has_no_bound(bound):
    rooms = started(None, bound).rooms()
    assert rooms.total == float("inf")


def test_no_bound_listens_to_no_events(scheduler):
    before = list(scheduler._listeners)
    runs = started(scheduler, None)
    assert scheduler._listeners == before
    assert runs.rooms().total == float("inf")


def test_rooms_shrink_by_the_runs_in_flight_of_the_stores_own_jobs(scheduler):
    runs, others = started(scheduler, 5), started(scheduler, 4)
    runs.rooms()
    others.rooms()
    hand_out(runs, scheduler, "threads", "a", "b")
    hand_out(others, scheduler, "threads", "c", *ids(3))
    assert runs.rooms().free("threads") == 3
    assert others.rooms().free("threads") == 0
    submit(scheduler, "threads", *ids(9, "added by nobody"))
    assert runs.rooms().free("threads") == 3
    submit(scheduler, "threads", "a", "a", "a")  # a job may run several times at once
    assert runs.rooms().free("threads") == 0


def test_taking_a_place_names_the_executors_that_are_full():
    rooms = Rooms({"slow": 1, "fast": 2}, False)
    assert rooms.total == 3
    assert [rooms.take(alias) for alias in ("slow", "slow", "fast", "slow")] == [
        True,
        False,
        True,
        False,
    ]
    assert rooms.full == {"slow"}
    assert rooms.total == 1


def test_replaced_executor_gets_its_own_bound(scheduler):
    runs = started(scheduler, "auto")
    runs.rooms()
    hand_out(runs, scheduler, "threads", "a", "b")
    assert runs.rooms().free("threads") == 4
    scheduler.remove_executor("threads")
    scheduler.add_executor(ThreadPoolExecutor(5), "threads")
    assert runs.rooms().free("threads") == 10
    scheduler.remove_executor("threads")
    assert runs.rooms().free("threads") == float("inf")


# The window of "auto"


def test_auto_allows_as_many_runs_as_ended_in_the_last_fifth_of_a_second(scheduler, clock):
    runs = started(scheduler, "auto")
    runs.rooms()
    clock.now += in_flight.WINDOW_SECONDS  # of a busy executor; else the measure is shorter
    hand_out(runs, scheduler, "threads", *ids(50), "long")  # so it has work all the time
    end(scheduler, "threads", *ids(50)[:30])
    clock.now += 0.1
    end(scheduler, "threads", *ids(50)[30:])
    assert runs.rooms().free("threads") == 50 - 1
    clock.now += 0.15
    assert runs.rooms().free("threads") == 20 - 1
    clock.now += 0.15
    assert runs.rooms().free("threads") == 6 - 1


@pytest.mark.parametrize("code", [EVENT_JOB_ERROR, EVENT_JOB_MISSED])
def test_runs_that_fail_or_miss_their_time_end_like_others(scheduler, clock, code):
    runs = started(scheduler, "auto")
    runs.rooms()
    clock.now += in_flight.WINDOW_SECONDS
    hand_out(runs, scheduler, "threads", *ids(7))
    end(scheduler, "threads", *ids(7), code=code)
    assert runs.rooms().free("threads") == 7


def test_runs_of_other_stores_do_not_widen_the_window(scheduler, clock):
    runs = started(scheduler, "auto")
    runs.rooms()
    submit(scheduler, "threads", *ids(50))
    end(scheduler, "threads", *ids(50))
    assert runs.rooms().free("threads") == 6


def test_number_is_not_widened_by_short_runs(scheduler, clock):
    runs = started(scheduler, 5)
    runs.rooms()
    hand_out(runs, scheduler, "threads", *ids(50))
    end(scheduler, "threads", *ids(50))
    assert runs.rooms().free("threads") == 5


# Wake-ups


@pytest.mark.parametrize(
    ("limit", "workers", "threshold"),
    [
        (1, 10, 0),
        (1, None, 0),
        (4, 10, 3),  # fewer than workers: each end leaves a worker without a run
        (10, 10, 9),
        (20, 10, 10),
        (100, 10, 50),
        (7, None, 3),
        (None, 1, 1),
        (None, 10, 10),
    ],
)
def test_more_is_handed_out_when_half_is_free_or_a_worker_idles(limit, workers, threshold):
    executor = DebugExecutor()
    assert BoundedExecutor(executor, limit, workers).threshold == threshold


def test_scheduler_is_woken_once_when_half_of_the_places_are_free(scheduler):
    runs = started(scheduler, 20)
    assert runs.rooms().free("threads") == 20
    hand_out(runs, scheduler, "threads", *ids(20))
    assert not runs.wait_for({"threads"})
    end(scheduler, "threads", *ids(20)[:9])
    assert scheduler.wakeups == 0
    end(scheduler, "threads", *ids(20)[9:])
    assert scheduler.wakeups == 1
    assert runs.wait_for({"threads"})


def test_scheduler_is_not_woken_if_no_job_waits(scheduler):
    runs = started(scheduler, 20)
    runs.rooms()
    hand_out(runs, scheduler, "threads", *ids(20))
    end(scheduler, "threads", *ids(20))
    assert scheduler.wakeups == 0


def test_cycle_that_finds_room_ends_the_wait(scheduler):
    runs = started(scheduler, 2)
    runs.rooms()
    hand_out(runs, scheduler, "threads", "a", "b")
    assert not runs.wait_for({"threads"})
    runs.rooms()
    end(scheduler, "threads", "a", "b")
    assert scheduler.wakeups == 0


def test_runs_of_another_store_wake_no_scheduler(scheduler):
    runs = started(scheduler, 1)
    runs.rooms()
    hand_out(runs, scheduler, "threads", "a")
    submit(scheduler, "threads", "other 1", "other 2")
    assert not runs.wait_for({"threads"})
    end(scheduler, "threads", "other 1", "other 2")
    assert scheduler.wakeups == 0
    end(scheduler, "threads", "a")
    assert scheduler.wakeups == 1


def test_executor_that_has_room_already_needs_no_wake_up(scheduler):
    runs = started(scheduler, 2)
    runs.rooms()
    hand_out(runs, scheduler, "threads", "a", "b")
    end(scheduler, "threads", "a", "b", code=None)  # before the cycle ends, and without events
    assert runs.wait_for({"threads"})


def test_wait_for_no_executor_in_particular_waits_for_all(scheduler):
    runs = started(scheduler, 1)
    runs.rooms()
    for alias in ("default", "threads", "processes"):
        hand_out(runs, scheduler, alias, alias)
    assert runs.wait_for(None)  # "debug" has room
    hand_out(runs, scheduler, "debug", "debug")
    assert not runs.wait_for(None)
    end(scheduler, "processes", "processes")
    assert scheduler.wakeups == 1


def test_wait_for_an_executor_that_has_gone_is_over(scheduler):
    runs = started(scheduler, 1)
    runs.rooms()
    hand_out(runs, scheduler, "threads", "a")
    scheduler.remove_executor("threads")
    runs.rooms()
    assert runs.wait_for({"threads"})


def test_job_at_its_maximum_of_instances_counts_as_no_end(scheduler):
    runs = started(scheduler, 1)
    runs.rooms()
    hand_out(runs, scheduler, "threads", "a")
    runs.hand_out("b", "threads")
    assert not runs.wait_for({"threads"})
    scheduler._dispatch_event(JobEvent(EVENT_JOB_MAX_INSTANCES, "b", "default"))
    assert scheduler.wakeups == 0
    end(scheduler, "threads", "a")
    assert scheduler.wakeups == 1


def test_stop_removes_the_listener_and_all_bounds(scheduler):
    before = list(scheduler._listeners)
    runs = started(scheduler, 2)
    runs.rooms()
    hand_out(runs, scheduler, "threads", "a", "b")
    assert not runs.wait_for({"threads"})
    runs.stop()
    assert scheduler._listeners == before
    end(scheduler, "threads", "a", "b")
    assert scheduler.wakeups == 0
    assert runs.rooms().total == float("inf")
    runs.start(scheduler)
    runs.start(scheduler)  # again: it listens once
    assert len(scheduler._listeners) == len(before) + 1
    assert runs.rooms().free("threads") == 2


def test_paused_scheduler_is_not_woken(scheduler):
    runs = started(scheduler, 1)
    runs.rooms()
    hand_out(runs, scheduler, "threads", "a")
    assert not runs.wait_for({"threads"})
    scheduler.pause()
    end(scheduler, "threads", "a")
    assert scheduler.wakeups == 0


def test_notes_of_runs_that_ended_without_events_do_not_pile_up(scheduler):
    runs = started(scheduler, 5)
    runs.rooms()
    hand_out(runs, scheduler, "threads", "running")
    for job_id in ids(10_000):
        hand_out(runs, scheduler, "threads", job_id)
        end(scheduler, "threads", job_id, code=None)
        runs.rooms()
    handed_out = runs._executors["threads"].jobs
    assert len(handed_out) <= in_flight.SPARE + 3
    assert "running" in handed_out


# Schedulers that no thread may wake


class Unwakeable(ByHand):
    wakeups = 0

    def wakeup(self):
        self.wakeups += 1


@pytest.fixture
def unwakeable():
    scheduler = Unwakeable(executors={"threads": ThreadPoolExecutor(3)}, timezone="UTC")
    scheduler.start()
    yield scheduler
    scheduler.shutdown()


def test_unwakeable_scheduler_has_no_bound_by_auto(unwakeable):
    assert started(unwakeable, "auto").rooms().total == float("inf")


def test_unwakeable_scheduler_looks_often_instead_of_being_woken(unwakeable):
    runs = started(unwakeable, 2)
    unwakeable.wakeups = 0
    assert runs.rooms().free("threads") == 2
    hand_out(runs, unwakeable, "threads", "a", "b")
    assert not runs.wait_for({"threads"})
    end(unwakeable, "threads", "a", "b")
    assert unwakeable.wakeups == 0
    assert runs.recheck_seconds == in_flight.POLL_SECONDS
    assert runs.wait_for({"threads"})


def test_wakeable_scheduler_looks_again_once_a_second(scheduler):
    assert started(scheduler, 2).recheck_seconds == in_flight.RECHECK_SECONDS
