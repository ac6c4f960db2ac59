"""Ctrl-C comes at any moment of a cycle, in the main thread, which runs the scheduler."""

import gc
import inspect
import itertools
import logging
import sys
import threading

import pytest
from pymongo import MongoClient, message, monitoring

from jobstore import MongoDBJobStore
from jobstore.caller import is_within_cycle
from support.jobs import at, job, run_times
from support.manual_scheduler import by_hand
from support.mirrored_stores import own_threads
from support.waiting import in_thread, until

QUERIED, SHARED = {"watch": False}, {"watch": False, "shared": True}
MODES = {"queried": QUERIED, "mirrored": {"mirror": "exclusive"}, "shared": SHARED}
IDS = ["a", "b", "c"]


class Interrupts(monitoring.CommandListener):
    """Interrupts a cycle at a command: before it is sent, or when its answer has come."""

    moment = remaining = None

    def _interrupt(self, moment):
        if moment == self.moment and is_within_cycle():
            self.remaining -= 1
            if self.remaining == 0:
                raise KeyboardInterrupt

    def started(self, event):
        self._interrupt("sent")

    def succeeded(self, event):
        self._interrupt("answered")

    def failed(self, event):
        pass


@pytest.fixture
def hand_out(server, database, caplog):
    """Return a function that starts a scheduler with three due jobs."""
    interrupts = Interrupts()
    with MongoClient(server.uri, event_listeners=[interrupts]) as client:

        def hand_out(options, moment=None, number=None):
            store = MongoDBJobStore(database.name, client=client, **options)
            store.collection.delete_many({})
            store.add_jobs(map(job, IDS))
            scheduler = by_hand(store)
            interrupts.moment, interrupts.remaining = moment, number
            caplog.clear()
            return store, scheduler

        yield hand_out
    until(lambda: not own_threads())


def submitted(scheduler):
    return {job_id for job_id, _ in scheduler.executor.submitted}


def due(store):
    """Return the ids of the documents that are still due; all must be there."""
    times = run_times(store)
    assert sorted(times) == IDS
    return {job_id for job_id, time in times.items() if time == at(0).timestamp()}


def warnings(caplog):
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def free(server, database, options):
    """Return the ids of the jobs that another scheduler gets at once."""
    other = MongoDBJobStore(database.name, host=server.uri, **options)
    try:
        return {each.id for each in other.get_due_jobs(at(1))}
    finally:
        other.shutdown()


# A queried cycle sends a find, an update and a find; a shared one, two more for its claim.
@pytest.mark.parametrize(
    ("options", "number"),
    [(QUERIED, number) for number in (1, 2, 3)] + [(SHARED, number) for number in (1, 2, 3, 4, 5)],
)
@pytest.mark.parametrize("moment", ["sent", "answered"])
def test_ctrl_c_in_a_command_ends_the_cycle_and_shutdown_writes_what_was_submitted(
    hand_out, server, database, caplog, options, number, moment
):
    store, scheduler = hand_out(options, moment, number)
    with pytest.raises(KeyboardInterrupt):
        scheduler._process_jobs()
    scheduler.shutdown()
    assert warnings(caplog) == []
    assert due(store) == set(IDS) - submitted(scheduler)
    assert free(server, database, options) == due(store)


class Broken:
    """Makes PyMongo's C code raise a `SystemError` once, in place of a `KeyboardInterrupt`.

    That code reads this property, and goes on when the property has raised.
    """

    def __init__(self, monkeypatch):
        kind = message._BulkWriteContext
        self.before, self.remaining = kind.max_bson_size, 1
        monkeypatch.setattr(kind, "max_bson_size", property(self.read))

    def read(self, context):
        if self.remaining:
            self.remaining -= 1
            raise KeyboardInterrupt
        return self.before.fget(context)


@pytest.mark.parametrize("options", [QUERIED, SHARED], ids=["queried", "shared"])
def test_ctrl_c_that_the_drivers_c_code_hides_ends_the_cycle_and_is_no_outage(
    hand_out, unhurried, caplog, monkeypatch, options
):
    store, scheduler = hand_out(options)
    Broken(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        scheduler._process_jobs()
    assert store.status().pending == len(IDS)
    scheduler.shutdown()
    assert warnings(caplog) == []
    assert due(store) == set()


def test_same_error_in_another_thread_is_no_ctrl_c_and_the_next_cycle_writes(
    hand_out, caplog, monkeypatch
):
    store, scheduler = hand_out(QUERIED)
    Broken(monkeypatch)
    in_thread(scheduler._process_jobs)
    assert [each for each in warnings(caplog) if "Unable to reach the jobs" in each]
    in_thread(scheduler._process_jobs)
    assert due(store) == set()
    assert submitted(scheduler) == set(IDS)
    scheduler.shutdown()


def test_ctrl_c_that_the_start_of_a_timer_turns_into_another_error_ends_the_cycle(
    hand_out, caplog, monkeypatch
):
    """A lock of Python's own raises `RuntimeError` if Ctrl-C has kept it from being taken."""

    def start(timer):
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("release unlocked lock")

    store, scheduler = hand_out(QUERIED)
    monkeypatch.setattr(threading.Timer, "start", start)
    with pytest.raises(KeyboardInterrupt):
        scheduler._process_jobs()
    monkeypatch.undo()
    scheduler.shutdown()
    assert warnings(caplog) == []
    assert due(store) == {"b", "c"}


def test_shutdown_does_not_ask_a_timer_again_in_which_ctrl_c_has_left_a_lock(
    hand_out, caplog, monkeypatch
):
    cancelled = []

    def cancel(timer):
        cancelled.append(timer)
        raise KeyboardInterrupt

    store, scheduler = hand_out(QUERIED)
    monkeypatch.setattr(threading.Timer, "cancel", cancel)
    with pytest.raises(KeyboardInterrupt):
        scheduler._process_jobs()
    scheduler.shutdown()
    assert len(cancelled) == 1
    assert warnings(caplog) == []
    assert due(store) == set()


class Trace:
    """Raises `KeyboardInterrupt` at the n-th call of a function of this package, as Ctrl-C may.

    Generators don't count: Python ends some in finalizers, where it ignores an exception.
    """

    def __init__(self, number):
        self.remaining = number

    def __call__(self, frame, event, argument):
        is_generator = frame.f_code.co_flags & inspect.CO_GENERATOR
        if frame.f_globals.get("__name__", "").startswith("jobstore.") and not is_generator:
            self.remaining -= 1
            if self.remaining == 0:
                sys.settrace(None)
                raise KeyboardInterrupt


def interrupted_cycle(scheduler, number):
    """Run a cycle with Ctrl-C in the n-th call; return whether there is such a call."""
    trace, before = Trace(number), sys.gettrace()
    gc.disable()  # Python ignores an exception in a finalizer
    sys.settrace(trace)
    try:
        scheduler._process_jobs()
    except KeyboardInterrupt:
        pass
    else:
        assert trace.remaining > 0, "the cycle has swallowed Ctrl-C"
    finally:
        sys.settrace(before)
        gc.enable()
    return trace.remaining == 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_ctrl_c_in_any_call_ends_the_cycle_and_at_most_the_last_submitted_job_stays_due(
    hand_out, caplog, mode
):
    assert threading.current_thread() is threading.main_thread()
    for number in itertools.count(1):
        store, scheduler = hand_out(MODES[mode])
        was_interrupted = interrupted_cycle(scheduler, number)
        scheduler.shutdown()
        assert warnings(caplog) == []
        fired = [job_id for job_id, _ in scheduler.executor.submitted]
        assert due(store) - set(fired) == set(IDS) - set(fired)
        assert due(store) & set(fired) <= set(fired[-1:])
        if not was_interrupted:
            break
    assert number > 50
