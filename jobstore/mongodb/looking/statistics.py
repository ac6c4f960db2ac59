"""Counts of jobs by state, function and executor, and the load of the next hour.

The server groups the documents by their field `about`. Documents without one are read, and their
states are interpreted here.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ...describe import about_state
from ...run_times import UnreadableError
from ..connection import Connection
from ..documents import END_OF_TIME, MIN_TIME, Document
from .patience import MANY_SECONDS, patiently

__all__ = ["STATES", "Progress", "Statistics", "statistics"]

Progress = Callable[[int, int], object]
# All counts, in the order in which they are shown; `state` says which one a job has.
STATES = ("scheduled", "overdue", "leased", "paused", "held", "quarantined", "invalid")
MINUTES = 60
NUMBERS = ["double", "int", "long"]
IS_DESCRIBED: Document = {
    "$and": [
        {"$eq": [{"$type": "$about.func"}, "string"]},
        {"$eq": [{"$type": "$about.executor"}, "string"]},
    ]
}


class Statistics(NamedTuple):
    """Counts of the jobs in a collection.

    :ivar at: the time of the counts, by this process's clock.
    :ivar jobs: the number of jobs, with those in quarantine.
    :ivar states: the number of jobs in each state: ``scheduled``, ``overdue``, ``leased``,
        ``paused``, ``held``, ``quarantined``, or ``invalid`` if the run time is no time. Each job
        counts once.
    :ivar funcs: the number of jobs of each function, as ``module:name``, the most frequent first;
        None stands for states that can't be read.
    :ivar executors: the number of jobs of each executor.
    :ivar load: the number of jobs whose next run is in each of the next 60 minutes. Later runs of
        the same jobs don't count.
    """

    at: datetime
    jobs: int
    states: dict[str, int]
    funcs: dict[str | None, int]
    executors: dict[str | None, int]
    load: list[int]


def statistics(connection: Connection, progress: Progress | None) -> Statistics:
    """Count the jobs; 2 commands, and 1 for each 1,000 documents without `about`.

    :param progress: called with the number of documents read so far, and that of all to read.
    """
    now = datetime.now(timezone.utc)
    states: Counter[str] = Counter(dict.fromkeys(STATES, 0))
    funcs: Counter[str | None] = Counter()
    executors: Counter[str | None] = Counter()
    load = [0] * MINUTES
    for group in aggregate(connection, groups(now.timestamp())):
        key, jobs = group["_id"], group["jobs"]
        states[key["state"]] += jobs
        if key["is_described"]:
            funcs[key["func"]] += jobs
            executors[key["executor"]] += jobs
    total = states.total()
    if funcs.total() < total:
        read_undescribed(connection, funcs, executors, total - funcs.total(), progress)
    for minute in aggregate(connection, next_runs(now.timestamp())):
        load[int(minute["_id"])] = minute["jobs"]
    return Statistics(
        now,
        total,
        dict(states),
        dict(funcs.most_common()),
        dict(executors.most_common()),
        load,
    )


def aggregate(connection: Connection, pipeline: list[Document]) -> list[Document]:
    """Run a pipeline, and return its documents."""
    return patiently(
        connection, lambda: list(connection.jobs.aggregate(pipeline, allowDiskUse=True))
    )


def groups(now: float) -> list[Document]:
    """Build the pipeline that counts the jobs by state, function and executor."""
    described = {"is_described": IS_DESCRIBED}
    texts = {
        name: {"$cond": [IS_DESCRIBED, f"$about.{name}", None]} for name in ("func", "executor")
    }
    key = {"state": state(now), **described, **texts}
    return [{"$group": {"_id": key, "jobs": {"$sum": 1}}}]


def state(now: float) -> Document:
    """Build the expression for a job's state."""
    run_time = "$next_run_time"
    untimed = {"$in": [{"$type": run_time}, ["null", "missing"]]}
    valid = {
        "$and": [
            {"$in": [{"$type": run_time}, NUMBERS]},
            {"$gte": [run_time, MIN_TIME]},  # false for NaN, too
            {"$lt": [run_time, END_OF_TIME]},
        ]
    }
    marked = {"$ne": [{"$type": "$quarantine.since"}, "missing"]}
    leased = {
        "$and": [
            {"$eq": [{"$type": "$acquired_until"}, "date"]},
            {"$gt": ["$acquired_until", "$$NOW"]},
        ]
    }
    branches: list[tuple[Any, str]] = [
        ({"$and": [untimed, marked]}, "quarantined"),
        ({"$and": [untimed, {"$eq": [{"$type": "$held"}, "object"]}]}, "held"),
        (untimed, "paused"),
        ({"$not": [valid]}, "invalid"),
        (leased, "leased"),
        ({"$lte": [run_time, now]}, "overdue"),
    ]
    cases = [{"case": case, "then": name} for case, name in branches]
    return {"$switch": {"branches": cases, "default": "scheduled"}}


def next_runs(now: float) -> list[Document]:
    """Build the pipeline that counts the next runs by minute; the index on run times answers."""
    end = now + MINUTES * 60
    run_time = {"$gte": now, "$lt": end, "$type": NUMBERS, "$not": {"$type": "array"}}
    minute = {"$floor": {"$divide": [{"$subtract": ["$next_run_time", now]}, 60]}}
    return [
        {"$match": {"next_run_time": run_time}},
        {"$group": {"_id": {"$min": [minute, MINUTES - 1]}, "jobs": {"$sum": 1}}},
    ]


def read_undescribed(
    connection: Connection,
    funcs: Counter[str | None],
    executors: Counter[str | None],
    total: int,
    progress: Progress | None,
) -> None:
    """Count the jobs whose documents have no `about`, by their states."""
    cursor = connection.jobs.find({"$expr": {"$not": [IS_DESCRIBED]}}, ["job_state"])
    done = 0
    for batch in connection.read_batches(cursor, MANY_SECONDS):
        for document in batch:
            try:
                about = about_state(document.get("job_state", b""))
            except UnreadableError:
                funcs[None] += 1
                executors[None] += 1
            else:
                funcs[about.func] += 1
                executors[about.executor] += 1
        done += len(batch)
        if progress:
            progress(done, max(done, total))
