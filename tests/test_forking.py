"""A forked process can use its parent's scheduler to add jobs, and runs none."""

import contextlib
import faulthandler
import os
import threading
import warnings
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

from jobstore import MemoryJobStore, MongoDBJobStore
from support.jobs import note
from support.waiting import until

MODES = {
    "queried": {},
    "mirrored": {"mirror": True},
    "exclusive": {"mirror": "exclusive"},
    "shared": {"shared": True},
}
LOCKS = {
    "job stores": lambda scheduler: scheduler._jobstores_lock,
    "executors": lambda scheduler: scheduler._executors_lock,
    "listeners": lambda scheduler: scheduler._listeners_lock,
    "wake-ups": lambda scheduler: scheduler._event._cond,
    "executor": lambda scheduler: scheduler._executors["default"]._lock,
    "thread pool": lambda scheduler: scheduler._executors["default"]._pool._shutdown_lock,
}
IN_A_YEAR = datetime.now(timezone.utc) + timedelta(days=365)


@pytest.fixture(params=["memory", *MODES])
def mode(request):
    return request.param


@pytest.fixture
def scheduler(mode, server, database):
    store = (
        MemoryJobStore()
        if mode == "memory"
        else MongoDBJobStore(database.name, host=server.uri, **MODES[mode])
    )
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone="UTC")
    scheduler.add_executor("debug", "in the cycle")
    scheduler.start()
    yield scheduler
    if scheduler.running:
        with scheduler._jobstores_lock:  # a shutdown in mid-cycle raises in the scheduler's thread
            pass
        scheduler.shutdown()


def forked(call):
    """Fork, make the call in the child, and return its pid. A hanging child exits with an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python and PyMongo warn of forks beside threads
        child = os.fork()
        if child:
            return child
        status = 1
        try:
            faulthandler.dump_traceback_later(30, exit=True)
            call()
            status = 0
        finally:
            os._exit(status)


def act():
    """Call the function that the test has set: the function of the jobs."""
    act.now()


def ends_well(child):
    return os.waitpid(child, 0)[1] == 0


def use(scheduler, name="of the child"):
    """Use the scheduler as a web server's worker uses that of its master."""
    scheduler.add_job(note, "date", run_date=IN_A_YEAR, id=name)
    assert scheduler.get_job(name)
    assert name in [job.id for job in scheduler.get_jobs()]
    scheduler.pause_job(name)
    scheduler.resume_job(name)


@contextlib.contextmanager
def held(lock):
    """Hold the lock in another thread."""
    taken, released = threading.Event(), threading.Event()

    def hold():
        with lock:
            taken.set()
            released.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    try:
        yield
    finally:
        released.set()
        thread.join()


@pytest.mark.parametrize("lock", LOCKS)
def test_child_waits_for_no_scheduler_lock_held_by_a_thread_of_its_parent(scheduler, lock):
    def work():
        use(scheduler)
        scheduler.remove_listener(note)
        scheduler.shutdown()

    scheduler.add_listener(note)
    with held(LOCKS[lock](scheduler)):
        child = forked(work)
        assert ends_well(child)


@pytest.mark.parametrize("mode", MODES, indirect=True)
@pytest.mark.parametrize("lock", ["io_lock", "memory_lock"])
def test_child_waits_for_no_store_lock_held_by_a_thread_of_its_parent(scheduler, mode, lock):
    store = scheduler._jobstores["default"]

    def work():
        use(scheduler)
        scheduler.shutdown()

    with held(getattr(store._locks, lock)):
        child = forked(work)
        assert ends_well(child)
    if mode != "exclusive":  # an exclusive store sees no writes of other processes
        until(lambda: scheduler.get_job("of the child"))


def test_child_forked_in_mid_cycle_adds_a_job(scheduler, mode, monkeypatch):
    in_cycle, goes_on = threading.Event(), threading.Event()

    def hold_the_cycle():
        in_cycle.set()
        goes_on.wait()

    monkeypatch.setattr(act, "now", hold_the_cycle, raising=False)
    scheduler.add_job(act, executor="in the cycle", misfire_grace_time=None)
    in_cycle.wait()
    try:
        assert ends_well(forked(lambda: use(scheduler)))
    finally:
        goes_on.set()
    if mode in {"queried", "mirrored", "shared"}:
        until(lambda: scheduler.get_job("of the child"))


def test_child_forked_by_a_job_in_the_cycle_adds_jobs_in_its_threads(scheduler, mode, monkeypatch):
    children = []

    def in_thread():
        errors = []

        def work():
            try:
                use(scheduler)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not errors

    def fork():
        children.append(forked(in_thread))

    monkeypatch.setattr(act, "now", fork, raising=False)
    scheduler.add_job(act, executor="in the cycle", misfire_grace_time=None)
    until(lambda: children)
    assert ends_well(children[0])


def test_shutdown_in_a_child_does_not_affect_the_parent(scheduler, mode, monkeypatch):
    runs = []

    def note_run():
        runs.append(os.getpid())

    monkeypatch.setattr(act, "now", note_run, raising=False)
    scheduler.add_job(act, "interval", seconds=0.2, id="tick", misfire_grace_time=None)
    until(lambda: runs)
    assert ends_well(forked(scheduler.shutdown))
    count = len(runs)
    until(lambda: len(runs) > count + 2)
    assert set(runs) == {os.getpid()}


def test_child_can_shut_down_and_start_its_own_scheduler(scheduler):
    def work():
        scheduler.shutdown()
        scheduler.start()
        use(scheduler)
        scheduler.shutdown()

    assert ends_well(forked(work))


def test_child_of_a_busy_scheduler_never_hangs(scheduler, mode, monkeypatch):
    count = 0

    def busy():
        nonlocal count
        count += 1

    monkeypatch.setattr(act, "now", busy, raising=False)
    for number in range(5):
        scheduler.add_job(act, "interval", seconds=0.01, id=f"busy{number}", max_instances=99)
    until(lambda: count)
    for number in range(15):
        assert ends_well(forked(lambda number=number: use(scheduler, f"of child {number}")))
    if mode in {"queried", "mirrored", "shared"}:
        names = {f"of child {number}" for number in range(15)}
        until(lambda: names <= {job.id for job in scheduler.get_jobs()})


def test_dropped_scheduler_is_forgotten():
    from jobstore import forking

    scheduler = BlockingScheduler()
    MemoryJobStore().start(scheduler, "default")
    assert scheduler in forking._schedulers
    del scheduler
    assert not any(type(each) is BlockingScheduler for each in forking._schedulers)
