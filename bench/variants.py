"""The stores to compare, and the jobs that they hold."""

import random
from datetime import datetime, timedelta, tzinfo
from typing import Any

from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore
from apscheduler.util import datetime_to_utc_timestamp
from rivals import HeapStore, SortedStore

from jobstore import MemoryJobStore
from jobstore._index_c import JobIndex as CompiledIndex
from jobstore._index_py import JobIndex as PythonIndex

IMPLEMENTATIONS = ["ours", "twin", "stock", "heap + dict", "sorted"]
SIZES = [1_000, 10_000, 100_000, 1_000_000]
START = datetime(2030, 1, 1)
SPAN = 10**13  # µs: run times lie within four months


class BenchJob:
    """A job with only the attributes that a memory store reads."""

    __slots__ = ("id", "next_run_time")

    def __init__(self, job_id: str, next_run_time: datetime | None) -> None:
        self.id = job_id
        self.next_run_time = next_run_time


class Jobs:
    """Makes jobs at random times, the same in every run."""

    def __init__(self, zone: tzinfo) -> None:
        self.random = random.Random(1)
        self.zone = zone

    def time(self) -> datetime:
        moment = START + timedelta(microseconds=self.random.randrange(SPAN))
        return moment.replace(tzinfo=self.zone)

    def make(self, count: int, name: str = "job") -> list[BenchJob]:
        jobs = [BenchJob(f"{name}-{i:08d}", self.time()) for i in range(count)]
        self.random.shuffle(jobs)  # no relation between place in memory and run time
        return jobs

    def some(self, jobs: list[BenchJob], count: int) -> list[BenchJob]:
        return self.random.sample(jobs, count)


def empty(implementation: str, fast_cron: bool = False) -> Any:
    """Make an empty store. Only ours can have fast cron triggers."""
    if implementation == "stock":
        return StockMemoryJobStore()
    if implementation == "heap + dict":
        return HeapStore()
    if implementation == "sorted":
        return SortedStore()
    store = MemoryJobStore(fast_cron=fast_cron)
    store._index = {"ours": CompiledIndex, "twin": PythonIndex}[implementation]()
    return store


def filled(implementation: str, jobs: list[BenchJob]) -> Any:
    """Make a store with these jobs.

    The store adds the jobs one by one in random order, so that the leaves of ours are as full
    as in use. The stock store would need minutes for a million jobs. It gets the lists that
    `add_job` would build.
    """
    store = empty(implementation)
    if implementation == "stock":
        timed = [(job, datetime_to_utc_timestamp(job.next_run_time)) for job in jobs]
        paused_last = float("inf")
        store._jobs = sorted(
            timed, key=lambda entry: (paused_last if entry[1] is None else entry[1], entry[0].id)
        )
        store._jobs_index = {job.id: (job, timestamp) for job, timestamp in store._jobs}
    else:
        for job in jobs:
            store.add_job(job)
    return store
