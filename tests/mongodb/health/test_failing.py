"""A store whose cycles fail fires no job: it is degraded at once, and down after a while."""

from datetime import datetime, timezone

import pytest
from pymongo.errors import PyMongoError

import jobstore
from jobstore import MongoDBJobStore
from jobstore.mongodb.health import findings, report
from support.jobs import job
from support.manual_scheduler import by_hand
from support.waiting import until

MODES = {"queried": {}, "without a watcher": {"watch": False}, "shared": {"shared": True}}


def cycle_of(store):
    """Return the finding about the cycles, and check that the level follows it."""
    health = jobstore.health(store)
    assert health.ok == (health.findings[0].level != "down")
    return health.findings[0]


@pytest.fixture
def start(server, database):
    """Return a function that starts a scheduler, whose commands a fail point can refuse."""
    schedulers = []

    def start(**options):
        store = MongoDBJobStore(database.name, host=server.uri, appname="failing", **options)
        scheduler = by_hand(store)
        schedulers.append(scheduler)
        return scheduler, store

    yield start
    for scheduler in schedulers:
        scheduler.shutdown()


@pytest.mark.parametrize("commands", [["find", "aggregate"], ["update"]], ids=["reads", "writes"])
@pytest.mark.parametrize("mode", MODES)
def test_store_whose_cycles_fail_is_degraded_then_down_until_one_succeeds(
    start, point, mode, commands, monkeypatch
):
    scheduler, store = start(**MODES[mode])
    store.add_job(job("a"))
    point("failCommand", failCommands=commands, appName="failing", errorCode=50)
    for _ in range(2):  # the first one may fire the job, and fail to write that
        scheduler._process_jobs()
    status = store.status()
    assert status.failing is not None
    assert not status.connected
    assert cycle_of(store).level == "degraded"
    monkeypatch.setattr(findings, "NO_CYCLE", 0.0)
    assert cycle_of(store).level == "down"
    assert "cycles have failed" in cycle_of(store).text
    scheduler._process_jobs()
    assert store.status().failing > status.failing
    point.off()
    scheduler._process_jobs()
    assert store.status().failing is None
    assert cycle_of(store).level == "well"


def test_mirror_fires_jobs_though_the_server_refuses_all(start, point):
    scheduler, store = start(mirror=True)
    store.add_job(job("a"))
    until(lambda: store._reader.is_live)
    point("failCommand", failCommands=["find", "update"], appName="failing", errorCode=50)
    until(lambda: (scheduler._process_jobs(), store.status().fired)[1])
    assert store.status().fired == 1
    assert store.status().failing is None
    point.off()


def test_call_outside_a_cycle_neither_begins_nor_fails_one(start, point):
    scheduler, store = start()
    scheduler._process_jobs()
    before = store.status()
    now = datetime.now(timezone.utc)
    store.get_due_jobs(now)
    store.get_next_run_time()
    store.add_job(job("a"))
    point("failCommand", failCommands=["find"], appName="failing", errorCode=50)
    with pytest.raises(PyMongoError):
        store.get_due_jobs(now)
    after = store.status()
    assert (after.expected, after.cycle, after.failing) == (None, before.cycle, None)
    point.off()


def test_shutdown_forgets_cycles_that_fail_and_the_last_look(start, point):
    scheduler, store = start(watch=False)
    store._lifecycle._report.look()
    assert store.status().overdue == 0
    store.add_job(job("a"))
    point("failCommand", failCommands=["find", "aggregate"], appName="failing", errorCode=50)
    scheduler._process_jobs()
    assert store.status().failing is not None
    point.off()
    store.shutdown()
    status = store.status()
    assert (status.failing, status.expected) == (None, None)
    assert (status.overdue, status.oldest_overdue, status.quarantined) == (None, None, None)
    assert status.missing_indexes is None


def test_look_that_fails_disconnects_and_its_values_end(start, point, monkeypatch):
    _, store = start(watch=False)
    look = store._lifecycle._report
    look.look()
    point("failCommand", failCommands=["find", "aggregate"], appName="failing", errorCode=50)
    look.look()
    assert not store.status().connected
    assert store.status().overdue == 0
    monkeypatch.setattr(report, "VALID_SECONDS", 0.0)
    assert store.status().overdue is None
    point.off()
    look.look()
    assert store.status().connected
