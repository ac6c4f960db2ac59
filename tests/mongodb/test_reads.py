"""Reading jobs stops no cycle, and spares the garbage collector its work."""

import contextlib
import gc
import os
import sys
import threading
import weakref

import pytest
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb import collector, connection
from jobstore.mongodb.collector import collector_paused
from support.commands import Commands, job_commands
from support.jobs import at, job
from support.manual_scheduler import by_hand
from support.mirrored_stores import run
from support.waiting import in_thread as flush_in_other_thread
from support.waiting import until

MODES = [{}, {"shared": True}, {"mirror": True}]
LONG = 10**9  # seconds to come


class Calls:
    """Calls `then` when it is loaded, and the name of its job is told."""

    then = None

    def __init__(self, name):
        self.name = name

    def __setstate__(self, state):
        self.__dict__ = state
        if Calls.then:
            Calls.then(self.name)


@pytest.fixture(autouse=True)
def _calls_nothing():
    Calls.then = None
    yield
    Calls.then = None


def jobs(count):
    return [job(f"{i:03}", LONG + i, args=(Calls(f"{i:03}"),)) for i in range(count)]


@contextlib.contextmanager
def in_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("options", MODES, ids=["queried", "shared", "mirrored"])
def test_cycles_go_on_while_all_jobs_are_read(server, database, options):
    store = MongoDBJobStore(database.name, host=server.uri, **options)
    store.add_jobs(jobs(3))
    scheduler = run(store)
    reading, go_on, found = threading.Event(), threading.Event(), []

    def wait(name):
        reading.set()
        assert go_on.wait(60)

    Calls.then = wait
    try:
        with in_thread(lambda: found.extend(store.get_all_jobs())):
            assert reading.wait(60)
            scheduler.add_job("support.jobs:note", "date", id="due")
            until(lambda: "due" in scheduler.executor.times)
            go_on.set()
    finally:
        go_on.set()
        scheduler.shutdown()
    assert [each.id for each in found if each.id != "due"] == ["000", "001", "002"]


@pytest.mark.parametrize(
    "read", [len, lambda store: store.lookup_job("000")], ids=["len", "lookup"]
)
def test_no_lock_is_held_while_the_server_is_asked(server, database, store, read):
    store.add_jobs(jobs(3))
    free = []

    def is_free():
        with contextlib.ExitStack() as stack:
            taken = store._locks.io_lock.acquire(blocking=False)
            if taken:
                stack.callback(store._locks.io_lock.release)
            return taken

    class Asked(Commands):
        def started(self, event):
            if job_commands(event):
                free.append(flush_in_other_thread(is_free))

    with MongoClient(server.uri, event_listeners=[Asked()]) as client:
        store = MongoDBJobStore(database.name, client=client)
        assert read(store)
    assert free == [True]


def test_what_was_deferred_is_read(store):
    store.add_jobs([job("a", 1), job("b", 2)])
    seen = []
    scheduler = by_hand(store, lambda each: seen.append((len(store), names_and_times(store))))
    scheduler._process_jobs()
    (_, first), (count, second) = seen
    assert count == 2
    assert first["a"] == at(1)
    assert second["a"] > at(1)  # the scheduler has updated it since
    assert second["b"] == at(2)


def names_and_times(store):
    return {each.id: each.next_run_time for each in store.get_all_jobs()}


def test_a_job_that_is_removed_and_added_meanwhile_is_listed_once(store, monkeypatch):
    monkeypatch.setattr(connection, "READ_BATCH", 10)
    store.add_jobs(jobs(300))

    def again(name):
        Calls.then = None
        store.remove_job(name)
        store.add_job(job(name, LONG, args=("again",)))

    Calls.then = again
    found = store.get_all_jobs()
    assert [each.id for each in found] == [f"{i:03}" for i in range(300)]
    assert found[0].args == ("again",)


def test_all_jobs_are_listed_in_order_paused_ones_last(store, monkeypatch):
    monkeypatch.setattr(connection, "READ_BATCH", 10)
    store.add_jobs([job("p2", None), *reversed(jobs(25)), job("p1", None)])
    assert [each.id for each in store.get_all_jobs()] == [f"{i:03}" for i in range(25)] + [
        "p1",
        "p2",
    ]


# The collector


def test_the_collector_is_paused_while_jobs_are_made_and_not_while_they_are_read(store):
    store.add_jobs(jobs(3))
    enabled = []
    Calls.then = lambda name: enabled.append(gc.isenabled())
    store.get_all_jobs()
    assert enabled == [False] * 3
    assert gc.isenabled()


def test_the_collector_goes_on_after_an_error(store):
    def end(name):
        raise KeyboardInterrupt

    store.add_jobs(jobs(3))
    Calls.then = end
    with pytest.raises(KeyboardInterrupt):
        store.get_all_jobs()
    assert gc.isenabled()


def test_a_collector_that_the_user_has_disabled_stays_so(store):
    store.add_jobs(jobs(3))
    gc.disable()
    try:
        store.get_all_jobs()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_collector_goes_on_after_the_last_of_several_pauses():
    inside, leave = threading.Event(), threading.Event()

    def pause():
        with collector_paused():
            inside.set()
            assert leave.wait(60)

    with in_thread(pause):
        assert inside.wait(60)
        with collector_paused(), collector_paused():
            pass
        assert not gc.isenabled()
        leave.set()
    assert gc.isenabled()


def test_what_is_made_in_a_pause_is_left_to_full_collections():
    gc.collect()
    with collector_paused():
        made = [[] for _ in range(10_000)]
    assert len(gc.get_objects(generation=0)) < 10_000
    assert any(each is made for each in gc.get_objects(generation=2))


class Knot:
    """Garbage that only the collector finds."""

    def __init__(self):
        self.itself = self


def test_garbage_is_collected_where_all_jobs_are_read_often(store):
    store.add_jobs(jobs(3))
    alive = weakref.WeakSet()
    for _ in range(1_000):
        alive |= [Knot() for _ in range(20)]
        store.get_all_jobs()
    assert len(alive) < 10_000


def test_garbage_is_collected_where_many_objects_are_made_often(monkeypatch):
    monkeypatch.setattr(collector, "MAX_OBJECTS", 20_000)
    gc.collect()
    alive = weakref.WeakSet()
    for _ in range(500):
        with collector_paused():
            made = [[] for _ in range(6_000)]
            alive.add(Knot())
        del made
    assert len(alive) < 250


def test_a_signals_handler_may_pause_the_collector_at_any_moment():
    lines = set()  # of the collector's module that were interrupted, one in each pause

    def trace(frame, event, argument):
        if frame.f_code.co_filename != collector.__file__:
            return None
        if event == "line" and frame.f_lineno not in lines:
            lines.add(frame.f_lineno)
            sys.settrace(None)
            with collector_paused():
                pass
            return None
        return trace

    before = -1
    while len(lines) > before:
        before = len(lines)
        sys.settrace(trace)
        try:
            with collector_paused():
                pass
        finally:
            sys.settrace(None)
        assert gc.isenabled()
        with collector_paused():
            assert not gc.isenabled()
    assert before > 10


def test_what_a_user_has_frozen_stays_frozen():
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with collector_paused():
            pass
        assert gc.get_freeze_count() > frozen / 2, "some may have been dropped"
    finally:
        gc.unfreeze()


def test_many_threads_pause_and_the_collector_goes_on():
    def pause():
        for _ in range(2_000):
            with collector_paused():
                assert not gc.isenabled()

    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(in_thread(pause))
    assert gc.isenabled()


@pytest.mark.parametrize("who", ["another thread", "the thread that forks"])
def test_a_fork_during_a_pause_has_a_collector_at_work(who):
    inside, leave = threading.Event(), threading.Event()

    def pause():
        with collector_paused():
            inside.set()
            assert leave.wait(60)

    def fork():
        child = os.fork()
        if not child:
            os._exit(gc.isenabled())
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    if who == "another thread":
        with in_thread(pause):
            assert inside.wait(60)
            assert fork() == 1
            leave.set()
    else:
        with collector_paused():
            assert fork() == 0
            child = os.fork()
        if not child:
            os._exit(gc.isenabled())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
