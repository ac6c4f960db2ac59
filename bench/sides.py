"""What is compared: jobs, and the stores that hold them."""

import random
from datetime import datetime, timedelta, tzinfo

from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore
from apscheduler.util import datetime_to_utc_timestamp

from jobstore import MemoryJobStore

SIZES = [1_000, 10_000, 100_000, 1_000_000]
START = datetime(2030, 1, 1)
SPAN = 10**13  # µs: run times lie within four months


class BenchJob:
    """As little of a job as a memory store looks at."""

    __slots__ = ("id", "next_run_time")

    def __init__(self, job_id: str, next_run_time: datetime) -> None:
        self.id = job_id
        self.next_run_time = next_run_time


class Jobs:
    """Makes jobs at random times, the same ones in every run."""

    def __init__(self, zone: tzinfo) -> None:
        self.random = random.Random(1)
        self.zone = zone

    def time(self) -> datetime:
        moment = START + timedelta(microseconds=self.random.randrange(SPAN))
        return moment.replace(tzinfo=self.zone)

    def make(self, count: int, name: str = "job") -> list[BenchJob]:
        jobs = [BenchJob(f"{name}-{i:08d}", self.time()) for i in range(count)]
        self.random.shuffle(jobs)  # where a job lies in memory says nothing about its turn
        return jobs

    def some(self, jobs: list[BenchJob], count: int) -> list[BenchJob]:
        return self.random.sample(jobs, count)


def stock_store(jobs: list[BenchJob]) -> StockMemoryJobStore:
    """Filled directly, with what add_job() makes: one by one, a million jobs take it minutes."""
    store = StockMemoryJobStore()
    timed = [(job, datetime_to_utc_timestamp(job.next_run_time)) for job in jobs]
    store._jobs = sorted(timed, key=lambda entry: (entry[1], entry[0].id))
    store._jobs_index = {job.id: (job, timestamp) for job, timestamp in store._jobs}
    return store


def our_store(jobs: list[BenchJob]) -> MemoryJobStore:
    """Filled one by one in random order: the blocks are as full as they get in use."""
    store = MemoryJobStore()
    for job in jobs:
        store.add_job(job)
    return store
