"""Reading jobs blocks no cycle, and pauses the garbage collector."""

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
from support.waiting import in_thread as in_other_thread
from support.waiting import until

MODES = [{}, {"shared": True}, {"mirror": True}]
LONG = 10**9  # seconds from the start until the jobs are due


class Calls:
    """Calls `then` with the name of its job when it is unpickled."""

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
def test_cycles_continue_while_all_jobs_are_read(server, database, options):
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
def test_read_holds_no_lock_during_its_query(server, database, store, read):
    store.add_jobs(jobs(3))
    free = []

    def is_free():
        with contextlib.ExitStack() as stack:
            taken = store._locks.io_lock.acquire(blocking=False)
            if taken:
                stack.callback(store._locks.io_lock.release)
            return taken

    class LockProbe(Commands):
        def started(self, event):
            if job_commands(event):
                free.append(in_other_thread(is_free))

    with MongoClient(server.uri, event_listeners=[LockProbe()]) as client:
        store = MongoDBJobStore(database.name, client=client)
        assert read(store)
    assert free == [True]


def test_read_includes_deferred_writes(store):
    store.add_jobs([job("a", 1), job("b", 2)])
    seen = []
    scheduler = by_hand(store, lambda each: seen.append((len(store), names_and_times(store))))
    scheduler._process_jobs()
    (_, first), (count, second) = seen
    assert count == 2
    assert first["a"] == at(1)
    assert second["a"] > at(1)  # the scheduler has updated "a" since the first read
    assert second["b"] == at(2)


def names_and_times(store):
    return {each.id: each.next_run_time for each in store.get_all_jobs()}


def test_job_removed_and_added_during_a_read_is_listed_once(store, monkeypatch):
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


def test_all_jobs_are_listed_in_order_with_paused_jobs_last(store, monkeypatch):
    monkeypatch.setattr(connection, "READ_BATCH", 10)
    store.add_jobs([job("p2", None), *reversed(jobs(25)), job("p1", None)])
    assert [each.id for each in store.get_all_jobs()] == [f"{i:03}" for i in range(25)] + [
        "p1",
        "p2",
    ]


# The collector


def test_collector_is_paused_while_jobs_are_restored(store):
    store.add_jobs(jobs(3))
    enabled = []
    Calls.then = lambda name: enabled.append(gc.isenabled())
    store.get_all_jobs()
    assert enabled == [False] * 3
    assert gc.isenabled()


def test_collector_continues_after_an_error(store):
    def end(name):
        raise KeyboardInterrupt

    store.add_jobs(jobs(3))
    Calls.then = end
    with pytest.raises(KeyboardInterrupt):
        store.get_all_jobs()
    assert gc.isenabled()


def test_collector_disabled_by_the_user_stays_disabled(store):
    store.add_jobs(jobs(3))
    gc.disable()
    try:
        store.get_all_jobs()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_collector_continues_after_the_last_of_several_pauses():
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


def test_objects_made_in_a_pause_are_left_to_full_collections(monkeypatch):
    """Without generations each collection is a full one, and nobody stops all threads to freeze."""
    gc.collect()
    frozen, freeze = [], gc.freeze
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(freeze()))
    with collector_paused():
        made = [[] for _ in range(10_000)]
    if collector.HAS_GENERATIONS:
        assert len(gc.get_objects(generation=0)) < 10_000
        assert any(each is made for each in gc.get_objects(generation=2))
    assert len(frozen) == collector.HAS_GENERATIONS


# A collector without generations waits until there is more garbage.
MUCH = 1 if collector.HAS_GENERATIONS else 500


class Knot:
    """An object in a reference cycle, which only the collector frees."""

    def __init__(self):
        self.itself = self


def test_garbage_is_collected_when_all_jobs_are_read_often(store):
    store.add_jobs(jobs(3))
    alive = weakref.WeakSet()
    for _ in range(1_000):
        alive |= [Knot() for _ in range(max(20, MUCH))]
        store.get_all_jobs()
    assert len(alive) < 500 * max(20, MUCH)


def test_garbage_is_collected_when_pauses_make_many_objects(monkeypatch):
    monkeypatch.setattr(collector, "MAX_OBJECTS", 20_000)
    gc.collect()
    alive = weakref.WeakSet()
    for _ in range(500):
        with collector_paused():
            made = [[] for _ in range(6_000)]
            alive |= [Knot() for _ in range(MUCH)]
        made = [[] for _ in range(MUCH)]  # the collector is asked only while it is enabled
    assert len(alive) < 250 * MUCH
    assert made


def test_signal_handler_can_pause_the_collector_at_any_moment():
    lines = set()  # interrupted lines of the collector's module, one in each pause

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


def test_objects_frozen_by_the_user_stay_frozen():
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with collector_paused():
            pass
        assert gc.get_freeze_count() > frozen / 2, "some may have been freed"
    finally:
        gc.unfreeze()


def test_collector_continues_after_pauses_by_many_threads():
    def pause():
        for _ in range(2_000):
            with collector_paused():
                assert not gc.isenabled()

    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(in_thread(pause))
    assert gc.isenabled()


@pytest.mark.parametrize("pausing", ["another thread", "the thread that forks"])
def test_process_forked_during_a_pause_collects_garbage(pausing):
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

    if pausing == "another thread":
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
