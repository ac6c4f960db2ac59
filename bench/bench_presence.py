"""The price of presence, counters and metrics: with all of it on, and with all of it off."""

import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import pytest
from bench_signing import MODES, Watch, added
from measure import Variant
from mongodb_variants import median
from prometheus_client import CollectorRegistry, generate_latest
from recurring import ZONES, Clock
from schedulers import started

import jobstore
from jobstore.metrics import collector
from jobstore.mongodb import parts
from jobstore.mongodb.counters import Counters
from jobstore.mongodb.documents import Record

TABLE = "MongoDB: presence, counters and metrics, in µs a job"
RUNS = 1_000
JOBS_A_SECOND = 10_000  # of a busy scheduler; fewer jobs pay the same each second
BEAT_SECONDS = 5.0
SCRAPE_SECONDS = 15.0  # Prometheus's own example
check = pytest.mark.check


class Silent(Counters):
    """Counts nothing."""

    def handed_out(self, now: float, run_times: Sequence[float]) -> None:
        pass

    def cycle_begins(self) -> None:
        pass

    def cycle_ends(self, next_run_time: float | None) -> None:
        pass

    def counting_flushes(self, flush: Callable[..., None]) -> Callable[..., None]:
        return flush


@check
@pytest.mark.parametrize("mode", MODES)
def test_cycle(measure: Any, report: Any, client: Any, monkeypatch: Any, mode: str) -> None:
    """The scheduler's thread counts its jobs, all of a cycle at once."""
    clock = Clock(monkeypatch, ZONES["UTC"])
    make, side = MODES[mode]
    on = side(make(client, "on"), "kept", clock)
    with monkeypatch.context() as patched:
        patched.setattr(parts, "Counters", Silent)
        off = side(make(client, "off"), "kept", clock)
    off.store._lifecycle.beating.stop()
    registry = CollectorRegistry()
    registry.register(collector(on.store))
    measure(on.variant(), off.variant(), rounds=41, prepare=clock.advance)
    assert b"jobstore_jobs_fired_total" in generate_latest(registry)
    assert on.store.status().fired == 42 * RUNS
    assert off.store.status().fired == 0
    on.store.shutdown()
    off.store.shutdown()
    values = {
        "on": median(on.watch.processor[1:]) / RUNS * 1e6,
        "off": median(off.watch.processor[1:]) / RUNS * 1e6,
        "added": added(on.watch.processor, off.watch.processor, RUNS),
    }
    report(TABLE, f"{mode}: a cycle of 1,000 jobs", values, "added", target=0.5, at_most=True)


@check
def test_counters(measure: Any, report: Any) -> None:
    """The counters alone, without the noise of a cycle."""
    counters, now = Counters(), time.time()
    records = [Record(number, now - number / 1e5, b"") for number in range(RUNS, 0, -1)]

    def count() -> None:
        counters.cycle_begins()
        counters.handed_out(now, [each.run_time for each in records])
        counters.cycle_ends(now + 1)

    watch = Watch()
    measure(Variant(lambda: watch.time(count), RUNS, repeat=20), rounds=41)
    spent = median(watch.processor) / RUNS * 1e6
    row = "the counters of a cycle of 1,000 jobs"
    report(TABLE, row, {"on": spent}, "on", target=0.3, at_most=True)


@check
def test_beat_and_scrape(measure: Any, report: Any, client: Any) -> None:
    """Presence is written every 5 s, and metrics are read every 15 s, in other threads."""
    store = jobstore.MongoDBJobStore("bench", client=client)
    scheduler = started(store)
    store._lifecycle.beating.stop()  # from here on, the benchmark beats in its place
    registry = CollectorRegistry()
    registry.register(collector(store))
    beats, scrapes = Watch(), Watch()

    def beat() -> None:
        store._lifecycle._presence._next_beat = -inf
        store._lifecycle._looked_at = -inf
        beats.time(store._lifecycle.beat)

    def scrape() -> None:
        scrapes.time(lambda: generate_latest(registry))

    measure(Variant(beat, 1), Variant(scrape, 1), rounds=101)
    scheduler.shutdown()
    beat_time, scrape_time = (median(watch.processor) * 1e6 for watch in (beats, scrapes))
    each_second = beat_time / BEAT_SECONDS + scrape_time / SCRAPE_SECONDS
    values = {"beat": beat_time, "scrape": scrape_time, "a job": each_second / JOBS_A_SECOND}
    row = "beats and scrapes, at 10,000 jobs a second"
    report(TABLE, row, values, "a job", target=0.2, at_most=True)
