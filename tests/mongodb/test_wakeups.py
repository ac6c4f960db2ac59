"""`Wakeups` alone: it wakes a scheduler once for each run time that is earlier than expected."""

import pytest
from apscheduler.schedulers.base import STATE_RUNNING

from jobstore.mongodb.wakeups import Wakeups
from support.jobs import YEARS, at
from support.waiting import in_thread


class Woken:
    count = 0
    state = STATE_RUNNING

    def wakeup(self):
        self.count += 1


@pytest.fixture
def wakeups():
    wakeups = Wakeups()
    wakeups.set_scheduler(Woken())
    wakeups.cycle_begins()
    return wakeups


def test_scheduler_in_a_cycle_is_woken_once_after_the_cycle(wakeups):
    wakeups.notify(5.0)
    wakeups.cycle_ends(7.0)
    assert wakeups._scheduler.count == 1
    wakeups.notify(5.0)
    wakeups.notify(6)
    assert wakeups._scheduler.count == 1
    wakeups.notify(4)
    assert wakeups._scheduler.count == 2
    wakeups.cycle_begins()
    wakeups.notify(9.0)
    wakeups.cycle_ends(9.0)
    assert wakeups._scheduler.count == 2
    wakeups.cycle_ends(None)  # another call of get_next_run_time, outside a cycle
    wakeups.notify(9.0)
    assert wakeups._scheduler.count == 2


def test_due_jobs_query_by_another_thread_suppresses_no_wakeup(wakeups):
    wakeups.cycle_ends(7.0)
    in_thread(wakeups.cycle_begins)  # and never calls get_next_run_time
    wakeups.notify(6.0)
    assert wakeups._scheduler.count == 1
    wakeups.cycle_begins()
    in_thread(wakeups.cycle_begins)
    in_thread(wakeups.cycle_ends, 5.0)
    wakeups.notify(5.0)
    assert wakeups._scheduler.count == 1
    wakeups.cycle_ends(9.0)
    assert wakeups._scheduler.count == 2


def test_scheduler_that_misses_its_time_is_woken_once(wakeups):
    wakeups.check_clock(1e12)
    assert wakeups._scheduler.count == 0, "it is in a cycle"
    wakeups.cycle_ends(1000.0)
    for now in (0.0, 999.0, 1000.0):
        wakeups.check_clock(now)
    assert wakeups._scheduler.count == 0, "it may be about to begin its cycle"
    wakeups.cycle_begins()
    wakeups.cycle_ends(2000.0)
    wakeups.check_clock(2000.0)
    assert wakeups._scheduler.count == 0, "it has begun its cycle"
    for now in (2000.0, 2000.5):
        wakeups.check_clock(now)
    wakeups.notify(5.0)
    assert wakeups._scheduler.count == 1
    wakeups.cycle_begins()
    wakeups.cycle_ends(None)
    wakeups.check_clock(1e12)
    assert wakeups._scheduler.count == 1


@pytest.mark.parametrize("value", [None, "soon", [1.0], True, float("nan")])
def test_invalid_run_time_wakes_no_scheduler(wakeups, value):
    wakeups.cycle_ends(None)
    wakeups.notify(value)
    assert wakeups._scheduler.count == 0


def test_error_of_the_schedulers_wakeup_does_no_harm(wakeups):
    wakeups._scheduler.wakeup = lambda: 1 / 0
    wakeups.cycle_ends(None)
    wakeups.notify(at(YEARS).timestamp())
