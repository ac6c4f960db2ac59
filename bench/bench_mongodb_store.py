"""The MongoDB store against the stock store, and against PyMongo used directly."""

from datetime import timedelta
from typing import Any

import pytest
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from cycle_parts import PARTS, parts_of_a_cycle
from latency_proxy import LatencyProxy
from measure import Variant
from mongodb_variants import (
    Counter,
    CycleVariant,
    PlainCycle,
    make_document,
    make_job,
    median,
    now,
    values_of,
)
from pymongo import MongoClient

import jobstore
from jobstore.testing import Server

TABLE = "MongoDB, a one-node replica set on the loopback interface, majority"


def ours(client: MongoClient[dict[str, Any]], collection: str = "ours") -> Any:
    return jobstore.MongoDBJobStore("bench", collection, client=client)


def stock(client: MongoClient[dict[str, Any]]) -> Any:
    return StockMongoDBJobStore("bench", "stock", client=client)


@pytest.mark.check
@pytest.mark.parametrize("concern", ["majority", pytest.param("w=1", marks=pytest.mark.full)])
def test_cycle_against_stock(
    measure: Any, report: Any, client: Any, server: Server, concern: str
) -> None:
    """The stock store's default write concern, w=1, only waits until one node has it in memory."""
    with MongoClient[dict[str, Any]](server.uri, w=1) as weaker:
        rival = stock(weaker if concern == "w=1" else client)
        times = measure(
            CycleVariant(ours(client), 2_000).variant(),
            CycleVariant(rival, 2_000).variant(),
            rounds=5,
        )
    row = "full cycle, 2,000 due" + (", the stock store with w=1" if concern == "w=1" else "")
    target = 10 if concern == "majority" else None
    report(TABLE, row, values_of(times, "ours", "stock"), "stock / ours", target=target)


@pytest.mark.check
def test_store_part_against_plain_cycle(measure: Any, report: Any, client: Any) -> None:
    variant = CycleVariant(ours(client), 2_000)
    _, plain = measure(
        variant.variant(), PlainCycle(client["bench"]["plain"], 2_000).variant(), rounds=31
    )
    values = {"ours": median(variant.in_store[1:]) / 2_000 * 1e6, "plain": plain}
    row = "the store's part of it; plain: unguarded"
    report(TABLE, row, values, "ours / plain", target=1.0, at_most=True)


@pytest.mark.parametrize("rival", ["stock", pytest.param("plain", marks=pytest.mark.check)])
def test_add_jobs(measure: Any, report: Any, client: Any, rival: str) -> None:
    count, few = 10_000, 2_000  # the stock store adds a thousand a second
    jobs = [make_job(i, now() + timedelta(seconds=i)) for i in range(count)]
    our_store, stock_store = ours(client), stock(client)
    our_store.start(None, "default")
    plain = client["bench"]["plain"]
    plain.create_index("next_run_time", sparse=True)

    def loop() -> None:
        for job in jobs[:few]:
            stock_store.add_job(job)

    def insert() -> None:
        plain.insert_many([make_document(job) for job in jobs], ordered=False)

    def empty() -> None:
        plain.delete_many({})

    variants = {
        "stock": Variant(loop, few, before=stock_store.remove_all_jobs),
        "plain": Variant(insert, count, before=empty),
    }
    our_variant = Variant(lambda: our_store.add_jobs(jobs), count, before=our_store.remove_all_jobs)
    times = measure(our_variant, variants[rival], rounds={"stock": 5, "plain": 21}[rival])
    values = values_of(times, "ours", rival)
    if rival == "stock":
        report(TABLE, "add_jobs of 10,000; stock: a loop", values, "stock / ours", target=25)
    else:
        row = "add_jobs of 10,000; plain: insert_many"
        report(TABLE, row, values, "ours / plain", target=1.25, at_most=True)


@pytest.mark.parametrize(
    "distance",
    [
        pytest.param(1, marks=pytest.mark.full),
        5,
        pytest.param(20, marks=pytest.mark.full),
    ],
)
def test_cycle_over_a_distance(
    measure: Any, report: Any, client: Any, server: Server, distance: int
) -> None:
    """:param distance: round-trip time in milliseconds."""
    proxy = LatencyProxy(server.nodes[0].port, distance / 1000)
    with MongoClient[dict[str, Any]](proxy.uri) as far:
        times = measure(
            CycleVariant(ours(far), 1_000).variant(),
            CycleVariant(stock(far), 1_000).variant(),
            rounds=3,
        )
    proxy.close()
    row = f"full cycle, 1,000 due, {distance} ms away"
    target = 50 if distance == 5 else None
    report(TABLE, row, values_of(times, "ours", "stock"), "stock / ours", target=target)


@pytest.mark.full
def test_cycle_among_a_million_jobs(measure: Any, report: Any, client: Any) -> None:
    many = CycleVariant(ours(client, "many"), 1_000, others=999_000)
    few = CycleVariant(ours(client, "few"), 1_000, others=9_000)
    values = values_of(
        measure(many.variant(), few.variant(), rounds=21), "of 1,000,000", "of 10,000"
    )
    row = "full cycle, 1,000 due of 1,000,000 and of 10,000"
    report(TABLE, row, values, "of 1,000,000 / of 10,000", target=1.5, at_most=True)


@pytest.mark.full
def test_cycles_with_all_jobs_due_at_once(measure: Any, report: Any, client: Any) -> None:
    herd = CycleVariant(ours(client, "herd"), 100_000)
    few_variant = CycleVariant(ours(client, "few"), 1_000).variant()
    few_variant.repeat = 7
    values = values_of(measure(herd.variant(), few_variant, rounds=5), "100,000 due", "1,000 due")
    row = "full cycles, 100,000 due at once and 1,000"
    report(TABLE, row, values, "100,000 due / 1,000 due", target=1.3, at_most=True)


def test_parts_of_a_cycle(measure: Any, report: Any, client: Any, monkeypatch: Any) -> None:
    """Split the time of a cycle of 1,000 due jobs into its parts, in µs a job."""
    variant = CycleVariant(ours(client), 1_000)
    report(
        PARTS,
        "1,000 due",
        parts_of_a_cycle(measure, variant, monkeypatch),
        "write / whole",
        operation="breakdown",
    )


@pytest.mark.check
@pytest.mark.parametrize(
    "work",
    ["a cycle, 1,000 due", "an idle cycle", "1,000 added", "1,000 replaced", "1,000 removed"],
)
def test_round_trips(benchmark: Any, report: Any, server: Server, client: Any, work: str) -> None:
    """Count the commands of each operation. The clock plays no part."""
    counts = {}
    for name, make in (("ours", ours), ("stock", stock)):
        counter = Counter()
        with MongoClient[dict[str, Any]](server.uri, event_listeners=[counter]) as counted:
            variant = CycleVariant(make(counted), 1_000)
            variant.make_due()
            counter.count = 0
            do_work(work, variant, counter)
        counts[name] = counter.count
    benchmark.pedantic(lambda: None)
    report("MongoDB: commands", work, counts, "stock / ours", unit="commands")


def do_work(work: str, variant: CycleVariant, counter: Counter) -> None:
    jobs = [make_job(i, now() + timedelta(days=1)) for i in range(1_000)]
    in_bulk = isinstance(variant.store, jobstore.MongoDBJobStore)
    if "cycle" in work:
        if work == "an idle cycle":
            variant.cycle()
            counter.count = 0
        variant.cycle()
        return
    if work == "1,000 added":
        variant.store.remove_all_jobs()
        counter.count = 0
    name = {"1,000 added": "add_job", "1,000 replaced": "update_job", "1,000 removed": "remove_job"}
    call = getattr(variant.store, name[work] + ("s" if in_bulk else ""))
    items = [job.id for job in jobs] if "removed" in work else jobs
    if in_bulk:
        call(items)
    else:
        for item in items:
            call(item)
