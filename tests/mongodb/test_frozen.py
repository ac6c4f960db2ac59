"""The stores follow a clock that freezegun freezes and moves, as in applications' unit tests."""

import logging
import threading
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from freezegun import freeze_time
from pymongo import MongoClient, monitoring

from jobstore import MemoryJobStore, MongoDBJobStore
from jobstore.testing import mongod
from support.jobs import job
from support.mirrored_stores import Runs

MODES = {
    "queried": {},
    "mirrored": {"mirror": True},
    "exclusive": {"mirror": "exclusive"},
    "shared": {"shared": True},
    "polling": {"watch": 0.05},
}
NOON = datetime(2031, 3, 30, 12, tzinfo=timezone.utc)  # the day on which Europe's clocks change
DAY = timedelta(days=1)


def until(condition):
    """Wait at most 120 s of real time. The clock of `support.waiting.until` is frozen."""
    for _ in range(24_000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("not so after 120 s")


def run(store):
    scheduler = BackgroundScheduler(timezone="Europe/Helsinki")
    scheduler.executor = Runs()
    scheduler.add_executor(scheduler.executor, "default")
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    return scheduler


def check_three_days(store):
    """Check a daily job while the clock is set forward by a day three times."""
    with freeze_time(NOON) as clock:
        scheduler = run(store)
        scheduler.add_job(print, "interval", days=1, id="daily")
        times = scheduler.executor.times["daily"]
        for day in range(3):
            assert scheduler.get_job("daily").next_run_time == NOON + (day + 1) * DAY
            clock.tick(DAY)
            scheduler.wakeup()
            until(lambda day=day: len(times) == day + 1)
        assert [each.id for each in scheduler.get_jobs()] == ["daily"]
        assert times == [NOON + (day + 1) * DAY for day in range(3)]
        until(lambda: scheduler.get_job("daily").next_run_time == NOON + 4 * DAY)
        scheduler.shutdown()


def test_memory_store_follows_a_frozen_clock():
    check_three_days(MemoryJobStore())


@pytest.mark.parametrize("mode", MODES)
def test_mongodb_store_follows_a_frozen_clock(server, database, mode, caplog):
    """A thread that is in mid-command when the clock is set may warn of a time-out."""
    check_three_days(MongoDBJobStore(database.name, host=server.uri, **MODES[mode]))
    assert not [each for each in caplog.records if each.levelno > logging.WARNING]


class Jump(monitoring.CommandListener):
    """Sets the clock forward by a day, once, when the client sends a command of this name."""

    clock = None

    def __init__(self, command):
        self._command = command

    def started(self, event):
        if event.command_name == self._command and self.clock:
            clock, self.clock = self.clock, None
            clock.tick(DAY)

    def succeeded(self, event):
        pass

    failed = succeeded


@pytest.mark.parametrize("command", ["find", "update"])
@pytest.mark.parametrize("mode", MODES)
def test_no_run_is_lost_when_the_clock_is_set_in_mid_command(server, database, mode, command):
    jump = Jump(command)
    with MongoClient(server.uri, event_listeners=[jump]) as client, freeze_time(NOON) as clock:
        scheduler = run(MongoDBJobStore(database.name, client=client, **MODES[mode]))
        scheduler.add_job(print, "interval", days=1, id="daily")
        times = scheduler.executor.times["daily"]
        jump.clock = clock
        clock.tick(DAY)
        scheduler.wakeup()
        until(lambda: times)
        jump.clock = None  # a mirror sends no command for a query
        expected = clock().replace(tzinfo=timezone.utc)
        until(lambda: scheduler.wakeup() or times[-1] == expected)
        scheduler.shutdown()


@pytest.mark.parametrize("mode", ["queried", "mirrored", "shared", "polling"])
def test_job_of_another_process_fires_while_the_clock_stands_still(server, database, stock, mode):
    with freeze_time(NOON):
        store = MongoDBJobStore(database.name, host=server.uri, **MODES[mode])
        scheduler = run(store)
        until(lambda: store.status().lag is not None)
        added = job("added")
        added.next_run_time = NOON
        stock.add_job(added)
        until(lambda: "added" in scheduler.executor.times)
        until(lambda: store.status().pending == 0)
        assert store.status().lag < 5, "both times are of one clock"
        scheduler.shutdown()


def test_standalone_server_is_polled_while_the_clock_stands_still(database):
    with mongod(standalone=True) as server, MongoClient(server.uri) as client, freeze_time(NOON):
        store = MongoDBJobStore(database.name, host=server.uri)
        scheduler = run(store)
        until(lambda: store.status().lag is not None)
        other_store = MongoDBJobStore(database.name, client=client, watch=False)
        other_store.start(None, "default")
        due = job("added")
        due.next_run_time = NOON
        other_store.add_job(due)
        until(lambda: "added" in scheduler.executor.times)
        other_store.shutdown()
        scheduler.shutdown()


@pytest.mark.parametrize("mode", MODES)
def test_clock_set_forward_wakes_the_scheduler(server, database, mode):
    """After a suspend, for example, nothing else wakes the scheduler."""
    with freeze_time(NOON) as clock:
        scheduler = run(MongoDBJobStore(database.name, host=server.uri, **MODES[mode]))
        scheduler.add_job(print, "interval", days=1, id="daily")
        times = scheduler.executor.times["daily"]
        for day in range(3):
            until(lambda day=day: awaited(scheduler) == [(NOON + (day + 1) * DAY).timestamp()])
            clock.tick(DAY)
            until(lambda day=day: len(times) == day + 1)
        scheduler.shutdown()


def awaited(scheduler):
    return list(scheduler._jobstores["default"]._wakeups._awaited.values())


@pytest.mark.parametrize("mode", MODES)
def test_store_works_before_during_and_after_a_frozen_clock(server, database, mode):
    """The store starts before the clock is frozen, and stops after."""
    scheduler = run(MongoDBJobStore(database.name, host=server.uri, **MODES[mode]))
    ran = scheduler.executor.times
    scheduler.add_job(print, id="before")
    until(lambda: "before" in ran)
    with freeze_time(datetime.now(timezone.utc) + DAY, tick=True):
        scheduler.add_job(print, id="frozen")
        until(lambda: "frozen" in ran)
    scheduler.add_job(print, id="after")
    until(lambda: "after" in ran)
    scheduler.shutdown()
