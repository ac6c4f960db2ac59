"""The stores that the demo compares with their stock counterparts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore

from ..memory import MemoryJobStore
from .plan import SideName, StoreName

if TYPE_CHECKING:
    from apscheduler.job import Job
    from apscheduler.jobstores.base import BaseJobStore

__all__ = ["KINDS", "Kind"]


class Kind(ABC):
    """A kind of store that both sides of the demo have.

    :cvar jobs: the default number of jobs.
    :cvar seconds_per_job: the rough time of `refill`.
    :cvar in_memory: whether the store keeps the jobs in the process's memory.
    :cvar note: a text about it under the table.
    """

    jobs: int
    seconds_per_job: float
    in_memory: bool
    note = ""

    def server(self) -> AbstractContextManager[str]:
        """Start the server that both sides need, if any; yield its URI, or an empty text."""
        return nullcontext("")

    @abstractmethod
    def make(self, side: SideName, where: str) -> BaseJobStore:
        """Make an empty store."""

    @abstractmethod
    def refill(self, store: BaseJobStore, jobs: Sequence[Job]) -> None:
        """Replace the content of the store by these jobs, which are in order of time."""


class Memory(Kind):
    """Memory stores: either one is fast at adding jobs in order of time."""

    jobs = 100_000
    seconds_per_job = 15e-6
    in_memory = True

    def make(self, side: SideName, where: str) -> BaseJobStore:
        """Make an empty store."""
        return MemoryJobStore() if side == "ours" else StockMemoryJobStore()

    def refill(self, store: BaseJobStore, jobs: Sequence[Job]) -> None:
        """Add the jobs one by one."""
        store.remove_all_jobs()
        for job in jobs:
            store.add_job(job)


class MongoDB(Kind):
    """MongoDB stores, on a throw-away server or the one at ``$JOBSTORE_MONGODB_URI``."""

    jobs = 20_000
    seconds_per_job = 100e-6
    in_memory = False
    note = """
A write waits for the majority of nodes and their journals.
The stock side has w="majority" for that; its default, w=1,
waits for one node's memory."""

    @contextmanager
    def server(self) -> Iterator[str]:
        """Start a mongod."""
        from ..testing import mongod

        with mongod() as server:
            yield server.uri

    def make(self, side: SideName, where: str) -> BaseJobStore:
        """Make a store on an empty collection."""
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
        """Insert the jobs' documents, which are the same on both sides."""
        from ..mongodb.codec import Codec

        store.collection.delete_many({})
        store.collection.insert_many(
            map(Codec(store.pickle_protocol).to_document, jobs), ordered=False
        )


KINDS: dict[StoreName, Kind] = {"memory": Memory(), "mongodb": MongoDB()}
