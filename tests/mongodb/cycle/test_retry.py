"""Quarantined jobs are tried again every ten minutes: in small steps, and in nobody's way."""

import contextlib
import pickle
import threading
from datetime import datetime, timezone

import pytest

from jobstore import MongoDBJobStore
from jobstore.mongodb.writes import retry
from support.damaged_documents import Raises, good
from support.jobs import YEARS, at, job, run_times
from support.manual_scheduler import by_hand
from support.mirrored_stores import run
from support.waiting import until

MODES = [{}, {"shared": True}, {"mirror": True}, {"mirror": "exclusive"}]
IDS = ["queried", "shared", "mirrored", "exclusive"]
LOADED = []  # by `Loads`: names, each with that of the thread


class Loads:
    """When it is loaded it notes its job and the thread, and waits while `gate` is shut."""

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


class Clock:
    """The clock of the retry."""

    def __init__(self):
        self.now = 1e6

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(retry, "time", clock)
    return clock


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(retry, "READ_BATCH", 10)


def quarantined(name, reason="out of order", seconds=0, **options):
    """A document in quarantine whose job can be made here, unless its executor is missing."""
    options = {"args": (Loads(name),), **options}
    state = pickle.dumps(job(name, seconds, **options).__getstate__())
    mark = {"reason": reason, "since": datetime.now(timezone.utc), "next_run_time": None}
    mark["next_run_time"] = at(seconds).timestamp()
    return {"_id": name, "next_run_time": None, "job_state": state, "quarantine": mark}


def many(count, *args, **options):
    return [quarantined(f"{i:03}", *args, **options) for i in range(count)]


def left(store):
    return len(store.quarantined())


def tried():
    return [name for name, _ in LOADED]


def wait_for_round(store):
    """Let the next look of the store's thread begin a round."""
    store._lifecycle._retry._next_at = 0.0


# Which jobs are tried


def test_one_job_of_each_reason_is_tried(store, clock):
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
    assert sorted(name[0] for name in tried()) == ["a", "b"]
    assert left(store) == 100


def test_where_one_is_back_the_others_of_its_reason_follow_by_batches(store, clock, small_batches):
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
        counts.append(left(store))
        clock.now += 1
    assert counts == [29, 19, 9, 5, 5, 5]
    assert len(scheduler.executor.submitted) == 25
    assert [name[0] for name in tried()].count("b") == 1


def test_those_that_still_fail_hide_none_of_the_others(store, clock, small_batches):
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
    assert left(store) == 25


def test_jobs_with_a_reason_each_are_all_tried_by_batches(store, clock, small_batches):
    scheduler = by_hand(store)
    store.collection.insert_many(quarantined(f"{i:03}", f"no {i}") for i in range(25))
    clock.now += 600
    counts = []
    for _ in range(4):
        scheduler._process_jobs()
        counts.append(left(store))
        clock.now += 1
    assert counts == [15, 5, 0, 0]


def test_a_round_begins_ten_minutes_after_the_last_one(store, clock):
    scheduler = by_hand(store)
    store.collection.insert_many([quarantined("a")])
    clock.now += 599
    scheduler._process_jobs()
    assert left(store) == 1
    clock.now += 1
    scheduler._process_jobs()
    assert left(store) == 0


def test_a_reason_may_be_anything(store, clock):
    scheduler = by_hand(store)
    reasons = [None, 5, {"a": 1}, ["a"], "x" * 500]
    store.collection.insert_many(quarantined(f"{i}", each) for i, each in enumerate(reasons * 2))
    clock.now += 600
    for _ in range(3):
        scheduler._process_jobs()
        clock.now += 1
    assert left(store) == 0


def test_the_index_finds_them(store):
    by_hand(store)
    store.add_jobs(job(f"good {i}", i) for i in range(100))
    store.collection.insert_many(many(20))
    query = {**retry.RETRIABLE, "quarantine.reason": {"$in": ["out of order"]}}
    plan = str(store.collection.find(query, sort=[("quarantine.since", 1)]).explain())
    assert "quarantine.since_1" in plan
    assert "COLLSCAN" not in plan
    assert "'SORT'" not in plan


# In whose thread


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
def test_a_thread_of_the_store_tries_though_no_cycle_comes(server, database, options):
    with running(server, database, options) as (store, scheduler):
        store.collection.insert_many(many(3, seconds=2 * YEARS))
        wait_for_round(store)
        until(lambda: left(store) == 0)
        assert LOADED
        assert all(thread.startswith("jobstore-") for _, thread in LOADED)
        assert set(run_times(store).values()) == {at(2 * YEARS).timestamp()}
        assert scheduler.executor.times == {}


@pytest.mark.parametrize("options", MODES[:3], ids=IDS[:3])
def test_the_scheduler_is_woken_for_what_is_back_and_due(server, database, options):
    with running(server, database, options) as (store, scheduler):
        store.collection.insert_many(many(3))
        wait_for_round(store)
        until(lambda: len(scheduler.executor.times) == 3)


@pytest.mark.parametrize("options", MODES, ids=IDS)
def test_cycles_go_on_while_a_job_is_tried(server, database, options):
    with running(server, database, options) as (store, scheduler):
        store.collection.insert_many(many(1, seconds=2 * YEARS))
        Loads.gate.clear()
        wait_for_round(store)
        until(lambda: LOADED)
        scheduler.add_job("support.jobs:note", "date", id="due")
        until(lambda: "due" in scheduler.executor.times)
        assert left(store) == 1
        Loads.gate.set()
        until(lambda: left(store) == 0)


def test_cycles_go_on_while_a_user_restores(server, database):
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
        assert left(store) == 0


# What goes wrong


@pytest.mark.parametrize("options", [{}, {"mirror": True}], ids=["queried", "mirrored"])
def test_a_state_that_exits_stops_no_thread(server, database, stock, options):
    with running(server, database, options) as (store, scheduler):
        store.collection.insert_many(many(1, args=(Raises(SystemExit()),)))
        wait_for_round(store)
        until(lambda: store._lifecycle._retry._round is not None)
        stock.add_job(job("later", 1))
        until(lambda: "later" in scheduler.executor.times)
        assert left(store) == 1


@pytest.mark.parametrize("command", ["aggregate", "find", "update"])
def test_an_error_ends_the_round_and_stops_no_job(
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
    assert left(store) == 3
    clock.now += 600
    for _ in range(3):
        scheduler._process_jobs()
        clock.now += 1
    assert left(store) == 0
    store.shutdown()


def test_what_was_passed_over_may_be_forgotten_at_any_moment(store):
    """The watcher reads it while a cycle changes it."""
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
