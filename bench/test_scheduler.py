"""A whole scheduler: what the store's share of a cycle is, and what adding in bulk gains."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from apscheduler.job import Job
from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore
from apscheduler.triggers.interval import IntervalTrigger
from conftest import Side
from schedulers import started

import jobstore

DUE = 1_000


class CycleSide:
    """A scheduler with `size` interval jobs, of which DUE are made due before each cycle."""

    def __init__(self, store: Any, size: int) -> None:
        self.store = store
        self.scheduler = started(store)
        start = datetime.now(timezone.utc) + timedelta(hours=1)
        every_hour = IntervalTrigger(hours=1, start_date=start, timezone=timezone.utc)
        jobs = [
            {
                "func": int,
                "trigger": every_hour,
                "id": f"job-{i:08d}",
                "next_run_time": start + timedelta(hours=1) * (i / size),
                "misfire_grace_time": None,
            }
            for i in range(size)
        ]
        # In order of time, which is quick for the stock store too.
        jobstore.add_jobs(self.scheduler, jobs)
        self.some = store.get_all_jobs()[:: size // DUE]

    def make_due(self) -> None:
        now = datetime.now(timezone.utc)
        for i, job in enumerate(self.some):
            job.next_run_time = now - timedelta(microseconds=i)
            self.store.update_job(job)

    def side(self) -> Side:
        return Side(self.scheduler._process_jobs, DUE, before=self.make_due)


class WithoutStore(StockMemoryJobStore):
    """The floor: a store whose every operation is free."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[Job] = []

    def get_due_jobs(self, now: datetime) -> list[Job]:
        return self.due

    def update_job(self, job: Job) -> None:
        pass

    def get_next_run_time(self) -> None:
        pass


@pytest.mark.parametrize("size", [1_000, 10_000, 100_000])
def test_cycle(measure: Any, report: Any, size: int) -> None:
    """`_process_jobs` with 1,000 due; the rest of the scheduler is the same on all sides."""
    ours = CycleSide(jobstore.MemoryJobStore(), size)
    stock = CycleSide(StockMemoryJobStore(), size)
    without = WithoutStore()
    floor = CycleSide(without, DUE)
    without.due = floor.some
    our_time, stock_time, rest = measure(ours.side(), stock.side(), floor.side(), rounds=31)
    share = 100 * max(our_time - rest, 0) / our_time
    report(
        "A scheduler's whole cycle, 1,000 due: times faster than with the stock store",
        f"{size:,} jobs (the store's share: {share:.0f} %)",
        our_time,
        stock_time,
        stock_time / our_time,
    )


@pytest.mark.parametrize("size", [1_000, 10_000])
@pytest.mark.parametrize("rival", ["stock", "ours"])
def test_adding_in_bulk(measure: Any, report: Any, size: int, rival: str) -> None:
    """`jobstore.add_jobs` on our store against the loop of `scheduler.add_job`."""
    bulk, loop = (
        started(store)
        for store in (
            jobstore.MemoryJobStore(),
            StockMemoryJobStore() if rival == "stock" else jobstore.MemoryJobStore(),
        )
    )
    jobs = [
        {"func": int, "trigger": "interval", "hours": 1, "id": f"job-{i * 7919 % size:08d}"}
        for i in range(size)
    ]

    def add_each() -> None:
        for job in jobs:
            loop.add_job(**job)

    ours, theirs = measure(
        Side(lambda: jobstore.add_jobs(bulk, jobs), size, after=bulk.remove_all_jobs),
        Side(add_each, size, after=loop.remove_all_jobs),
        rounds=9,
    )
    report(
        "jobstore.add_jobs on our store: times faster than a loop of scheduler.add_job",
        f"{size:,} jobs, the loop on {'the stock' if rival == 'stock' else 'our'} store",
        ours,
        theirs,
        theirs / ours,
    )
