"""A whole scheduler: the store's share of a cycle, and the gain from adding in bulk."""

import time
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from measure import Variant
from recurring import ZONES
from schedulers import NullExecutor, started
from variants import empty

import jobstore
from jobstore.triggers import use_fast_cron

DUE = 1_000
TRIGGERS: dict[str, Any] = {
    "interval": lambda zone: IntervalTrigger(hours=1, start_date=SOON, timezone=zone),
    "cron": lambda zone: CronTrigger(minute="*/5", start_date=SOON, timezone=zone),
    "date": lambda zone: DateTrigger(SOON, zone),
}
EXECUTORS = {"null executor": NullExecutor, "thread pool": ThreadPoolExecutor}
SOON = datetime.now(timezone.utc) + timedelta(hours=1)


class CycleVariant:
    """A scheduler with `size` jobs. DUE of them become due before each cycle."""

    def __init__(self, store: Any, size: int, trigger: str, executor: str, zone: tzinfo) -> None:
        self.store, self.zone = store, zone
        self.executor = EXECUTORS[executor]()
        self.scheduler = started(store, self.executor, zone)
        made = TRIGGERS[trigger](zone)
        jobs = [
            {
                "func": int,
                "trigger": made,
                "id": f"job-{i:08d}",
                "next_run_time": (SOON + timedelta(hours=1) * (i / size)).astimezone(zone),
                "misfire_grace_time": None,
                "coalesce": True,
            }
            for i in range(size)
        ]
        # In the order of their run times: so the stock store is quick, too.
        jobstore.add_jobs(self.scheduler, jobs)
        self.some = store.get_all_jobs()[:: size // DUE]

    def make_due(self) -> None:
        now = datetime.now(self.zone)
        for i, job in enumerate(self.some):
            job.next_run_time = now - timedelta(microseconds=i)
            if self.store.lookup_job(job.id):
                self.store.update_job(job)
            else:  # the trigger has ended, so the scheduler has removed the job
                self.store.add_job(job)

    def drain(self) -> None:
        """Wait until the thread pool has run all jobs."""
        while any(self.executor._instances.values()):
            time.sleep(0.001)

    def variant(self) -> Variant:
        return Variant(self.scheduler._process_jobs, DUE, before=self.make_due, after=self.drain)


class WithoutStore(StockMemoryJobStore):
    """The lower bound: a store whose operations do nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[Job] = []

    def get_due_jobs(self, now: datetime) -> list[Job]:
        return self.due

    def update_job(self, job: Job) -> None:
        pass

    def remove_job(self, job_id: str) -> None:
        pass

    def get_next_run_time(self) -> None:
        pass


def cases() -> list[Any]:
    null, full = "null executor", pytest.mark.full
    quick = [(size, "interval", null, "UTC", False) for size in (1_000, 10_000, 100_000)]
    rest = [
        (10_000, trigger, executor, "UTC", False)
        for trigger in TRIGGERS
        for executor in EXECUTORS
        if (trigger, executor) != ("interval", null)
    ]
    rest += [(10_000, trigger, null, "ZoneInfo", False) for trigger in TRIGGERS]
    rest += [(10_000, "cron", "thread pool", "UTC", True)]
    fast = [(10_000, "cron", null, zone, True) for zone in ZONES]
    return [
        *quick,
        *(pytest.param(*case, marks=pytest.mark.check) for case in fast),
        *(pytest.param(*case, marks=full) for case in rest),
    ]


@pytest.mark.parametrize(("size", "trigger", "executor", "zone", "fast_cron"), cases())
def test_cycle(
    measure: Any, report: Any, size: int, trigger: str, executor: str, zone: str, fast_cron: bool
) -> None:
    """`_process_jobs` with 1,000 due jobs. The variants differ only in their store.

    With `fast_cron`, the stores that have it give their jobs fast cron triggers.
    """
    variants = {
        name: CycleVariant(empty(name, fast_cron), size, trigger, executor, ZONES[zone])
        for name in ("ours", "twin", "stock")
    }
    without = WithoutStore()
    variants["no store"] = CycleVariant(without, DUE, trigger, executor, ZONES[zone])
    without.due = variants["no store"].some
    if fast_cron:
        for job in without.due:
            use_fast_cron(job)
    row = [f"{size:,} jobs", trigger, executor]
    row += ["fast_cron"] if fast_cron else []
    row += [zone] if zone != "UTC" else []
    times = measure(*(variant.variant() for variant in variants.values()), rounds=31)
    for variant in variants.values():
        variant.executor.shutdown()
    report(
        "A scheduler's whole cycle, 1,000 due: times faster than with the stock store",
        ", ".join(row),
        dict(zip(variants, times, strict=True)),
        "stock / ours",
        target=5 if fast_cron and executor == "null executor" else None,
        size=size if row[1:] == ["interval", "null executor"] else None,
        operation="cycle",
    )


@pytest.mark.parametrize("size", [1_000, 10_000])
@pytest.mark.parametrize("rival", ["stock", "ours"])
def test_adding_in_bulk(measure: Any, report: Any, size: int, rival: str) -> None:
    """`jobstore.add_jobs` on our store, against a loop of `scheduler.add_job`."""
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
        Variant(lambda: jobstore.add_jobs(bulk, jobs), size, after=bulk.remove_all_jobs),
        Variant(add_each, size, after=loop.remove_all_jobs),
        rounds=9,
    )
    report(
        "jobstore.add_jobs on our store: times faster than a loop of scheduler.add_job",
        f"{size:,} jobs, the loop on {'the stock' if rival == 'stock' else 'our'} store",
        {"ours": ours, "loop": theirs},
        "loop / ours",
    )
