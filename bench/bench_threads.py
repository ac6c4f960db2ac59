"""The index in two threads at once: only where threads run at once, on a free-threaded CPython."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timezone
from functools import partial
from typing import Any

import pytest
from measure import Variant
from variants import Jobs

from jobstore._index_c import JobIndex

TABLE = "Two threads without the GIL: times the throughput of one thread"
JOBS = 10_000
PASSES = {"get": 50, "update": 4}  # over all jobs: a thread is at work for tens of milliseconds
ROUNDS = 51


class Worker:
    """A thread that makes its own jobs and ids: a thread counts references to its own fastest."""

    def __init__(self, name: str) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.pool.submit(self.make, name).result()

    def make(self, name: str) -> None:
        maker = Jobs(timezone.utc)
        self.versions = [maker.make(JOBS, name), maker.make(JOBS, name)]
        self.ids = [job.id for job in self.versions[0]]
        self.index: JobIndex[Any] = JobIndex()
        self.index.add_many(self.versions[0])

    def work(self, operation: str, index: JobIndex[Any]) -> None:
        call = index.get if operation == "get" else index.replace  # bound: no shared reference
        for number in range(PASSES[operation]):
            for each in self.ids if operation == "get" else self.versions[(number + 1) % 2]:
                call(each)

    def start(self, operation: str, index: JobIndex[Any] | None = None) -> Any:
        return self.pool.submit(self.work, operation, self.index if index is None else index)


@pytest.fixture(scope="module")
def workers() -> Any:
    workers = [Worker("first"), Worker("second")]
    yield workers
    for worker in workers:
        worker.pool.shutdown()


def variants_of(operation: str, starts: dict[str, list[Callable[[], Any]]]) -> list[Variant]:
    def run(starts: list[Callable[[], Any]]) -> None:
        for done in wait([start() for start in starts]).done:
            done.result()

    return [
        Variant(partial(run, each), PASSES[operation] * JOBS * len(each))
        for each in starts.values()
    ]


@pytest.mark.check
@pytest.mark.parametrize("operation", PASSES)
def test_own_indexes(measure: Any, report: Any, workers: Any, operation: str) -> None:
    one, two = (partial(worker.start, operation) for worker in workers)
    starts = {"one thread": [one], "two threads": [one, two]}
    values = dict(zip(starts, measure(*variants_of(operation, starts), rounds=ROUNDS), strict=True))
    report(TABLE, f"{operation}, own indexes", values, "one thread / two threads", target=1.5)


@pytest.mark.parametrize("operation", PASSES)
def test_one_index(measure: Any, report: Any, workers: Any, operation: str) -> None:
    index: JobIndex[Any] = JobIndex()
    for worker in workers:
        index.add_many(worker.versions[0])
    one, two = (partial(worker.start, operation, index) for worker in workers)
    starts = {"one thread": [one], "two threads": [one, two]}
    values = dict(zip(starts, measure(*variants_of(operation, starts), rounds=ROUNDS), strict=True))
    report(TABLE, f"{operation}, one index", values, "one thread / two threads")
