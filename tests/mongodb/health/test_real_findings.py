"""Each finding of health happens for real, and goes again where its cause does."""

import itertools
import threading
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from pymongo import MongoClient

import jobstore
from jobstore import MemoryJobStore, MongoDBJobStore
from jobstore.mongodb.health import findings, report
from jobstore.mongodb.health.findings import NAMES
from jobstore.mongodb.history import buffer
from jobstore.mongodb.presence import presence
from support.jobs import note
from support.proxy import Proxy
from support.waiting import PATIENCE, until

DAY = 86_400


class Work:
    """The work of jobs: the first run waits until the test lets it go on."""

    def __init__(self):
        self.runs = itertools.count(1)
        self.begun, self.may_end = threading.Event(), threading.Event()


work = Work()


def do_work():
    if next(work.runs) == 1:
        work.begun.set()
        assert work.may_end.wait(PATIENCE)


@pytest.fixture
def first_run_waits():
    """Let the first run of a job wait until the test ends it, at its end at the latest."""
    global work
    work = Work()
    yield work
    work.may_end.set()


@pytest.fixture
def quick(monkeypatch):
    """Let schedulers look at their collection, and at each other, all the time."""
    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(report, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(report, "INDEX_SECONDS", 0.2)


@pytest.fixture
def run(server, database, first_run_waits):
    """Return a function that starts a scheduler on a store of the one collection."""
    clients, schedulers = [], []

    def run(uri=server.uri, executor=None, client_options=None, paused=False, **options):
        client = MongoClient(uri, **(client_options or {}))
        clients.append(client)
        store = MongoDBJobStore(database.name, client=client, **options)
        scheduler = BackgroundScheduler(
            {"apscheduler.timezone": "UTC"},
            jobstores={"default": store},
            executors={"default": executor or ThreadPoolExecutor(10)},
            jobstore_retry_interval=0.1,
        )
        scheduler.start(paused=paused)
        schedulers.append(scheduler)
        return store, scheduler

    yield run
    first_run_waits.may_end.set()
    for scheduler in schedulers:
        if scheduler.running:
            scheduler.shutdown()
    for client in clients:
        client.close()


def add(scheduler, number=1, func=note, late=0.0, **options):
    """Add jobs that are due for some seconds."""
    due = datetime.now(timezone.utc) - timedelta(seconds=late)
    options = {"misfire_grace_time": None, "next_run_time": due, **options}
    for each in range(number):
        scheduler.add_job(func, "interval", days=1, id=f"job-{each}", **options)


def level(store, name):
    """Return the level of a finding about a store."""
    health = jobstore.health(store)
    assert [each.name for each in health.findings] == list(NAMES)
    [found] = [each for each in health.findings if each.name == name]
    assert found.level == "well" or health.level != "well"
    return found.level


def until_level(store, name, wanted):
    until(lambda: level(store, name) == wanted)


def test_a_scheduler_at_work_is_well(run, quick):
    store, scheduler = run()
    add(scheduler, 5)
    until(lambda: store.status().fired == 5)
    until(lambda: store.status().overdue == 0)
    until(lambda: jobstore.health(store).level == "well")
    assert jobstore.health(store).ok
    assert jobstore.health(store).as_dict()["findings"][0]["name"] == "cycle"


def test_a_cycle_that_hangs_is_degraded_then_down_and_well_at_its_end(
    run, first_run_waits, monkeypatch
):
    monkeypatch.setattr(findings, "LATE_CYCLE", 0.1)
    monkeypatch.setattr(findings, "NO_CYCLE", 1.0)
    monkeypatch.setattr(findings, "LONG_CYCLE", PATIENCE)
    store, scheduler = run(executor=DebugExecutor())
    add(scheduler, func=do_work)
    assert first_run_waits.begun.wait(PATIENCE)
    until_level(store, "cycle", "degraded")
    until_level(store, "cycle", "down")
    assert not jobstore.health(store).ok
    first_run_waits.may_end.set()
    until_level(store, "cycle", "well")


def test_a_cycle_that_took_long_is_degraded(run, first_run_waits, monkeypatch):
    monkeypatch.setattr(findings, "LONG_CYCLE", 0.1)
    store, scheduler = run(executor=DebugExecutor(), watch=False)  # a wake-up brings a quick cycle
    add(scheduler, func=do_work)
    assert first_run_waits.begun.wait(PATIENCE)
    assert not first_run_waits.may_end.wait(0.2)
    first_run_waits.may_end.set()
    until_level(store, "cycle", "degraded")


def test_a_paused_scheduler_is_down_until_it_resumes(run):
    store, scheduler = run(paused=True)
    assert level(store, "cycle") == "down"
    scheduler.resume()
    until_level(store, "cycle", "well")


def test_a_store_is_down_before_its_scheduler_starts_and_after_its_shutdown(run, database, server):
    never = MongoDBJobStore(database.name, host=server.uri)
    assert level(never, "cycle") == "down"
    never.shutdown()
    store, scheduler = run()
    until_level(store, "cycle", "well")
    scheduler.shutdown()
    assert level(store, "cycle") == "down"
    assert level(store, "connection") == "degraded"


def test_a_store_that_its_scheduler_has_removed_is_down(run):
    store, scheduler = run()
    scheduler.remove_jobstore("default")
    assert level(store, "cycle") == "down"


@pytest.mark.slow
def test_an_outage_degrades_the_connection_and_the_mirror_until_it_ends(
    run, server, quick, monkeypatch
):
    monkeypatch.setattr(findings, "LAG", 1.0)
    with Proxy(server.nodes[0].port) as proxy:
        store, _ = run(proxy.uri, mirror=True)
        until_level(store, "connection", "well")
        until(lambda: store.status().lag is not None)
        until_level(store, "mirror", "well")
        proxy.hold()
        until_level(store, "mirror", "degraded")
        until_level(store, "connection", "degraded")
        proxy.release()
        until_level(store, "connection", "well")
        until_level(store, "mirror", "well")


def test_jobs_that_wait_for_a_full_executor_are_overdue(run, quick, first_run_waits):
    store, scheduler = run(executor=ThreadPoolExecutor(1), in_flight=1)
    add(scheduler, 3, do_work, late=100)
    assert first_run_waits.begun.wait(PATIENCE)
    until_level(store, "overdue", "degraded")
    first_run_waits.may_end.set()
    until_level(store, "overdue", "well")


@pytest.mark.parametrize("mirror", [False, "exclusive"], ids=["queried", "mirrored"])
def test_two_schedulers_that_do_not_share_know_each_other_until_one_ends(run, quick, mirror):
    store, _ = run(mirror=mirror)
    until_level(store, "others", "well")
    other, scheduler = run(mirror=mirror)
    until_level(store, "others", "degraded")
    until_level(other, "others", "degraded")
    scheduler.shutdown()
    until_level(store, "others", "well")


def test_a_hot_standby_is_well_and_says_that_it_waits(run, quick):
    first, scheduler = run(others="wait", lease=2)
    standby, _ = run(others="wait", lease=2)
    until(lambda: first.status().firing)
    until(lambda: jobstore.health(standby).level == "well")
    assert "hot standby" in text(standby, "standby")
    assert level(first, "others") == "well"
    scheduler.shutdown()
    until(lambda: standby.status().firing)
    assert "hot standby" not in text(standby, "standby")


def text(store, name):
    [found] = [each for each in jobstore.health(store).findings if each.name == name]
    return found.text


def test_flushes_that_fail_are_degraded_until_one_succeeds(run, point):
    store, scheduler = run(client_options={"appname": "flushes"})
    point("failCommand", failCommands=["update"], errorCode=8, appName="flushes")
    add(scheduler)
    until_level(store, "flush", "degraded")
    point.off()
    until_level(store, "flush", "well")
    assert store.status().flush_failures > 0


def test_a_job_without_its_executor_degrades_the_quarantine(run, quick):
    store, scheduler = run()
    add(scheduler, executor="gone")
    until_level(store, "quarantine", "degraded")
    assert text(store, "quarantine").startswith("1 job in quarantine")
    scheduler.remove_all_jobs()
    until_level(store, "quarantine", "well")


def test_a_dropped_index_is_missing_until_it_is_created_again(run, quick):
    store, _ = run()
    until_level(store, "indexes", "well")
    store.collection.drop_index("next_run_time_1")
    until_level(store, "indexes", "degraded")
    assert "next_run_time" in text(store, "indexes")
    store._lifecycle.indexes.create()
    until_level(store, "indexes", "well")


def test_a_client_with_too_few_connections_is_degraded(run):
    store, _ = run(client_options={"maxPoolSize": 1})
    until_level(store, "pool", "degraded")
    [found] = [each for each in jobstore.health(store).findings if each.name == "pool"]
    assert "maxPoolSize=3" in found.advice


def test_a_run_by_two_schedulers_is_double_for_ten_minutes(run, first_run_waits, monkeypatch):
    store, scheduler = run(executor=DebugExecutor())
    add(scheduler, func=do_work)
    assert first_run_waits.begun.wait(PATIENCE)  # its write follows after the run
    due = store.collection.find_one()["next_run_time"]
    run()
    until(lambda: store.collection.find_one()["next_run_time"] > due)  # the other has written it
    first_run_waits.may_end.set()
    until_level(store, "doubles", "degraded")
    monkeypatch.setattr(findings, "RECENT", 0.0)
    until_level(store, "doubles", "well")
    assert store.status().doubles == 1


def test_claims_that_others_take_over_are_lost_leases_for_ten_minutes(
    run, first_run_waits, monkeypatch
):
    store, scheduler = run(shared=True, lease=1, executor=DebugExecutor(), paused=True)
    add(scheduler, 3, do_work)
    scheduler.resume()
    assert first_run_waits.begun.wait(PATIENCE)  # longer than the lease of the other two
    other, _ = run(shared=True, lease=1)
    until(lambda: other.status().fired >= 2)
    first_run_waits.may_end.set()
    until_level(store, "leases", "degraded")
    monkeypatch.setattr(findings, "RECENT", 0.0)
    until_level(store, "leases", "well")
    assert store.status().leases_lost >= 2


def test_a_history_that_drops_records_is_degraded_for_ten_minutes(run, monkeypatch):
    monkeypatch.setattr(buffer, "CAPACITY", 0)
    store, scheduler = run(history="all")
    add(scheduler)
    until_level(store, "history", "degraded")
    monkeypatch.setattr(findings, "RECENT", 0.0)
    until_level(store, "history", "well")


@pytest.mark.parametrize("store", [MemoryJobStore(), None, "store"], ids=["memory", "None", "str"])
def test_other_stores_have_no_health(store):
    kind = type(store).__name__
    with pytest.raises(TypeError, match=f"health\\(\\) needs a MongoDBJobStore, not a {kind}"):
        jobstore.health(store)
