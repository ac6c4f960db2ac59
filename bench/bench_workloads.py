"""Updates in the memory store under non-uniform workloads."""

from datetime import timedelta, timezone
from typing import Any

import pytest
from measure import Variant
from variants import IMPLEMENTATIONS, SPAN, START, BenchJob, Jobs, filled

BATCH = 1_000
LAST = START.replace(tzinfo=timezone.utc) + timedelta(microseconds=SPAN)


class Workload:
    """Jobs in filled stores. Before each round, some get new run times, uniformly at random."""

    def __init__(self, size: int) -> None:
        self.maker = Jobs(timezone.utc)
        self.jobs = self.maker.make(size)
        self.prepare()
        self.stores = {name: filled(name, self.jobs) for name in IMPLEMENTATIONS}
        self.chosen: list[BenchJob] = []

    def prepare(self) -> None:
        """Change the jobs before the stores are filled with them."""

    def choose(self) -> None:
        self.chosen = self.maker.some(self.jobs, BATCH)
        for job in self.chosen:
            job.next_run_time = self.maker.time()


class Herd(Workload):
    """All jobs are due at one instant, as under `cron`.

    The rounds move them to the next instant, in the order of their ids.
    """

    def prepare(self) -> None:
        for job in self.jobs:
            job.next_run_time = LAST
        self.jobs.sort(key=lambda job: job.id)
        self.round = 0

    def choose(self) -> None:
        first = self.round * BATCH % len(self.jobs)
        self.chosen = self.jobs[first : first + BATCH]
        self.round += 1
        later = timedelta(minutes=1 + (self.round - 1) * BATCH // len(self.jobs))
        for job in self.chosen:
            job.next_run_time = LAST + later


class Front(Workload):
    """The first jobs move a little later, as jobs that run often do."""

    def choose(self) -> None:
        self.chosen = self.stores["ours"].get_all_jobs()[:BATCH]
        for job in self.chosen:
            assert job.next_run_time
            job.next_run_time += timedelta(microseconds=SPAN // 100)


class FarFuture(Workload):
    """Jobs move behind all others."""

    def choose(self) -> None:
        super().choose()
        for number, job in enumerate(self.chosen):
            job.next_run_time = LAST + timedelta(days=365, seconds=number)


class MostlyPaused(Workload):
    """Nine in ten jobs are paused. An update pauses half of its jobs and resumes the other half."""

    def prepare(self) -> None:
        for job in self.jobs[len(self.jobs) // 10 :]:
            job.next_run_time = None

    def choose(self) -> None:
        super().choose()
        for job in self.chosen[::2]:
            job.next_run_time = None


class SameTime(Workload):
    """An update changes no run time."""

    def choose(self) -> None:
        self.chosen = self.maker.some(self.jobs, BATCH)


@pytest.mark.parametrize("size", [10_000, pytest.param(100_000, marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", [Herd, Front, FarFuture, MostlyPaused, SameTime])
def test_workload(measure: Any, report: Any, kind: type[Workload], size: int) -> None:
    workload = kind(size)

    def update_all(store: Any) -> None:
        for job in workload.chosen:
            store.update_job(job)

    variants = [
        Variant(lambda store=store: update_all(store), BATCH)  # type: ignore[misc]
        for store in workload.stores.values()
    ]
    times = measure(*variants, rounds=21, prepare=workload.choose)
    name = {
        Herd: "all due at once",
        Front: "the first put off a little",
        FarFuture: "put beyond all others",
        MostlyPaused: "nine in ten paused",
        SameTime: "no new time",
    }[kind]
    report(
        "Memory store, updates under other workloads: times faster than stock",
        f"{name}, {size:,} jobs",
        dict(zip(workload.stores, times, strict=True)),
        "stock / ours",
    )
