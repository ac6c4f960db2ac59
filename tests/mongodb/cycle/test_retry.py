"""Quarantined jobs are retried every ten minutes, in small steps that don't delay other work."""

import contextlib
import gc
import pickle
import threading
from datetime import datetime, timezone

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore
from jobstore.mongodb.writes import retry
from support.clocks import set_by_hand
from support.damaged_documents import Raises, good
from support.jobs import YEARS, at, job, run_times
from support.manual_scheduler import by_hand
from support.mirrored_stores import own_threads, run
from support.waiting import until

MODES = [{}, {"shared": True}, {"mirror": True}, {"mirror": "exclusive"}]
IDS = ["queried", "shared", "mirrored", "exclusive"]
LOADED = []  # (name, thread's name) of each `Loads` that was unpickled


class Loads:
    """Notes its name and the thread when it is unpickled, and waits while `gate` is shut."""

    gate = threading.Event()

    def __init__(self, name):
        self.name = name

    def __setstate__(self, state):
        self.__dict__ = state
        LOADED.append((self.name, threading.current_thread().name))
        assert self.gate.wait(60)


@pytest.fixture(autouse=True)
def _open_gate():
    LOADED.clear()
    Loads.gate.set()
    yield
    Loads.gate.set()


@pytest.fixture
def clock(monkeypatch):
    return set_by_hand(monkeypatch, retry, 1e6)


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(retry, "READ_BATCH", 10)


def quarantined(name, reason="out of order", seconds=0, **options):
    """Make a quarantined document whose job can be restored, if its executor exists."""
    options = {"args": (Loads(name),), **options}
    state = pickle.dumps(job(name, seconds, **options).__getstate__())
    mark = {"reason": reason, "since": datetime.now(timezone.utc), "next_run_time": None}
    mark["next_run_time"] = at(seconds).timestamp()
    return {"_id": name, "next_run_time": None, "job_state": state, "quarantine": mark}


def many(count, *args, **options):
    return [quarantined(f"{i:03}", *args, **options) for i in range(count)]


def count_quarantined(store):
    return len(store.quarantined())


def tried_names():
    return [name for name, _ in LOADED]


def let_round_begin(store):
    """Let the store's thread begin a round at its next step."""
    store._lifecycle._retry._next_at = 0.0


# The jobs that are tried


def test_retry_tries_one_job_of_each_reason(store, clock):
    scheduler = by_hand(store)
    store.collection.insert_many(
        [
            *(quarantined(f"a{i}", "no gpu", executor="gpu") for i in range(50)),
            *(quarantined(f"b{i}", "no tpu", executor="tpu") for i in range(50)),
        ]
    )
    clock.now += 600
    for _ in range(5):
        scheduler._process_jobs()
        clock.now += 1
    assert sorted(name[0] for name in tried_names()) == ["a", "b"]
    assert count_quarantined(store) == 100


def test_jobs_with_the_reason_of_a_restored_job_follow_in_batches(store, clock, small_batches):
    scheduler = by_hand(store)
    store.collection.insert_many(
        [
            *many(25),
            *(quarantined(f"b{i}", "no tpu", executor="tpu") for i in range(5)),
        ]
    )
    clock.now += 600
    counts = []
    for _ in range(6):
        scheduler._process_jobs()
        counts.append(count_quarantined(store))
        clock.now += 1
    assert counts == [29, 19, 9, 5, 5, 5]
    assert len(scheduler.executor.submitted) == 25
    assert [name[0] for name in tried_names()].count("b") == 1


def test_jobs_that_still_fail_do_not_hide_others_of_their_reason(store, clock, small_batches):
    scheduler = by_hand(store)
    store.collection.insert_many(
        [
            quarantined("first"),
            *(quarantined(f"b{i:02}", executor="gpu") for i in range(25)),
            quarantined("last"),
        ]
    )
    clock.now += 600
    for _ in range(8):
        scheduler._process_jobs()
        clock.now += 1
    assert sorted(name for name, _ in scheduler.executor.submitted) == ["first", "last"]
    assert count_quarantined(store) == 25


def test_jobs_with_different_reasons_are_all_tried_in_batches(store, clock, small_batches):
    scheduler = by_hand(store)
    store.collection.insert_many(quarantined(f"{i:03}", f"no {i}") for i in range(25))
    clock.now += 600
    counts = []
    for _ in range(4):
        scheduler._process_jobs()
        counts.append(count_quarantined(store))
        clock.now += 1
    assert counts == [15, 5, 0, 0]


def test_round_begins_ten_minutes_after_the_last_one(store, clock):
    scheduler = by_hand(store)
    store.collection.insert_many([quarantined("a")])
    clock.now += 599
    scheduler._process_jobs()
    assert count_quarantined(store) == 1
    clock.now += 1
    scheduler._process_jobs()
    assert count_quarantined(store) == 0


def test_reason_may_be_any_value(store, clock):
    scheduler = by_hand(store)
    reasons = [None, 5, {"a": 1}, ["a"], "x" * 500]
    store.collection.insert_many(quarantined(f"{i}", each) for i, each in enumerate(reasons * 2))
    clock.now += 600
    for _ in range(3):
        scheduler._process_jobs()
        clock.now += 1
    assert count_quarantined(store) == 0


def test_retry_finds_jobs_by_an_index(store):
    by_hand(store)
    store.add_jobs(job(f"good {i}", i) for i in range(100))
    store.collection.insert_many(many(20))
    query = {**retry.RETRIABLE, "quarantine.reason": {"$in": ["out of order"]}}
    plan = str(store.collection.find(query, sort=[("quarantine.since", 1)]).explain())
    assert "quarantine.since_1" in plan
    assert "COLLSCAN" not in plan
    assert "'SORT'" not in plan


# The thread that tries them


def start_store(server, database, options):
    store = MongoDBJobStore(database.name, host=server.uri, **options)
    return store, run(store)


@contextlib.contextmanager
def running(server, database, options):
    store, scheduler = start_store(server, database, options)
    try:
        yield store, scheduler
    finally:
        Loads.gate.set()
        scheduler.shutdown()


@pytest.mark.parametrize("options", MODES, ids=IDS)
def test_thread_of_the_store_retries_jobs_without_a_cycle(server, database, options):
    with running(server, database, options) as (store, scheduler):
        store.collection.insert_many(many(3, seconds=2 * YEARS))
        let_round_begin(store)
        until(lambda: count_quarantined(store) == 0)
        assert LOADED
        assert all(thread.startswith("jobstore-") for _, thread in LOADED)
        assert set(run_times(store).values()) == {at(2 * YEARS).timestamp()}
        assert scheduler.executor.times == {}


@pytest.mark.parametrize("options", MODES[:3], ids=IDS[:3])
def test_scheduler_wakes_up_for_restored_jobs_that_are_due(server, database, options):
    with running(server, database, options) as (store, scheduler):
        store.collection.insert_many(many(3))
        let_round_begin(store)
        until(lambda: len(scheduler.executor.times) == 3)


@pytest.mark.parametrize("options", MODES, ids=IDS)
def test_cycles_go_on_while_a_job_is_retried(server, database, options):
    with running(server, database, options) as (store, scheduler):
        store.collection.insert_many(many(1, seconds=2 * YEARS))
        Loads.gate.clear()
        let_round_begin(store)
        until(lambda: LOADED)
        scheduler.add_job("support.jobs:note", "date", id="due")
        until(lambda: "due" in scheduler.executor.times)
        assert count_quarantined(store) == 1
        Loads.gate.set()
        until(lambda: count_quarantined(store) == 0)


def test_cycles_go_on_while_a_user_restores_jobs(server, database):
    with running(server, database, {}) as (store, scheduler):
        store.collection.insert_many(many(1, seconds=2 * YEARS))
        Loads.gate.clear()
        user = threading.Thread(target=store.restore_quarantined)
        user.start()
        until(lambda: LOADED)
        scheduler.add_job("support.jobs:note", "date", id="due")
        until(lambda: "due" in scheduler.executor.times)
        Loads.gate.set()
        user.join()
        assert count_quarantined(store) == 0


# Errors


@pytest.mark.parametrize("options", [{}, {"mirror": True}], ids=["queried", "mirrored"])
def test_state_that_exits_stops_no_thread(server, database, stock, options):
    with running(server, database, options) as (store, scheduler):
        store.collection.insert_many(many(1, args=(Raises(SystemExit()),)))
        let_round_begin(store)
        until(lambda: store._lifecycle._retry._round is not None)
        stock.add_job(job("later", 1))
        until(lambda: "later" in scheduler.executor.times)
        assert count_quarantined(store) == 1


@pytest.mark.parametrize("command", ["aggregate", "find", "update"])
def test_error_ends_the_round_and_stops_no_job(
    server, database, session_client, clock, caplog, command
):
    fail = {"failCommands": [command], "appName": "retry", "errorCode": 13}
    point = {"configureFailPoint": "failCommand"}
    store = MongoDBJobStore(database.name, host=server.uri, appName="retry")
    scheduler = by_hand(store)
    store.add_job(job("good", 1))
    store.collection.insert_many(many(3, seconds=2 * YEARS))
    clock.now += 600
    session_client.admin.command({**point, "mode": {"times": 1}, "data": fail})
    try:
        scheduler._process_jobs()
    finally:
        session_client.admin.command({**point, "mode": "off"})
    assert "Unable to try quarantined jobs again" in caplog.text
    assert [name for name, _ in scheduler.executor.submitted] == ["good"]
    assert count_quarantined(store) == 3
    clock.now += 600
    for _ in range(3):
        scheduler._process_jobs()
        clock.now += 1
    assert count_quarantined(store) == 0
    store.shutdown()


def test_passed_over_jobs_may_be_forgotten_while_the_next_run_time_is_read(store):
    """The watcher reads `passed_over` while a cycle changes it."""
    store.collection.insert_one({**good("bad", 1), "job_state": b"garbage"})
    assert store.get_all_jobs() == []
    passed_over = dict(store._quarantine.passed_over)

    class Changing(dict):
        def get(self, *args):
            found = super().get(*args)
            self.clear()
            return found

        def __contains__(self, each):
            found = super().__contains__(each)
            self.clear()
            return found

    assert store._reader.next_run_time(at(5).timestamp(), Changing(passed_over)) is None


def test_retry_of_a_dropped_store_still_looks_for_the_executor(server, database):
    scheduler = BackgroundScheduler(timezone="UTC")
    store = MongoDBJobStore(database.name, host=server.uri)
    store.start(scheduler, "default")
    store.collection.insert_many(
        [quarantined(name, reason=name, executor="elsewhere") for name in "ab"]
    )
    Loads.gate.clear()
    let_round_begin(store)
    until(lambda: LOADED)  # the store's thread restores the first of them
    del store, scheduler
    gc.collect()
    Loads.gate.set()
    until(lambda: not own_threads())
    assert len(LOADED) == 2
    assert [each["next_run_time"] for each in database["jobs"].find()] == [None, None]
