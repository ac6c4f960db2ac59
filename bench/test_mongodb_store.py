"""The MongoDB store against the stock one, and against what the driver can do at best."""

import pickle
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

import pytest
from apscheduler.job import Job
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from apscheduler.triggers.interval import IntervalTrigger
from apscheduler.util import datetime_to_utc_timestamp
from conftest import Side
from delay import Delay
from pymongo import MongoClient, UpdateOne
from schedulers import ManualScheduler, started

import jobstore
from jobstore.testing import Server, mongod

TABLE = "MongoDB, a one-node replica set on the loopback interface, majority"
CYCLE = "get_due_jobs", "update_job", "get_next_run_time"
MAKER = ManualScheduler(timezone=timezone.utc)
HOUR = IntervalTrigger(hours=1, start_date=datetime(2020, 1, 1), timezone=timezone.utc)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with mongod() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](server.uri) as client:
        yield client
        for name in client.list_database_names():
            if name.startswith("bench"):
                client.drop_database(name)


def make_job(number: int, run_time: datetime) -> Job:
    """A job whose document's state has about 400 bytes."""
    return Job(
        MAKER,
        id=f"job-{number:08d}",
        func=int,
        trigger=HOUR,
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


class CycleSide:
    """A scheduler on a store, in whose collection `due` jobs are made due before each round."""

    def __init__(self, store: Any, due: int, others: int = 0) -> None:
        self.store = store
        self.due = due
        self.scheduler = started(store)
        self.in_store: list[float] = []  # seconds, of each round
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
        """Every job was run, and none is due any more."""
        assert self.store.collection.count_documents({"next_run_time": {"$lte": time.time()}}) == 0
        self.in_store.append(self.seconds)

    def side(self) -> Side:
        return Side(self.cycle, self.due, before=self.make_due, after=self.check)


class PlainWay:
    """What a cycle costs at least, done straight with the driver, and without a guard."""

    def __init__(self, client: MongoClient[dict[str, Any]], due: int) -> None:
        self.collection = client["bench"]["plain"]
        self.collection.create_index("next_run_time", sparse=True)
        self.due = due

    def make_due(self) -> None:
        self.collection.delete_many({})
        past = now() - timedelta(minutes=1)
        self.collection.insert_many(
            [make_document(make_job(i, past + timedelta(microseconds=i))) for i in range(self.due)]
        )

    def cycle(self) -> None:
        documents = self.collection.find(
            {"next_run_time": {"$lte": time.time()}},
            ["job_state"],
            sort=[("next_run_time", 1)],
            batch_size=self.due,
        )
        jobs = []
        for document in documents:
            job = Job.__new__(Job)
            job.__setstate__(pickle.loads(document["job_state"]))
            jobs.append(job)
        following = now() + timedelta(hours=1)
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

    def side(self) -> Side:
        return Side(self.cycle, self.due, before=self.make_due)


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def ours(client: MongoClient[dict[str, Any]], collection: str = "ours") -> Any:
    return jobstore.MongoDBJobStore("bench", collection, client=client)


def stock(client: MongoClient[dict[str, Any]]) -> Any:
    return StockMongoDBJobStore("bench", "stock", client=client)


def test_cycle_against_stock(measure: Any, report: Any, client: Any) -> None:
    our_time, stock_time = measure(
        CycleSide(ours(client), 2_000).side(), CycleSide(stock(client), 2_000).side(), rounds=7
    )
    ratio = stock_time / our_time
    report(TABLE, "full cycle, 2,000 due: stock / ours", our_time, stock_time, ratio, 10)


def test_cycle_against_stock_unacknowledged(
    measure: Any, report: Any, client: Any, server: Server
) -> None:
    """As the stock store is by default: it waits for one node's memory only."""
    with MongoClient[dict[str, Any]](server.uri, w=1) as weaker:
        our_time, stock_time = measure(
            CycleSide(ours(client), 2_000).side(), CycleSide(stock(weaker), 2_000).side(), rounds=7
        )
    ratio = stock_time / our_time
    report(TABLE, "the same, the stock store with its w=1", our_time, stock_time, ratio)


def test_store_part_against_the_plain_way(measure: Any, report: Any, client: Any) -> None:
    side = CycleSide(ours(client), 2_000)
    _, plain = measure(side.side(), PlainWay(client, 2_000).side(), rounds=41)
    our_time = median(side.in_store[1:]) / 2_000 * 1e6
    row = "the store's part of it: ours / plain, unguarded"
    report(TABLE, row, our_time, plain, our_time / plain, 1.0, at_most=True)


@pytest.mark.parametrize("rival", ["stock", "plain"])
def test_add_jobs(measure: Any, report: Any, client: Any, rival: str) -> None:
    count = 10_000
    jobs = [make_job(i, now() + timedelta(seconds=i)) for i in range(count)]
    our_store, stock_store = ours(client), stock(client)
    our_store.start(None, "default")
    plain = client["bench"]["plain"]
    plain.create_index("next_run_time", sparse=True)

    def loop() -> None:
        for job in jobs:
            stock_store.add_job(job)

    def insert() -> None:
        plain.insert_many([make_document(job) for job in jobs], ordered=False)

    def empty() -> None:
        plain.delete_many({})

    sides = {
        "stock": Side(loop, count, before=stock_store.remove_all_jobs),
        "plain": Side(insert, count, before=empty),
    }
    our_side = Side(lambda: our_store.add_jobs(jobs), count, before=our_store.remove_all_jobs)
    our_time, time_ = measure(our_side, sides[rival], rounds={"stock": 3, "plain": 21}[rival])
    if rival == "stock":
        row = "add_jobs of 10,000: stock's loop / ours"
        report(TABLE, row, our_time, time_, time_ / our_time, 25)
    else:
        row = "add_jobs of 10,000: ours / plain insert_many"
        report(TABLE, row, our_time, time_, our_time / time_, 1.25, at_most=True)


def test_cycle_over_a_distance(measure: Any, report: Any, client: Any, server: Server) -> None:
    delay = Delay(server.nodes[0].port, 0.005)
    with MongoClient[dict[str, Any]](delay.uri) as far:
        near_ours, near_stock = ours(far), stock(far)
        our_time, stock_time = measure(
            CycleSide(near_ours, 1_000).side(), CycleSide(near_stock, 1_000).side(), rounds=3
        )
    delay.close()
    row = "full cycle, 1,000 due, 5 ms away: stock / ours"
    report(TABLE, row, our_time, stock_time, stock_time / our_time, 50)


def test_a_million_jobs(measure: Any, report: Any, client: Any) -> None:
    many = CycleSide(ours(client, "many"), 1_000, others=999_000)
    few = CycleSide(ours(client, "few"), 1_000, others=9_000)
    many_time, few_time = measure(many.side(), few.side(), rounds=21)
    row = "1,000 due of 1,000,000 jobs / of 10,000"
    report(TABLE, row, many_time, few_time, many_time / few_time, 1.5, at_most=True)


def test_a_herd(measure: Any, report: Any, client: Any) -> None:
    herd = CycleSide(ours(client, "herd"), 100_000)
    few = CycleSide(ours(client, "few"), 1_000)
    few_side = few.side()
    few_side.repeat = 7
    herd_time, few_time = measure(herd.side(), few_side, rounds=5)
    row = "100,000 due at once / 1,000 due, per job"
    report(TABLE, row, herd_time, few_time, herd_time / few_time, 1.3, at_most=True)
