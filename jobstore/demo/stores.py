"""The stores that the demo can compare, each with its stock counterpart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore

from ..memory import MemoryJobStore

if TYPE_CHECKING:
    from apscheduler.job import Job
    from apscheduler.jobstores.base import BaseJobStore

__all__ = ["KINDS", "Kind"]


class Kind(ABC):
    """One kind of store, as both sides of the demo have it.

    :cvar jobs: how many jobs make a good demo.
    :cvar seconds_per_job: what `refill` takes, roughly.
    :cvar in_memory: whether the store keeps the jobs in the process's memory.
    :cvar note: what the table is to say about it.
    """

    jobs: int
    seconds_per_job: float
    in_memory: bool
    note = ""

    def server(self) -> AbstractContextManager[str]:
        """Start what both sides need; yields where it is."""
        return nullcontext("")

    @abstractmethod
    def make(self, side: str, where: str) -> BaseJobStore:
        """Make an empty store of the side "ours" or "stock"."""

    @abstractmethod
    def refill(self, store: Any, jobs: Sequence[Job]) -> None:
        """Replace all that the store holds by these jobs, in their order, which is that of time."""


class Memory(Kind):
    """In order of time, either memory store is quick."""

    jobs = 100_000
    seconds_per_job = 15e-6
    in_memory = True

    def make(self, side: str, where: str) -> BaseJobStore:
        """Make an empty store."""
        return MemoryJobStore() if side == "ours" else StockMemoryJobStore()

    def refill(self, store: Any, jobs: Sequence[Job]) -> None:
        """Add them one by one."""
        store.remove_all_jobs()
        for job in jobs:
            store.add_job(job)


class MongoDB(Kind):
    """On a throw-away server, or the one of ``$JOBSTORE_MONGODB_URI``."""

    jobs = 20_000
    seconds_per_job = 100e-6
    in_memory = False
    note = """
A write waits for the majority of nodes and their journals: on the stock
side by w="majority", as its own default is w=1, one node's memory."""

    @contextmanager
    def server(self) -> Iterator[str]:
        """Start a mongod."""
        from ..testing import mongod

        with mongod() as server:
            yield server.uri

    def make(self, side: str, where: str) -> BaseJobStore:
        """Make a store on a collection that is empty."""
        from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore

        from ..mongodb import MongoDBJobStore

        store: BaseJobStore
        if side == "ours":
            store = MongoDBJobStore("jobstore_demo", side, host=where)
        else:
            store = StockMongoDBJobStore("jobstore_demo", side, host=where, w="majority")
        store.remove_all_jobs()
        return store

    def refill(self, store: Any, jobs: Sequence[Job]) -> None:
        """Insert their documents, which are the same on both sides."""
        from ..mongodb.documents import to_document

        store.collection.delete_many({})
        store.collection.insert_many(
            [to_document(job, store.pickle_protocol) for job in jobs], ordered=False
        )


KINDS: dict[str, Kind] = {"memory": Memory(), "mongodb": MongoDB()}
