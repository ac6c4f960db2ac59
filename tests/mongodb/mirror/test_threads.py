"""The mirrored store's threads, and processes that are forked: what each may ask and change."""

import contextlib
import os
import threading
import warnings
from contextlib import contextmanager

import pytest
from pymongo.errors import PyMongoError

from jobstore import MongoDBJobStore
from support.jobs import YEARS, at, job, names, run_times
from support.mirrored_stores import is_quiet, wait_until_equal
from support.waiting import until


def test_what_was_deferred_before_the_start_is_written_first(start, server, database):
    store = MongoDBJobStore(database.name, host=server.uri, mirror=True)
    store.add_job(job("a"))
    for due in store.get_due_jobs(at(10)):
        due.next_run_time = at(50)
        store.update_job(due)
    store.start(None, "default")
    assert store.get_due_jobs(at(10)) == []
    assert run_times(store) == {"a": at(50).timestamp()}
    store.shutdown()


def test_a_forked_process_writes_what_it_defers(start, monkeypatch):
    monkeypatch.setattr("jobstore.mongodb.writes.write_behind.FLUSH_SECONDS", 0.01)
    _, store = start()
    store.add_job(job("a"))
    wait_until_equal(store)
    child = os.fork()
    if child == 0:
        warnings.simplefilter("ignore")  # PyMongo's, about clients and forks
        for due in store.get_due_jobs(at(10)):
            due._modify(next_run_time=at(50))
            store.update_job(due)
        with contextlib.suppress(AssertionError):
            until(lambda: not store._write_behind.has_pending)
        os._exit(0)
    os.waitpid(child, 0)
    assert run_times(store) == {"a": at(50).timestamp()}


def test_a_thread_that_hangs_changes_nothing_after_a_new_start(start):
    scheduler, store = start()
    store.add_job(job("a", 5))
    wait_until_equal(store)
    old = store._lifecycle.watcher
    store.shutdown()
    store.start(scheduler, "default")
    wait_until_equal(store)
    old._mirror.apply({"operationType": "delete", "documentKey": {"_id": "a"}})
    old._handle_error(ValueError("late"))
    assert store._reader.is_live
    assert names(store) == ["a"]
    assert store.lookup_job("a")


@contextmanager
def lost_before(store, name):
    """The mirror is lost after it was seen to be live, and before it is asked."""
    ask = getattr(type(store._reader.mirror), name)

    def lost(mirror, *args):
        mirror.reset()
        return ask(mirror, *args)

    setattr(type(store._reader.mirror), name, lost)
    try:
        yield
    finally:
        setattr(type(store._reader.mirror), name, ask)


ASKED = {
    "find": lambda store: store.lookup_job("a").id == "a",
    "all": lambda store: [each.id for each in store.get_all_jobs()] == ["a"],
    "count": lambda store: len(store) == 1,
    "due": lambda store: [each.id for each in store.get_due_jobs(at(10))] == ["a"],
    "next_run_time": lambda store: store.get_next_run_time() == at(5),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_mirror_that_is_lost_just_when_it_is_asked_answers_nothing_wrong(start, name):
    _, store = start()
    store.add_job(job("a", 5))
    wait_until_equal(store)
    with lost_before(store, name):
        assert ASKED[name](store)


def test_a_forked_process_never_asks_its_parents_mirror(start, stock):
    _, store = start()
    store.add_job(job("a", 5))
    wait_until_equal(store)
    answer, question = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        warnings.simplefilter("ignore")  # PyMongo's, about clients and forks
        said = "an error"
        try:
            os.read(question[0], 1)
            due = store.get_due_jobs(at(100))
            said = f"{store._reader.is_live} {due} {store.lookup_job('a')}"
        except PyMongoError as error:
            said = repr(error)
        os.write(answer[1], said.encode())
        os._exit(0)
    stock.remove_job("a")
    os.write(question[1], b"1")
    assert os.read(answer[0], 1000).decode() == "False [] None"
    os.waitpid(child, 0)
    for end in (*answer, *question):
        os.close(end)


def test_what_a_state_does_ends_no_thread(start, monkeypatch):
    """It is anybody's code, and may exit."""
    scheduler, store = start()
    exits = threading.Event()

    def exit_once(*_):
        if not exits.is_set():
            exits.set()
            raise SystemExit

    monkeypatch.setattr(store._lifecycle._retry, "step", exit_once)
    assert exits.wait(30)
    store.add_job(job("a"))
    scheduler._process_jobs()
    until(lambda: is_quiet(store))
    assert run_times(store) == {"a": at(YEARS).timestamp()}
