"""A signal handler may call `scheduler.shutdown()` at any moment."""

import ctypes
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from jobstore import MongoDBJobStore
from jobstore.mongodb.threads import ReentrantEvent, StopSignal
from support.jobs import YEARS, at, job
from support.manual_scheduler import by_hand
from support.mirrored_stores import own_threads
from support.programs import command, environment
from support.waiting import PATIENCE, until

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def scheduler(server, database, mode):
    scheduler = by_hand(MongoDBJobStore(database.name, host=server.uri, **MODES[mode]))
    yield scheduler
    until(lambda: not own_threads())


@pytest.mark.parametrize("lock", ["io_lock", "memory_lock"])
def test_shutdown_that_interrupts_a_lock_holder_writes_the_pending_changes(
    scheduler, lock, session_client, database
):
    """The handler may run in the scheduler's thread, in the middle of a cycle."""
    store = scheduler._jobstores["default"]
    store.add_jobs([job("a"), job("b")])

    def then(each):
        if each.id == "b":
            with getattr(store._locks, lock):
                store.shutdown()

    scheduler.executor.then = then
    scheduler._process_jobs()
    documents = {each["_id"]: each for each in session_client[database.name]["jobs"].find()}
    assert documents["a"]["next_run_time"] == at(YEARS).timestamp()
    assert documents["b"]["next_run_time"] == at(0).timestamp()  # not updated yet: it stays due
    assert store.get_due_jobs(at(0)) == []


@pytest.mark.parametrize("name", ["goes on", "ends"])
def test_shutdown_that_interrupts_a_write_to_the_mirror_is_no_error(server, database, name):
    """The shutdown empties the mirror between the read of a record and its replacement."""
    store = MongoDBJobStore(database.name, host=server.uri, mirror=True)
    scheduler = by_hand(store)
    store.add_jobs([job("goes on"), job("ends", every=None)])
    mirror = store._reader.mirror
    read = mirror._get

    def read_and_shut_down(job_id):
        record = read(job_id)
        mirror._get = read
        store.shutdown()
        return record

    def then(each):
        if each.id == name:
            mirror._get = read_and_shut_down

    scheduler.executor.then = then
    scheduler._process_jobs()
    assert mirror._get == read, "it was interrupted"
    assert not mirror.live


def test_shutdown_that_interrupts_the_driver_ends_and_logs_the_unwritten_jobs(
    scheduler, monkeypatch, caplog, session_client, database
):
    monkeypatch.setattr("jobstore.mongodb.lifecycle.CLOSE_SECONDS", 0.5)
    store = scheduler._jobstores["default"]
    stored = session_client[database.name]["jobs"]
    store.add_job(job("a"))
    due = store.get_due_jobs(at(0))
    for each in due:
        each._modify(next_run_time=at(YEARS))
        store.update_job(each)
        with store.client._topology._lock:  # not reentrant
            store.shutdown()
    if "1 jobs are not written and run again: a" not in caplog.text:  # another thread wrote it
        assert stored.find_one()["next_run_time"] == at(YEARS).timestamp()
    assert store.get_due_jobs(at(0)) == []


@pytest.mark.parametrize("kind", [ReentrantEvent, StopSignal])
def test_thread_can_be_told_in_the_middle_of_the_same_call(kind):
    told = kind()
    depth = 0

    def trace(frame, event, argument):
        nonlocal depth
        if depth < 3:
            depth += 1
            told.set()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        told.set()
    finally:
        sys.settrace(before)
    assert depth == 3
    assert told.is_set()


def test_event_is_cleared_by_the_wait_for_it():
    wanted = ReentrantEvent()
    wanted.set()
    wanted.set()
    wanted.wait_and_clear(30)
    assert not wanted.is_set()


def test_signal_to_stop_stays_set():
    stopped = StopSignal()
    assert not stopped.wait(0)
    stopped.set()
    assert stopped.wait(30)
    assert stopped.wait(30)
    assert stopped.is_set()


@pytest.mark.skipif(sys.platform == "win32", reason="signals don't interrupt waits on Windows")
@pytest.mark.parametrize("wait", [StopSignal().wait, ReentrantEvent().wait_and_clear])
def test_wait_ends_though_a_signal_interrupts_it_and_its_time_is_over_then(wait):
    begins, holding_the_gil = threading.Event(), ctypes.PyDLL(None).usleep
    before = signal.signal(signal.SIGUSR1, lambda *arguments: None)
    thread = threading.Thread(target=lambda: (begins.set(), wait(0.2)), daemon=True)
    try:
        thread.start()
        begins.wait()
        time.sleep(0.05)  # it waits by now; else the test can't fail
        signal.pthread_kill(thread.ident, signal.SIGUSR1)
        holding_the_gil(400_000)
        thread.join(PATIENCE)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not thread.is_alive()


def test_waits_of_a_microsecond_end():
    """Python before 3.13 has a queue whose first wait never ends if its time has passed by then."""

    def wait():
        for _ in range(20_000):
            StopSignal().wait(1e-6)
            ReentrantEvent().wait_and_clear(1e-6)

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: not any(thread.is_alive() for thread in threads))


@pytest.mark.slow
def test_process_ends_when_sigterm_arrives_at_any_moment(server, database, mode):
    """The seed is fixed, but the exact moment depends on the machine."""
    chance = random.Random(1)
    for _ in range(8):
        process = subprocess.Popen(
            command("run_until_sigterm", server.uri, database.name, mode),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout.readline() == "runs\n"
            time.sleep(chance.uniform(0, 0.2))
            process.send_signal(signal.SIGTERM)
            errors = process.communicate(timeout=60)[1]
            assert process.returncode == 0, errors
