"""The price of a history of all runs: in the cycle, in the executors, and in the store's thread."""

from datetime import datetime, timezone
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED, JobExecutionEvent
from bench_signing import MODES, Watch, added
from measure import Variant
from mongodb_variants import make_document, make_job, median
from recurring import ZONES, Clock
from schedulers import started

import jobstore
from jobstore.mongodb.documents import Record
from jobstore.mongodb.restored import Restored

TABLE = 'MongoDB: history="all", in µs a run'
RUNS = 1_000
FIRST = datetime(2030, 1, 1, tzinfo=timezone.utc)
check = pytest.mark.check


@check
@pytest.mark.parametrize("mode", MODES)
def test_cycle(measure: Any, report: Any, client: Any, monkeypatch: Any, mode: str) -> None:
    """The whole cycle, with and without: they differ by less than the noise of a busy machine."""
    clock = Clock(monkeypatch, ZONES["UTC"])
    make, side = MODES[mode]
    on = side(make(client, "on", history="all"), "kept", clock)
    off = side(make(client, "off"), "kept", clock)
    measure(on.variant(), off.variant(), rounds=41, prepare=clock.advance)
    on.store.shutdown()
    off.store.shutdown()
    values = {
        "on": median(on.watch.processor[1:]) / RUNS * 1e6,
        "off": median(off.watch.processor[1:]) / RUNS * 1e6,
        "added": added(on.watch.processor, off.watch.processor, RUNS),
    }
    report(TABLE, f"{mode}: a cycle", values, "on / off")


class Recorded:
    """A store whose records the benchmark writes, and runs that have just ended."""

    def __init__(self, client: Any) -> None:
        self.store = jobstore.MongoDBJobStore("bench", client=client, history="all")
        self.scheduler = started(self.store)
        self.incidents = self.store._incidents
        self.thread = self.store._lifecycle._recorder._thread
        self.thread.stop()  # from here on, the benchmark writes in its place
        self.thread.write_rest(5)
        run_time = FIRST.timestamp()
        self.jobs = [
            Restored(job, Record(job.id, run_time, make_document(job)["job_state"]), None, None)
            for job in (make_job(number, FIRST) for number in range(RUNS))
        ]
        self.runs = self.store._connection.runs
        self.passing, self.listening, self.writing = Watch(), Watch(), Watch()

    def hand_out(self) -> None:
        self.incidents.handed_out(self.jobs)

    def end(self) -> None:
        for each in self.jobs:
            event = JobExecutionEvent(EVENT_JOB_EXECUTED, each.job.id, "default", FIRST)
            self.scheduler._dispatch_event(event)

    def before(self) -> None:
        self.passing.time(self.hand_out)
        self.listening.time(self.end)

    def write(self) -> None:
        self.writing.time(lambda: self.thread.write_rest(5))

    def check(self) -> None:
        assert not self.incidents.entries
        assert self.incidents.dropped == 0
        assert self.runs.count_documents({"seconds": {"$gte": 0}}) == RUNS
        self.runs.delete_many({})


@check
def test_thread(measure: Any, report: Any, client: Any) -> None:
    """The listener is called in the executors' threads, and the records are written in one."""
    recorded = Recorded(client)
    variant = Variant(recorded.write, RUNS, before=recorded.before, after=recorded.check)
    measure(variant, rounds=41)
    silent = Watch()
    recorded.store._lifecycle._recorder._listener.stop()
    for _ in range(41):
        silent.time(recorded.end)
    recorded.store.shutdown()
    values = {
        "store's thread": median(recorded.writing.processor[1:]) / RUNS * 1e6,
        "the same, wall": median(recorded.writing.wall[1:]) / RUNS * 1e6,
        "executor's thread": added(recorded.listening.processor[1:], silent.processor, RUNS),
    }
    report(TABLE, "a run", values, "store's thread", target=16.0, at_most=True)


@check
def test_hook(measure: Any, report: Any, client: Any) -> None:
    """The scheduler's thread only passes the list of its jobs on, once for all of them."""
    recorded = Recorded(client)
    measure(Variant(recorded.write, RUNS, before=recorded.before), rounds=41)
    recorded.store.shutdown()
    values = {"scheduler's thread": median(recorded.passing.processor[1:]) / RUNS * 1e6}
    report(
        TABLE, "a run of 1,000 in a cycle", values, "scheduler's thread", target=0.05, at_most=True
    )
