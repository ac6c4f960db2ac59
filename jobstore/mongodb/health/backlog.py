"""The backlog of a collection: overdue jobs, and those in quarantine, counted up to a bound."""

from datetime import datetime
from typing import NamedTuple

from pymongo import ASCENDING

from ..connection import Connection
from ..documents import MIN_TIME, Document, timestamp
from ..writes.quarantine import MARKED

__all__ = ["MOST_COUNTED", "Backlog", "read_backlog", "server_time"]

OVERDUE_SECONDS = 1.0  # a job may be so late before it counts
MOST_COUNTED = 10_000  # the server counts 1,000,000 in a second, and it may be asked often


class Backlog(NamedTuple):
    """The backlog of a collection.

    :ivar overdue: the jobs whose run time is over by more than 1 s; 10,000 at most.
    :ivar oldest: the seconds since the earliest of their run times; None if there are none.
    :ivar quarantined: the jobs in quarantine; 10,000 at most.
    """

    overdue: int
    oldest: float | None
    quarantined: int


def server_time(connection: Connection) -> float:
    """Return the server's time, in seconds since the epoch; 1 command.

    A machine that only looks may have a wrong clock, and judge the jobs of others by it.

    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    with connection.limit():
        time: datetime = connection.client.admin.command("hello")["localTime"]
    return timestamp(time)


def read_backlog(connection: Connection, now: float) -> Backlog:
    """Read the backlog; 2 or 3 commands.

    :param now: in seconds since the epoch.
    :raises pymongo.errors.PyMongoError: if the server can't be reached, or refuses.
    """
    jobs = connection.jobs
    late: Document = {"next_run_time": {"$gte": MIN_TIME, "$lt": now - OVERDUE_SECONDS}}
    with connection.limit():
        first = jobs.find_one(late, ["next_run_time"], sort=[("next_run_time", ASCENDING)])
        overdue = jobs.count_documents(late, limit=MOST_COUNTED) if first else 0
        quarantined = jobs.count_documents(MARKED, limit=MOST_COUNTED)
    return Backlog(overdue, now - first["next_run_time"] if first else None, quarantined)
