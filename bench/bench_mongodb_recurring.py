"""Recurring jobs that come back: the states that the store reads are those that it wrote."""

from datetime import timedelta
from typing import Any

import pytest
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from apscheduler.triggers.date import DateTrigger
from cycle_parts import PARTS, parts_of_a_cycle
from measure import Variant
from mirror_variants import Pickles, mirrored
from mongodb_variants import CycleVariant, make_document, make_job, median, now
from recurring import (
    ZONES,
    BareRecurring,
    Clock,
    MemoryRecurring,
    MirrorRecurring,
    PlainRecurring,
    RecurringVariant,
    due_jobs,
)
from shared_variants import shared

import jobstore

TABLE = "MongoDB, recurring jobs"
DUE = 1_000
check, full = pytest.mark.check, pytest.mark.full


def queried(client: Any, collection: str = "queried", **options: Any) -> Any:
    return jobstore.MongoDBJobStore("bench", collection, client=client, **options)


def in_store(variant: CycleVariant) -> float:
    """Return the median of the µs a job that the scheduler spent in the store."""
    return median(variant.in_store[1:]) / variant.due * 1e6


@pytest.mark.parametrize(
    ("kind", "zone", "target"),
    [
        pytest.param("interval", "UTC", 0.65, marks=check),
        pytest.param("interval", "ZoneInfo", 0.65),
        pytest.param("cron", "UTC", 0.4),
        pytest.param("cron", "ZoneInfo", 0.4, marks=check),
    ],
)
def test_store_part_against_plain_cycle(
    measure: Any, report: Any, client: Any, monkeypatch: Any, kind: str, zone: str, target: float
) -> None:
    clock = Clock(monkeypatch, ZONES[zone])
    ours = RecurringVariant(queried(client), kind, 2 * DUE, clock)
    rival = PlainRecurring(client["bench"]["plain"], kind, 2 * DUE, clock)
    _, plain = measure(ours.variant(), rival.variant(), rounds=31, prepare=clock.advance)
    values = {"ours": in_store(ours), "plain": plain}
    row = f"queried: the store's part of a cycle of 2,000 {kind} jobs, {zone}; plain: unguarded"
    report(TABLE, row, values, "ours / plain", target=target, at_most=True)


@pytest.mark.parametrize(
    ("mode", "kind", "zone", "fast_cron", "target"),
    [
        pytest.param("queried", "cron", "ZoneInfo", True, 20, marks=check),
        pytest.param("mirrored", "cron", "ZoneInfo", True, 25, marks=check),
        ("queried", "cron", "ZoneInfo", False, None),
        ("mirrored", "cron", "ZoneInfo", False, None),
        pytest.param("queried", "cron", "UTC", True, None, marks=full),
        pytest.param("mirrored", "cron", "UTC", True, None, marks=full),
        ("queried", "interval", "ZoneInfo", False, None),
        ("mirrored", "interval", "ZoneInfo", False, None),
        pytest.param("queried", "interval", "UTC", False, None, marks=full),
        pytest.param("mirrored", "interval", "UTC", False, None, marks=full),
    ],
)
def test_whole_cycle_against_stock(
    measure: Any,
    report: Any,
    client: Any,
    monkeypatch: Any,
    mode: str,
    kind: str,
    zone: str,
    fast_cron: bool,
    target: float | None,
) -> None:
    """`_process_jobs`; a mirrored store writes after it."""
    clock = Clock(monkeypatch, ZONES[zone])
    if mode == "queried":
        ours = RecurringVariant(queried(client, fast_cron=fast_cron), kind, DUE, clock)
    else:
        ours = MirrorRecurring(mirrored(client, fast_cron=fast_cron), kind, DUE, clock)
    stock = StockMongoDBJobStore("bench", "stock", client=client)
    rival = RecurringVariant(stock, kind, DUE, clock)
    times = measure(ours.variant(), rival.variant(), rounds=7, prepare=clock.advance)
    values = dict(zip(("ours", "stock"), times, strict=True))
    if mode == "mirrored":
        values["until written"] = median(ours.until_written[1:]) / DUE * 1e6
    ours.store.shutdown()
    fast = ", fast_cron" if fast_cron else ""
    row = f"{mode}: whole cycle, 1,000 {kind} jobs, {zone}{fast}"
    report(TABLE, row, values, "stock / ours", target=target)


class DateVariant(CycleVariant):
    """A scheduler with `due` jobs that run once: the scheduler removes them."""

    def make_due(self) -> None:
        past = now() - timedelta(minutes=1)
        jobs = [make_job(i, past, DateTrigger(past)) for i in range(self.due)]
        self.store.collection.insert_many([make_document(job) for job in jobs], ordered=False)

    def check(self) -> None:
        assert self.store.collection.count_documents({}) == 0


def test_whole_cycle_of_date_jobs(measure: Any, report: Any, client: Any) -> None:
    """These jobs don't come back, so each round inserts new ones."""
    stock = StockMongoDBJobStore("bench", "stock", client=client)
    variants = DateVariant(queried(client), DUE), DateVariant(stock, DUE)
    times = measure(*(variant.variant() for variant in variants), rounds=7)
    values = dict(zip(("ours", "stock"), times, strict=True))
    report(TABLE, "queried: whole cycle, 1,000 date jobs", values, "stock / ours")


@pytest.mark.parametrize(
    ("kind", "zone", "fast_cron", "target"),
    [
        ("interval", "UTC", False, 0.5),
        pytest.param("interval", "ZoneInfo", False, 0.5, marks=check),
        ("cron", "UTC", True, 0.2),
        pytest.param("cron", "ZoneInfo", True, 0.2, marks=check),
        ("cron", "ZoneInfo", False, 0.2),
    ],
)
def test_mirrored_store_part(
    measure: Any,
    report: Any,
    client: Any,
    monkeypatch: Any,
    kind: str,
    zone: str,
    fast_cron: bool,
    target: float,
) -> None:
    """Against the memory store's part, and the pickles of these jobs."""
    clock = Clock(monkeypatch, ZONES[zone])
    ours = MirrorRecurring(mirrored(client, fast_cron=fast_cron), kind, DUE, clock)
    rival = jobstore.MemoryJobStore(fast_cron=fast_cron)
    memory = MemoryRecurring(rival, kind, DUE, clock)
    pickles = Variant(Pickles(due_jobs(kind, clock.zone, DUE)).go, DUE)
    *_, pickled = measure(
        ours.variant(), memory.variant(), pickles, rounds=21, prepare=clock.advance
    )
    ours.store.shutdown()
    values = {
        "ours": in_store(ours),
        "memory": in_store(memory),
        "pickles": pickled,
        "memory + pickles": in_store(memory) + pickled,
    }
    fast = ", fast_cron" if fast_cron else ""
    row = f"mirrored: the store's part of a cycle of 1,000 {kind} jobs, {zone}{fast}"
    report(TABLE, row, values, "ours / memory + pickles", target=target, at_most=True)


@pytest.mark.parametrize("kind", [pytest.param("interval", marks=check), "cron"])
def test_one_shared_scheduler(
    measure: Any, report: Any, client: Any, monkeypatch: Any, kind: str
) -> None:
    """Against the bare commands: raw claim, unpickling, pickling, guarded flush."""
    clock = Clock(monkeypatch, ZONES["UTC"])
    ours = RecurringVariant(shared(client, "shared"), kind, DUE, clock)
    rival = BareRecurring(client, kind, DUE, clock)
    _, bare = measure(ours.variant(), rival.variant(), rounds=31, prepare=clock.advance)
    values = {"ours": in_store(ours), "bare": bare}
    row = f"shared: one scheduler, 1,000 {kind} jobs; bare: raw claim, pickles, guarded flush"
    report(TABLE, row, values, "ours / bare", target=0.95, at_most=True)


@pytest.mark.parametrize("kind", ["interval", "cron"])
def test_parts_of_a_cycle(
    measure: Any, report: Any, client: Any, monkeypatch: Any, kind: str
) -> None:
    """Split the time of a cycle of 1,000 due jobs into its parts, in µs a job."""
    clock = Clock(monkeypatch, ZONES["ZoneInfo"])
    variant = RecurringVariant(queried(client, fast_cron=True), kind, DUE, clock)

    def measured(*variants: Variant, rounds: int) -> list[float]:
        times: list[float] = measure(*variants, rounds=rounds, prepare=clock.advance)
        return times

    parts = parts_of_a_cycle(measured, variant, monkeypatch)
    report(PARTS, f"1,000 recurring {kind} jobs due", parts, "write / whole")
