"""The jobs that a MongoDB store keeps until they come back: their memory, and their bound."""

import gc
import tracemalloc
from typing import Any

import pytest
from bson import decode, encode
from mongodb_variants import make_document
from recurring import ZONES, Clock, RecurringVariant, due_jobs

import jobstore
from jobstore.mongodb import restored
from jobstore.mongodb.codec import Codec
from jobstore.mongodb.documents import Record
from jobstore.mongodb.host import Host
from jobstore.mongodb.restored import RestoredJobs

TABLE = "MongoDB, recurring jobs: the jobs that a store keeps"
DUE = 2_000


@pytest.mark.parametrize(
    ("kind", "zone", "fast_cron"),
    [
        ("interval", "UTC", False),
        ("interval", "ZoneInfo", False),
        ("cron", "UTC", False),
        ("cron", "ZoneInfo", False),
        ("cron", "ZoneInfo", True),
    ],
)
def test_bytes_a_job(
    benchmark: Any, report: Any, client: Any, kind: str, zone: str, fast_cron: bool
) -> None:
    """Memory of the job, its trigger and its record, with the state that was written."""
    store = jobstore.MongoDBJobStore("bench", "kept", client=client, fast_cron=fast_cron)
    documents = [make_document(job) for job in due_jobs(kind, ZONES[zone], DUE)]
    replies = [encode(document) for document in documents]
    kept = RestoredJobs(Host(store, Codec()), fast_cron)
    kept.restore_all([Record.of(documents[0])])  # fills caches, such as that of zones
    gc.collect()
    tracemalloc.start()
    records = [Record.of(decode(reply)) for reply in replies]
    jobs, _ = kept.restore_all(records)
    for job in jobs:
        kept.keep(job)
    assert len(kept._kept) == DUE
    del jobs, job, records
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] / DUE
    tracemalloc.stop()
    benchmark.pedantic(lambda: None)
    state = sum(len(document["job_state"]) for document in documents) / DUE
    values = {"ours": used, "of it the state": state}
    row = f"memory a job, {kind}, {zone}" + (", fast_cron" if fast_cron else "")
    report(f"{TABLE}: bytes", row, values, "ours", unit="bytes")


class Bounded(RecurringVariant):
    """The same with another number of jobs that a store keeps."""

    def __init__(self, bound: int, patch: Any, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.bound, self.patch = bound, patch

    def make_due(self) -> None:
        self.patch.setattr(restored, "MAX_KEPT", self.bound)
        super().make_due()


@pytest.mark.parametrize("kind", ["interval", "cron"])
def test_bound(measure: Any, report: Any, client: Any, monkeypatch: Any, kind: str) -> None:
    """Cycles on a store that keeps all of their jobs, or fewer."""
    clock = Clock(monkeypatch, ZONES["ZoneInfo"])
    bounds = {"all kept": DUE, "3 of 4 kept": 3 * DUE // 4, "half kept": DUE // 2, "none kept": 0}
    variants = [
        Bounded(
            bound,
            monkeypatch,
            jobstore.MongoDBJobStore("bench", f"bound {bound}", client=client, fast_cron=True),
            kind,
            DUE,
            clock,
        ).variant()
        for bound in bounds.values()
    ]
    times = measure(*variants, rounds=15, prepare=clock.advance)
    values = dict(zip(bounds, times, strict=True))
    report(TABLE, f"cycle of 2,000 {kind} jobs", values, "none kept / all kept")
