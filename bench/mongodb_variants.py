"""Jobs, documents and schedulers for the benchmarks of the MongoDB stores."""

import pickle
import time
from datetime import datetime, timedelta, timezone, tzinfo
from itertools import islice
from typing import Any

from apscheduler.job import Job
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger
from apscheduler.util import datetime_to_utc_timestamp
from measure import Variant
from pymongo import UpdateOne, monitoring
from schedulers import ManualScheduler, started

__all__ = [
    "CYCLE_COMMANDS",
    "Counter",
    "CycleVariant",
    "PlainCycle",
    "make_document",
    "make_job",
    "median",
    "now",
    "values_of",
]

CYCLE_COMMANDS = {"find", "getMore", "insert", "update", "delete", "aggregate"}
CYCLE = "get_due_jobs", "update_job", "get_next_run_time"
MAKER = ManualScheduler(timezone=timezone.utc)
HOUR = IntervalTrigger(hours=1, start_date=datetime(2020, 1, 1), timezone=timezone.utc)


def make_job(number: int, run_time: datetime, trigger: BaseTrigger = HOUR) -> Job:
    """A job whose pickled state has about 400 bytes, or 1,400 with a cron trigger."""
    return Job(
        MAKER,
        id=f"job-{number:08d}",
        func=int,
        trigger=trigger,
        executor="default",
        args=("x" * 60,),
        kwargs={},
        name=f"job-{number:08d}",
        misfire_grace_time=None,
        coalesce=True,
        max_instances=1,
        next_run_time=run_time,
    )


def make_document(job: Job) -> dict[str, Any]:
    return {
        "_id": job.id,
        "next_run_time": datetime_to_utc_timestamp(job.next_run_time),
        "job_state": pickle.dumps(job.__getstate__(), pickle.HIGHEST_PROTOCOL),
    }


def now() -> datetime:
    return datetime.now(timezone.utc)


class CycleVariant:
    """A scheduler on a store, with `due` due jobs at the start of each round.

    :ivar in_store: seconds that the scheduler spent in the store, by round.
    """

    def __init__(self, store: Any, due: int, others: int = 0, zone: tzinfo = timezone.utc) -> None:
        self.store = store
        self.due = due
        self.scheduler = started(store, zone=zone)
        self.in_store: list[float] = []
        self.seconds = 0.0
        for name in CYCLE:
            self._time(name)
        later = now() + timedelta(days=1)
        numbers = iter(range(due, due + others))
        while batch := list(islice(numbers, 10_000)):
            documents = [make_document(make_job(i, later + timedelta(seconds=i))) for i in batch]
            store.collection.insert_many(documents, ordered=False)

    def _time(self, name: str) -> None:
        method = getattr(self.store, name)

        def timed(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                self.seconds += time.perf_counter() - start

        setattr(self.store, name, timed)

    def make_due(self) -> None:
        past = now() - timedelta(minutes=1)
        jobs = [make_job(i, past + timedelta(microseconds=i)) for i in range(self.due)]
        documents = [make_document(job) for job in jobs]
        self.store.collection.delete_many({"_id": {"$in": [job.id for job in jobs]}})
        self.store.collection.insert_many(documents, ordered=False)
        self.seconds = 0.0

    def cycle(self) -> None:
        while self.scheduler._process_jobs() == 0:
            pass

    def check(self) -> None:
        """Assert that no job is due any more."""
        assert self.store.collection.count_documents({"next_run_time": {"$lte": time.time()}}) == 0
        self.in_store.append(self.seconds)

    def variant(self) -> Variant:
        return Variant(self.cycle, self.due, before=self.make_due, after=self.check)


class PlainCycle:
    """The lower bound of a cycle: PyMongo alone, with writes that guard against no conflict."""

    def __init__(self, collection: Any, due: int) -> None:
        self.collection = collection
        self.collection.create_index("next_run_time", sparse=True)
        self.due = due

    def make_due(self) -> None:
        self.collection.delete_many({})
        past = now() - timedelta(minutes=1)
        self.collection.insert_many(
            [make_document(make_job(i, past + timedelta(microseconds=i))) for i in range(self.due)]
        )

    def times(self) -> tuple[float, datetime]:
        """Return the present time, and the run time after it."""
        return time.time(), now() + timedelta(hours=1)

    def cycle(self) -> None:
        present, following = self.times()
        documents = self.collection.find(
            {"next_run_time": {"$lte": present}},
            ["job_state"],
            sort=[("next_run_time", 1)],
            batch_size=self.due,
        )
        jobs = []
        for document in documents:
            job = Job.__new__(Job)
            job.__setstate__(pickle.loads(document["job_state"]))
            jobs.append(job)
        assert len(jobs) == self.due
        writes = []
        for job in jobs:
            job.next_run_time = following
            document = make_document(job)
            del document["_id"]
            writes.append(UpdateOne({"_id": job.id}, {"$set": document}))
        self.collection.bulk_write(writes, ordered=False)
        self.collection.find_one(
            {"next_run_time": {"$ne": None}}, ["next_run_time"], sort=[("next_run_time", 1)]
        )

    def variant(self) -> Variant:
        return Variant(self.cycle, self.due, before=self.make_due)


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def values_of(times: list[float], *names: str) -> dict[str, float]:
    return dict(zip(names, times, strict=True))


class Counter(monitoring.CommandListener):
    """Counts commands on jobs, except those named `exclude`."""

    def __init__(self, exclude: str = "") -> None:
        self.count = 0
        self._names = CYCLE_COMMANDS - {exclude}

    def started(self, event: Any) -> None:
        self.count += event.command_name in self._names

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass
