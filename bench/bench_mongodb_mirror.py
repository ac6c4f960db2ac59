"""The mirrored MongoDB store, against the memory store and a raw read; the cost of watching."""

import gc
import time
import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from latency_proxy import LatencyProxy
from measure import Variant
from mirror_variants import MemoryVariant, MirrorVariant, Pickles, mirrored, wait_for
from mongodb_variants import Counter, make_document, make_job, median, now, values_of
from pymongo import MongoClient

import jobstore
from jobstore.mongodb.codec import Codec
from jobstore.mongodb.counters import Counters
from jobstore.mongodb.locks import Locks
from jobstore.mongodb.mirroring.mirror import Mirror
from jobstore.mongodb.writes.conflicts import Conflicts
from jobstore.mongodb.writes.write_behind import WriteBehind
from jobstore.testing import Server

TABLE = "MongoDB, mirrored"
DUE = 1_000


@pytest.mark.parametrize("distance", [0, 5])
def test_store_part_of_a_cycle(
    measure: Any, report: Any, server: Server, client: Any, distance: int
) -> None:
    """:param distance: round-trip time in milliseconds."""
    proxy = LatencyProxy(server.nodes[0].port, distance / 1000)
    with MongoClient[dict[str, Any]](proxy.uri if distance else server.uri) as near:
        ours, memory = (
            MirrorVariant(mirrored(near), DUE),
            MemoryVariant(jobstore.MemoryJobStore(), DUE),
        )
        pickles = Pickles([make_job(i, now()) for i in range(DUE)])
        *_, pickled = measure(ours.variant(), memory.variant(), Variant(pickles.go, DUE), rounds=21)
        ours.store.shutdown()
    proxy.close()
    in_memory = median(memory.in_store[1:]) / DUE * 1e6
    values = {
        "ours": median(ours.in_store[1:]) / DUE * 1e6,
        "memory": in_memory,
        "pickles": pickled,
        "memory + pickles": in_memory + pickled,
    }
    row = f"the store's part of a cycle of 1,000 due, {distance} ms away"
    report(TABLE, row, values, "ours / memory + pickles", target=2.0, at_most=True)


@pytest.mark.check
@pytest.mark.parametrize("work", ["a cycle, 1,000 due", "an idle cycle"])
def test_commands(benchmark: Any, report: Any, server: Server, client: Any, work: str) -> None:
    counter = Counter(exclude="getMore")  # the change stream sends them
    with MongoClient[dict[str, Any]](server.uri, event_listeners=[counter]) as counted:
        variant = MirrorVariant(mirrored(counted), DUE)
        variant.make_due()
        if work == "an idle cycle":
            variant.cycle()
            wait_for(lambda: not variant.store.status().pending)
        counter.count = 0
        variant.cycle()
        wait_for(lambda: not variant.store.status().pending)
        count = counter.count
        variant.store.shutdown()
    benchmark.pedantic(lambda: None)
    target = 1 if work != "an idle cycle" else 0
    report(
        f"{TABLE}: commands",
        work,
        {"ours": count},
        "ours",
        target=target,
        at_most=True,
        unit="commands",
    )


@pytest.mark.parametrize("size", [100_000, pytest.param(1_000_000, marks=pytest.mark.full)])
def test_start(measure: Any, report: Any, client: Any, size: int) -> None:
    """Fill the mirror; the raw variant only reads the same documents."""
    store = mirrored(client, "start")
    later = now() + timedelta(days=1)
    for first in range(0, size, 10_000):
        jobs = [make_job(i, later + timedelta(seconds=i)) for i in range(first, first + 10_000)]
        store.collection.insert_many([make_document(job) for job in jobs], ordered=False)

    def start() -> None:
        store.start(None, "default")
        assert len(store) == size

    def read() -> None:
        for _ in store.collection.find({}, ["next_run_time", "job_state"]):
            pass

    ours = Variant(start, size, after=store.shutdown)
    times = measure(ours, Variant(read, size), rounds=3)
    row = f"start with {size:,} records"
    target = 2.5 if size == 1_000_000 else None
    report(TABLE, row, values_of(times, "ours", "read"), "ours / read", target=target, at_most=True)


@pytest.mark.check
def test_bytes_per_job(benchmark: Any, report: Any) -> None:
    """Memory of a record with its id and its run time, but without its state."""
    size = 100_000
    jobs = [make_job(i, now() + timedelta(seconds=i)) for i in range(size)]
    states = [make_document(job)["job_state"] for job in jobs]
    locks = Locks()
    conflicts = Conflicts(Codec(), Counters(), lambda *_: None)
    write_behind = WriteBehind(locks, lambda *_: None, DUE, lambda *_: None, conflicts)
    mirror = Mirror(locks, write_behind, follows=True)

    def documents() -> Any:
        for number, state in enumerate(states):
            yield {"_id": f"job-{number:08d}", "next_run_time": number / 7, "job_state": state}

    gc.collect()
    tracemalloc.start()
    mirror.load(documents())
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] / size
    tracemalloc.stop()
    benchmark.pedantic(lambda: None)
    row = "memory a job, beside its state"
    report(f"{TABLE}: bytes", row, {"ours": used}, "ours", target=350, at_most=True, unit="bytes")


def test_cost_of_watching(measure: Any, report: Any, client: Any) -> None:
    """CPU time for adding 10,000 jobs, with a watcher that receives the changes and without."""
    count = 10_000
    jobs = [make_job(i, now() + timedelta(days=1)) for i in range(count)]
    seconds: dict[str, list[float]] = {"watched": [], "not watched": []}
    variants, schedulers = [], []
    for name, watch in (("watched", True), ("not watched", False)):
        store = jobstore.MongoDBJobStore("bench", f"watch {watch}", client=client, watch=watch)
        scheduler = BackgroundScheduler(timezone="UTC")
        scheduler.add_jobstore(store, "default")
        scheduler.start()

        def add(store: Any = store, name: str = name) -> None:
            started = time.process_time()
            store.add_jobs(jobs)
            watcher = store._lifecycle.watcher
            if watcher:
                wait_for(lambda: watcher._stream_time >= store._connection.write_time)
            seconds[name].append(time.process_time() - started)

        variants.append(Variant(add, count, before=store.remove_all_jobs))
        schedulers.append(scheduler)
    measure(*variants, rounds=11)
    for scheduler in schedulers:
        scheduler.shutdown()
    values = {name: median(each[1:]) / count * 1e6 for name, each in seconds.items()}
    values["watching"] = values["watched"] - values["not watched"]
    row = "watch=True, of the process's time a job added"
    report(TABLE, row, values, "watching", target=15, at_most=True)
