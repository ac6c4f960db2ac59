"""Pages, counts and descriptions of 200,000 jobs, and the price of the texts in a cycle."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from measure import Variant
from mongodb_variants import CycleVariant, make_job, now, values_of

import jobstore
from jobstore import Where
from jobstore.mongodb.codec import Codec

TABLE = "MongoDB: looking at 200,000 jobs; stock: get_all_jobs"
CYCLE = "MongoDB: a cycle of 1,000 due jobs among 10,000, and the texts"
COUNT = 200_000
FUNCS = 1_000
FIRST = datetime(2100, 1, 1, tzinfo=timezone.utc)
MIDDLE = FIRST + timedelta(seconds=COUNT // 2)


def func(number: int) -> str:
    return f"reports:send_{number % FUNCS}"


def fill(store: Any) -> None:
    """Store jobs at different times. Their texts name many functions, none of which exists."""
    codec = Codec(5, lambda job: [f"tag:{job.func_ref}"])
    for start in range(0, COUNT, 10_000):
        documents = []
        for number in range(start, start + 10_000):
            job = make_job(number, FIRST + timedelta(seconds=number))
            job.func_ref = func(number)
            documents.append(codec.to_document(job))
        store.collection.insert_many(documents, ordered=False)


@pytest.fixture(scope="module")
def filled(server: Any) -> Any:
    store = jobstore.MongoDBJobStore("bench_queries", host=server.uri)
    store.start(None, "default")
    fill(store)
    store.create_indexes()
    yield store
    store.client.drop_database("bench_queries")
    store.shutdown()


SEARCHES = {
    "a page by function": Where(func=func(5)),
    "a page by tag": Where(tag=f"tag:{func(5)}"),
    "a page by id": Where(id_prefix="job-0"),
    "a page by due time": Where(due_after=MIDDLE, due_before=MIDDLE + timedelta(hours=1)),
}
LIMITS = {"a page by due time": 50_000}
PAGE_MICROSECONDS = 5_000


@pytest.mark.check
@pytest.mark.parametrize("row", SEARCHES)
def test_pages(measure: Any, report: Any, filled: Any, row: str) -> None:
    """Read the first page of 50, and the one after it, in µs a page."""
    where = SEARCHES[row]

    def pages() -> None:
        first = filled.find(where)
        second = filled.find(where, first[-1])
        assert len(first) == len(second) == 50

    (value,) = measure(Variant(pages, 2), rounds=31)
    limit = LIMITS.get(row, PAGE_MICROSECONDS)
    values = {"ours": value, "allowed": float(limit)}
    report(TABLE, row, values, "ours / allowed", target=1.0, at_most=True)


@pytest.mark.parametrize("row", ["count", "count by function", "describe"])
def test_counts_and_descriptions(measure: Any, report: Any, filled: Any, row: str) -> None:
    calls = {
        "count": lambda: filled.count(),
        "count by function": lambda: filled.count(SEARCHES["a page by function"]),
        "describe": lambda: filled.describe("job-00100000"),
    }
    (value,) = measure(Variant(calls[row], 1), rounds=11)
    report(TABLE, row, {"ours": value}, "ours")


@pytest.mark.full
def test_a_page_against_all_jobs(measure: Any, report: Any, client: Any) -> None:
    """Without pages, whoever looks in has to read all jobs; then their code must be importable."""
    ours = jobstore.MongoDBJobStore("bench", "looking", client=client)
    stock = StockMongoDBJobStore("bench", "looking", client=client)
    jobs = (make_job(number, FIRST + timedelta(seconds=number)) for number in range(COUNT))
    ours.add_jobs(jobs)
    stock.start(None, "default")
    page = Variant(lambda: ours.find(), 1, repeat=5)
    times = measure(page, Variant(stock.get_all_jobs, 1), rounds=3)
    report(TABLE, "a page", values_of(times, "ours", "stock"), "stock / ours", target=100)


class Described(CycleVariant):
    """A cycle whose documents have texts, and perhaps the indexes on them."""

    def __init__(self, client: Any, indexes: bool) -> None:
        store = jobstore.MongoDBJobStore("bench", f"described_{indexes}", client=client)
        super().__init__(store, 1_000, others=9_000)
        if indexes:
            store.create_indexes()

    def make_due(self) -> None:
        past = now() - timedelta(minutes=1)
        jobs = [make_job(i, past + timedelta(microseconds=i)) for i in range(self.due)]
        self.store.add_jobs(jobs, replace_existing=True)
        self.seconds = 0.0


@pytest.mark.check
def test_cycle_with_texts(measure: Any, report: Any, client: Any) -> None:
    store = jobstore.MongoDBJobStore("bench", "plain", client=client)
    plain = CycleVariant(store, 1_000, 9_000)
    described = Described(client, indexes=False)
    times = measure(described.variant(), plain.variant(), rounds=31)
    values = values_of(times, "with texts", "without")
    report(CYCLE, "texts", values, "with texts / without", target=1.1, at_most=True)


@pytest.mark.check
def test_cycle_with_indexes(measure: Any, report: Any, client: Any) -> None:
    indexed, described = Described(client, indexes=True), Described(client, indexes=False)
    times = measure(indexed.variant(), described.variant(), rounds=31)
    values = values_of(times, "three indexes", "without")
    report(CYCLE, "indexes on texts", values, "three indexes / without", target=1.1, at_most=True)
