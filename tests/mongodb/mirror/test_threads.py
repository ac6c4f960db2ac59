"""Threads and forked processes of a mirrored store: each reads and writes only what it may."""

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


def test_start_first_flushes_writes_that_were_deferred_before(start, server, database):
    store = MongoDBJobStore(database.name, host=server.uri, mirror=True)
    store.add_job(job("a"))
    for due in store.get_due_jobs(at(10)):
        due.next_run_time = at(50)
        store.update_job(due)
    store.start(None, "default")
    assert store.get_due_jobs(at(10)) == []
    assert run_times(store) == {"a": at(50).timestamp()}
    store.shutdown()


def test_forked_process_flushes_its_own_deferred_writes(start, monkeypatch):
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


def test_hanging_thread_changes_nothing_after_a_new_start(start):
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
def reset_before(store, name):
    """Reset the mirror after the store has found it live, and before the store queries it."""
    ask = getattr(type(store._reader.mirror), name)

    def lost(mirror, *args):
        mirror.reset()
        return ask(mirror, *args)

    setattr(type(store._reader.mirror), name, lost)
    try:
        yield
    finally:
        setattr(type(store._reader.mirror), name, ask)


QUERIES = {
    "find": lambda store: store.lookup_job("a").id == "a",
    "all": lambda store: [each.id for each in store.get_all_jobs()] == ["a"],
    "count": lambda store: len(store) == 1,
    "due": lambda store: [each.id for each in store.get_due_jobs(at(10))] == ["a"],
    "next_run_time": lambda store: store.get_next_run_time() == at(5),
}


@pytest.mark.parametrize("name", QUERIES)
def test_answer_is_right_when_the_mirror_is_reset_just_before_the_query(start, name):
    _, store = start()
    store.add_job(job("a", 5))
    wait_until_equal(store)
    with reset_before(store, name):
        assert QUERIES[name](store)


def test_forked_process_never_reads_its_parents_mirror(start, stock):
    _, store = start()
    store.add_job(job("a", 5))
    wait_until_equal(store)
    answer, question = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        warnings.simplefilter("ignore")  # PyMongo's, about clients and forks
        output = "an error"
        try:
            os.read(question[0], 1)
            due = store.get_due_jobs(at(100))
            output = f"{store._reader.is_live} {due} {store.lookup_job('a')}"
        except PyMongoError as error:
            output = repr(error)
        os.write(answer[1], output.encode())
        os._exit(0)
    stock.remove_job("a")
    os.write(question[1], b"1")
    assert os.read(answer[0], 1000).decode() == "False [] None"
    os.waitpid(child, 0)
    for end in (*answer, *question):
        os.close(end)


def test_job_state_that_exits_ends_no_thread(start, monkeypatch):
    """Restoring a job runs user code, which may exit."""
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
