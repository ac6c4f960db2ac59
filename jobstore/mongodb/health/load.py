"""The load of a collection now: its schedulers, and the jobs that wait or are leased."""

from typing import NamedTuple

from pymongo import ASCENDING

from ..connection import Connection
from ..documents import MIN_TIME, Document
from ..inspection import Inspection
from ..presence.scheduler import Scheduler, read_schedulers
from .backlog import MOST_COUNTED, read_backlog, server_time

__all__ = ["Load", "load"]


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
    """Read the load, by the server's clock; 5 or 6 commands, with bounded numbers of documents.

    :raises pymongo.errors.PyMongoError: if the server can't be reached, or refuses.
    """
    connection = store._connection
    schedulers = read_schedulers(connection)
    is_shared = any(each.alive and each.shares for each in schedulers)
    now = server_time(connection)
    leased = count_leased(connection, now) if is_shared else 0
    return Load(schedulers, *read_backlog(connection, now), leased)


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
    with connection.limit():
        return sum(int(each["leased"]) for each in connection.jobs.aggregate(pipeline))
