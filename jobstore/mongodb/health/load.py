"""The load of a collection now: its schedulers, and the jobs that wait or are leased."""

import time
from typing import NamedTuple

from pymongo import ASCENDING

from ..connection import Connection
from ..documents import MIN_TIME, Document
from ..inspection import Inspection
from ..presence.scheduler import Scheduler, read_schedulers
from ..writes.quarantine import MARKED

__all__ = ["MOST_COUNTED", "Load", "load"]

OVERDUE_SECONDS = 1.0  # a job may be so late before it counts
MOST_COUNTED = 10_000


class Load(NamedTuple):
    """The load of a collection.

    :ivar schedulers: all that have a presence, also those that ended uncleanly.
    :ivar overdue: the jobs whose run time is over by more than 1 s; 10,000 at most.
    :ivar oldest_overdue: the seconds since the earliest of their run times; None if there are none.
    :ivar quarantined: the jobs in quarantine; 10,000 at most.
    :ivar leased: the jobs that schedulers have claimed, among the first 10,000 that are due.
    """

    schedulers: list[Scheduler]
    overdue: int
    oldest_overdue: float | None
    quarantined: int
    leased: int


def load(store: Inspection) -> Load:
    """Read the load; 4 or 5 commands, each with a bounded number of documents.

    :raises pymongo.errors.PyMongoError: if the server can't be reached, or refuses.
    """
    connection = store._connection
    schedulers = read_schedulers(connection)
    jobs, now = connection.jobs, time.time()
    late: Document = {"next_run_time": {"$gte": MIN_TIME, "$lt": now - OVERDUE_SECONDS}}
    with connection.limit():
        first = jobs.find_one(late, ["next_run_time"], sort=[("next_run_time", ASCENDING)])
        overdue = jobs.count_documents(late, limit=MOST_COUNTED) if first else 0
        quarantined = jobs.count_documents(MARKED, limit=MOST_COUNTED)
        is_shared = any(each.alive and each.shares for each in schedulers)
        leased = count_leased(connection, now) if is_shared else 0
    oldest = now - first["next_run_time"] if first else None
    return Load(schedulers, overdue, oldest, quarantined, leased)


def count_leased(connection: Connection, now: float) -> int:
    """Count the leased jobs among the first that are due: no index covers the leases."""
    pipeline: list[Document] = [
        {"$match": {"next_run_time": {"$gte": MIN_TIME, "$lte": now}}},
        {"$sort": {"next_run_time": ASCENDING}},
        {"$limit": MOST_COUNTED},
        {"$match": {"acquired_until": {"$type": "date"}}},
        {"$match": {"$expr": {"$gt": ["$acquired_until", "$$NOW"]}}},
        {"$count": "leased"},
    ]
    return sum(int(each["leased"]) for each in connection.jobs.aggregate(pipeline))
