"""Errors with which newer servers refuse commands: nothing is lost, and no stream is given up."""

from datetime import datetime, timezone

import pytest

from jobstore import MongoDBJobStore
from jobstore.mongodb.mirroring import change_stream
from jobstore.mongodb.mirroring.change_stream import Watcher
from support.jobs import YEARS, at, job, run_times
from support.manual_scheduler import by_hand
from support.mirrored_stores import run, wait_until_equal, wait_until_live
from support.waiting import until

OVERLOADED = ["SystemOverloadedError", "NoWritesPerformed"]
ERRORS = {
    "election": {"errorCode": 11602, "errorLabels": ["ResumableChangeStreamError"]},
    "election, without a label": {"errorCode": 11602, "errorLabels": []},
    "overload": {"errorCode": 462, "errorLabels": OVERLOADED},
    "overload, to be retried": {"errorCode": 463, "errorLabels": [*OVERLOADED, "RetryableError"]},
    "overload, of a later version": {"errorCode": 9999, "errorLabels": OVERLOADED},
    "plan killed": {"errorCode": 175, "errorLabels": []},
}
MODES = {"queried": {}, "shared": {"shared": True}}


@pytest.fixture(params=ERRORS)
def fail(point, request):
    """Return a function that lets commands of the application `newer` fail."""

    def fail(*commands, skip=0, **more):
        errors = ERRORS[request.param] | more
        point("failCommand", skip, failCommands=commands, appName="newer", **errors)

    return fail


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(change_stream, "PAUSE_SECONDS", 0.01)


def wake_by(stock, scheduler):
    """Add a job that is due now, and wait until the scheduler runs it."""
    stock.add_job(job("new", next_run_time=datetime.now(timezone.utc)))
    until(lambda: scheduler.executor.times["new"])


@pytest.mark.parametrize("commands", [["getMore"], ["getMore", "aggregate"]], ids=" ".join)
@pytest.mark.parametrize("mode", MODES)
def test_stream_of_wake_ups_goes_on(server, database, stock, point, fail, caplog, mode, commands):
    store = MongoDBJobStore(database.name, host=f"{server.uri}&appName=newer", **MODES[mode])
    scheduler = run(store)
    watcher = store._lifecycle.watcher
    until(lambda: watcher.sees_all_changes)
    fail(*commands)
    point.wait_until_entered("failCommand", 3)
    point.off()
    wake_by(stock, scheduler)
    until(lambda: watcher.sees_all_changes)
    scheduler.shutdown()
    assert "No change stream" not in caplog.text


def test_error_at_the_first_opening_of_the_stream_does_not_make_the_store_poll(
    server, database, stock, point, fail, caplog
):
    store = MongoDBJobStore(database.name, host=f"{server.uri}&appName=newer")
    fail(
        "aggregate", skip=2, namespace=f"{database.name}.jobs"
    )  # aggregations with which the start looks for claims
    scheduler = run(store)
    point.wait_until_entered("failCommand", 2)
    point.off()
    wake_by(stock, scheduler)
    until(lambda: store._lifecycle.watcher.sees_all_changes)
    scheduler.shutdown()
    assert "No change stream" not in caplog.text


@pytest.mark.parametrize("commands", [["getMore"], ["getMore", "aggregate"]], ids=" ".join)
def test_mirror_stays_live_and_is_not_read_again(
    start, point, server, stock, monkeypatch, fail, commands
):
    scheduler, store = start(f"{server.uri}&appName=newer")
    store.add_jobs([job("a"), job("b", 1)])
    wait_until_equal(store)
    wait_until_live(store)
    monkeypatch.setattr(change_stream, "load", None)
    fail(*commands)
    point.wait_until_entered("failCommand", 3)
    scheduler._process_jobs()
    assert [name for name, _ in scheduler.executor.submitted] == ["a", "b"]
    assert store._reader.is_live
    point.off()
    stock.add_job(job("c", 2))
    wait_until_equal(store)
    assert store._reader.is_live
    assert len(store) == 3


def test_first_answer_of_a_stream_that_pymongo_has_resumed_does_not_count_as_quiet(
    start, point, server, monkeypatch
):
    """The new primary may not have told the changes of the token's own time yet."""
    _, store = start(f"{server.uri}&appName=newer")
    watcher, next_event, answers = store._lifecycle.watcher, Watcher._next_event, []

    def noting(self, stream):
        cursor, has_event = stream._cursor, next_event(self, stream)
        answers.append((stream._cursor is not cursor, watcher._stream_time == watcher._token_time))
        return has_event

    monkeypatch.setattr(Watcher, "_next_event", noting)
    until(lambda: (False, True) in answers)
    point("failCommand", failCommands=["getMore"], appName="newer", **ERRORS["election"])
    point.wait_until_entered("failCommand", 2)
    point.off()
    until(lambda: answers[-1] == (False, True))
    assert (True, False) in answers
    assert (True, True) not in answers


@pytest.mark.parametrize("mode", ["queried", "mirrored", "shared"])
def test_refused_writes_are_written_later_and_no_run_is_repeated(
    server, database, point, fail, mode
):
    options = {**MODES, "mirrored": {"mirror": True}}[mode]
    store = MongoDBJobStore(database.name, host=f"{server.uri}&appName=newer", **options)
    scheduler = by_hand(store)
    store.add_jobs([job("a"), job("b", 1, every=None)])
    fail("update", "delete")
    scheduler._process_jobs()
    point.wait_until_entered("failCommand", 1)
    point.off()
    until(lambda: (scheduler._process_jobs(), not store._write_behind.has_pending)[1])
    assert sorted(name for name, _ in scheduler.executor.submitted) == ["a", "b"]
    assert run_times(store) == {"a": at(YEARS).timestamp()}
    assert store.quarantined() == []
    store.shutdown()
