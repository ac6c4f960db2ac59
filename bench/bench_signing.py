"""The price of signing keys: a cycle's time with them, less that of the same cycle without."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from apscheduler.job import Job
from measure import Variant
from mirror_variants import mirrored
from mongodb_variants import make_job, median, now
from recurring import ZONES, Clock, MirrorRecurring, RecurringVariant
from shared_variants import shared

import jobstore

TABLE = "MongoDB: signing keys, the µs a job that they add; states of 500 bytes"
DUE = 1_000
KEYS = [bytes(range(32))]
STATE_BYTES = 500
# A job with plain arguments is kept for its next run. Another one is restored for each.
ARGUMENTS: dict[str, tuple[Any, ...]] = {"kept": ("x" * 43,), "restored": (["x" * 40],)}
check = pytest.mark.check


def queried(client: Any, collection: str, **options: Any) -> Any:
    return jobstore.MongoDBJobStore("bench", collection, client=client, **options)


class Watch:
    """Reads two clocks: the processor time of this thread, and the time on the wall."""

    def __init__(self) -> None:
        self.processor: list[float] = []
        self.wall: list[float] = []

    def time(self, action: Callable[[], Any]) -> None:
        wall, processor = time.perf_counter(), time.thread_time()
        action()
        self.processor.append(time.thread_time() - processor)
        self.wall.append(time.perf_counter() - wall)


def added(signed: list[float], plain: list[float], count: int) -> float:
    """Return the median of the µs a job that the signed side took longer, by round."""
    return median([a - b for a, b in zip(signed[1:], plain[1:], strict=True)]) / count * 1e6


def report_added(report: Any, row: str, signed: Watch, plain: Watch, count: int) -> None:
    values = {
        "with keys": median(signed.processor[1:]) / count * 1e6,
        "without": median(plain.processor[1:]) / count * 1e6,
        "added": added(signed.processor, plain.processor, count),
        "added, wall": added(signed.wall, plain.wall, count),
    }
    report(TABLE, row, values, "added", target=3.0, at_most=True)


class Recurring(RecurringVariant):
    """Jobs of one kind of `ARGUMENTS`, stored by the store itself."""

    def __init__(self, store: Any, kind: str, clock: Clock) -> None:
        self.kind = kind
        self.watch = Watch()
        super().__init__(store, "interval", DUE, clock)

    def insert(self, store: Any, jobs: list[Job]) -> None:
        for job in jobs:
            job.args = ARGUMENTS[self.kind]
        store.add_jobs(jobs)
        assert len(store.collection.find_one()["job_state"]) == STATE_BYTES

    def cycle(self) -> None:
        self.watch.time(super().cycle)


class MirroredRecurring(MirrorRecurring, Recurring):
    """The same on mirrored stores, which write after the cycle, in another thread."""


MODES = {
    "queried": (queried, Recurring),
    "mirrored": (mirrored, MirroredRecurring),
    "shared": (shared, Recurring),
}


@check
@pytest.mark.parametrize("kind", ARGUMENTS)
@pytest.mark.parametrize("mode", MODES)
def test_cycle(
    measure: Any, report: Any, client: Any, monkeypatch: Any, mode: str, kind: str
) -> None:
    """Kept jobs are only signed anew. Restored ones are verified, too."""
    clock = Clock(monkeypatch, ZONES["UTC"])
    make, side = MODES[mode]
    signed = side(make(client, "signed", signing_keys=KEYS), kind, clock)
    plain = side(make(client, "plain"), kind, clock)
    measure(signed.variant(), plain.variant(), rounds=41, prepare=clock.advance)
    signed.store.shutdown()
    plain.store.shutdown()
    report_added(report, f"{mode}: a cycle, {kind} jobs", signed.watch, plain.watch, DUE)


@check
def test_add_jobs(measure: Any, report: Any, client: Any) -> None:
    count = 10_000
    jobs = [make_job(i, now() + timedelta(days=1)) for i in range(count)]
    variants, watches = [], []
    for name, options in (("signed", {"signing_keys": KEYS}), ("plain", {})):
        store, watch = queried(client, name, **options), Watch()
        store.start(None, "default")

        def add(store: Any = store, watch: Watch = watch) -> None:
            watch.time(lambda: store.add_jobs(jobs))

        variants.append(Variant(add, count, before=store.remove_all_jobs))
        watches.append(watch)
    measure(*variants, rounds=21)
    report_added(report, "add_jobs of 10,000", *watches, count)
