"""From another process's `add_job` to the job's run."""

import json
import random
import select
import subprocess
import sys
import time
from datetime import timezone
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

import pytest
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockStore
from apscheduler.schedulers.background import BackgroundScheduler

import jobstore
from jobstore.testing import Server

TABLE = "From add_job in another process to the job's run"
CHILD = Path(__file__).with_name("latency_child.py")
MODES: dict[str, dict[str, Any]] = {
    "queried": {},
    "mirrored": {"mirror": True},
    "shared": {"shared": True},
}
BLOCKS, WARM_UP, JOBS = 5, 5, 30  # of each mode: blocks, and a block's jobs before and on the clock
GAP = 0.01, 0.06  # seconds between a run and the next job, at random
PUBLISHED = 4.28  # ms on average, of graphile-worker: https://worker.graphile.org/docs/performance


class Pair:
    """A process whose scheduler runs jobs, and a paused scheduler here, which adds them.

    :ivar latencies: of each job, ms from the beginning of `add_job` to that of the run.
    :ivar calls: of each job, ms that `add_job` itself took.
    """

    def __init__(self, uri: str, kind: str, adding: Any, arguments: dict[str, Any]) -> None:
        command = [sys.executable, CHILD, kind, uri, adding.collection.name, json.dumps(arguments)]
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.scheduler = BackgroundScheduler(jobstores={"default": adding}, timezone=timezone.utc)
        self.scheduler.start(paused=True)
        assert self._line() == "ready\n"
        self.latencies: list[float] = []
        self.calls: list[float] = []

    def _line(self) -> str:
        assert self.child.stdout
        return self.child.stdout.readline()

    def add(self) -> None:
        """Add a job that is due now."""
        self.scheduler.add_job("latency_child:begin", misfire_grace_time=None)

    def measure(self) -> None:
        """Add a job, and wait for its run."""
        start = time.monotonic_ns()
        self.add()
        end = time.monotonic_ns()
        self.latencies.append((int(self._line()) - start) / 1e6)
        self.calls.append((end - start) / 1e6)

    @property
    def has_run(self) -> bool:
        """Whether a run has begun that `measure` has not read."""
        return bool(select.select([self.child.stdout], [], [], 0)[0])

    def close(self) -> None:
        self.scheduler.shutdown()
        self.child.communicate()


@pytest.fixture(scope="module")
def measured(server: Server) -> dict[str, tuple[list[float], list[float]]]:
    """The latencies and calls of each mode's jobs. The modes take turns, a block at a time.

    Meanwhile a scheduler on the stock store is idle. It hears of no job.
    """
    chance = random.Random(1)
    results: dict[str, tuple[list[float], list[float]]] = {mode: ([], []) for mode in MODES}
    adding: Any = StockStore("bench", "latency stock", host=server.uri)
    stock = Pair(server.uri, "apscheduler", adding, {})
    for number in range(BLOCKS):
        for mode in chance.sample(list(MODES), len(MODES)):
            latencies, calls = block(server.uri, mode, chance)
            results[mode][0].extend(latencies)
            results[mode][1].extend(calls)
        if number == 0:  # its first cycle is long over
            stock.add()
            start = time.monotonic()
    assert not stock.has_run
    print(f"The stock scheduler had not run its job after {time.monotonic() - start:.0f} s.")
    stock.close()
    return results


def block(uri: str, mode: str, chance: random.Random) -> tuple[list[float], list[float]]:
    arguments = MODES[mode]
    shared = "shared" in arguments
    adding = jobstore.MongoDBJobStore(
        "bench", f"latency {mode}", host=uri, watch=False, shared=shared
    )
    pair = Pair(uri, "jobstore", adding, arguments)
    for _ in range(WARM_UP + JOBS):
        time.sleep(chance.uniform(*GAP))
        pair.measure()
    pair.close()
    return pair.latencies[WARM_UP:], pair.calls[WARM_UP:]


@pytest.mark.parametrize("mode", MODES)
def test_latency(
    benchmark: Any,
    report: Any,
    measured: dict[str, tuple[list[float], list[float]]],
    mode: str,
) -> None:
    """Only the mean has a target: graphile-worker's, which runs on another machine."""
    latencies, calls = measured[mode]
    cuts = quantiles(latencies, n=100, method="inclusive")
    values = {"mean": mean(latencies), "p50": cuts[49], "p99": cuts[98], "max": max(latencies)}
    values["p50 of add_job"] = median(calls)
    benchmark.pedantic(lambda: None)
    row = f"{mode}, {len(latencies)} jobs, one at a time"
    report(TABLE, row, values, "mean", target=PUBLISHED, at_most=True, unit="ms")
