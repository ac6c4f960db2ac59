"""Reads the evidence about a job at a time; each command is bounded, and none writes."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import OperationFailure

from ...describe import JobInfo, describe, read_job
from ...firing import FireTimes, around, firing
from ...run_times import UnreadableError
from ...where import in_utc
from ..connection import UNAUTHORIZED, Connection
from ..documents import Document, DocumentId, exact_str
from ..looking.places import is_storable_id
from ..presence.scheduler import Scheduler, read_schedulers
from .answer import CHANGES, NEAR, OF_SEVERAL, RUN_KINDS, Evidence
from .record import PROBLEMS, HistoryRecord

__all__ = ["read_evidence"]

STATES = sorted({*CHANGES, "quarantined"})  # kinds of records that say what state a job got
A_DAY = timedelta(days=1)
FIRST, LAST = in_utc(datetime.min + A_DAY), in_utc(datetime.max - A_DAY)  # others are around them
MOST_RUNS = 100  # records of runs near the moment
LATEST = 200  # records of any job, one of which shows whether all are kept
MOST_INCIDENTS = 1000  # records of schedulers, before the moment and after it
CLOCKS = timedelta(seconds=10)  # by which the schedulers' clocks may differ from the run times


def read_evidence(connection: Connection, job_id: DocumentId, at: datetime | None) -> Evidence:
    """Read the evidence about a job around a time; about 12 commands.

    :param at: None for the last run time that is over.
    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    now = datetime.now(timezone.utc)
    if not is_storable_id(job_id):
        return Evidence(job_id, in_utc(at or now), now, connection.jobs.name)
    document = read_document(connection, job_id)
    job = describe(document) if document else None
    records = Records(connection, exact_str(job_id))
    last = records.one({}, DESCENDING)
    moment = last_due(job, document, last, now) if at is None else in_utc(at)
    moment = min(max(moment, FIRST), LAST).astimezone(timezone.utc)
    change = records.change({"$lte": moment}, DESCENDING)
    begins, keeps_all = records.scope()
    return Evidence(
        job_id=job_id,
        at=moment,
        now=now,
        collection=connection.jobs.name,
        job=job,
        times=fire_times(job, document, moment),
        runs=records.runs(moment),
        change=change,
        ran_since=change is not None and records.has_run_between(change.at, moment),
        next_change=records.change({"$gt": moment}, ASCENDING),
        last=last,
        incidents=records.incidents(moment),
        schedulers=schedulers(connection),
        begins=begins,
        keeps_all=keeps_all,
        is_readable=records.is_readable,
    )


def read_document(connection: Connection, job_id: DocumentId) -> Document | None:
    """Read a job's document, None if there is none."""
    with connection.limit():
        return connection.jobs.find_one({"_id": {"$eq": exact_str(job_id)}})


def fire_times(job: JobInfo | None, document: Document | None, at: datetime) -> FireTimes:
    """Compute the fire times around a moment, without a call of the job's code."""
    if job is None or document is None:
        return FireTimes(unknown="the job is not stored")
    try:
        trigger = read_job(job.id, document.get("job_state"))["trigger"]
        return around(firing(trigger, run_time_of(job)), at)
    except UnreadableError as error:
        return FireTimes(unknown=str(error))


def run_time_of(job: JobInfo) -> datetime | None:
    """Return the run time that a job has, or had before it was held or quarantined."""
    return job.next_run_time or job.held or (job.quarantine and job.quarantine.next_run_time)


def last_due(
    job: JobInfo | None, document: Document | None, last: HistoryRecord | None, now: datetime
) -> datetime:
    """Return the last known run time that is over; the present if there is none."""
    times = [fire_times(job, document, now).before]
    if job:
        times.append(run_time_of(job))
    if last:
        times.append(last.run_time)
    return max((time for time in times if time is not None and time <= now), default=now)


def schedulers(connection: Connection) -> tuple[Scheduler, ...] | None:
    """Read the presence of the schedulers; None without the right to."""
    try:
        return tuple(read_schedulers(connection))
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return None


class Records:
    """Reads records of one job, and of its schedulers.

    :ivar is_readable: False after an answer that this user lacks the right to read them.
    """

    def __init__(self, connection: Connection, job_id: DocumentId) -> None:
        self._connection = connection
        self._job_id = job_id
        self.is_readable = True

    def one(self, query: Mapping[str, Any], order: int) -> HistoryRecord | None:
        """Return the first or the last record of the job for which a condition holds."""
        return next(iter(self._find({"job": {"$eq": self._job_id}, **query}, order, 1)), None)

    def change(self, times: Document, order: int) -> HistoryRecord | None:
        """Return the first or the last change of the job's state, or removal of all jobs."""
        found = [
            *self._find(
                {"job": {"$eq": self._job_id}, "kind": {"$in": STATES}, "time": times}, order, 1
            ),
            *self._find({"job": None, "kind": "removed", "time": times}, order, 1),
        ]
        found.sort(key=lambda each: each.at, reverse=order == DESCENDING)
        return found[0] if found else None

    def runs(self, at: datetime) -> tuple[HistoryRecord, ...]:
        """Return the records of the runs near a moment, or rolled into others around it."""
        near = {"$gt": at - NEAR, "$lt": at + NEAR}
        query = {
            "job": {"$eq": self._job_id},
            "time": {"$gt": at - NEAR - CLOCKS},
            "$or": [
                {"run_time": near, "kind": {"$in": sorted(RUN_KINDS)}},
                {"run_time": {"$lte": at + NEAR}, "kind": {"$in": OF_SEVERAL}},
            ],
        }
        return tuple(self._find(query, ASCENDING, MOST_RUNS))

    def has_run_between(self, start: datetime, end: datetime) -> bool:
        """Whether there is a record of a run of the job between two moments."""
        run_time = {"$gt": start, "$lt": end}
        query = {"time": {"$gt": start}, "run_time": run_time, "kind": {"$in": sorted(RUN_KINDS)}}
        return self.one(query, ASCENDING) is not None

    def incidents(self, at: datetime) -> tuple[HistoryRecord, ...]:
        """Return the schedulers' last records before a moment, and the first ones after it."""
        before = self._find({"job": None, "time": {"$lte": at}}, DESCENDING, MOST_INCIDENTS)
        after = self._find({"job": None, "time": {"$gt": at}}, ASCENDING, MOST_INCIDENTS)
        return (*reversed(before), *after)

    def scope(self) -> tuple[datetime | None, bool]:
        """Return the time of the oldest record, and whether runs that went well have records."""
        oldest, latest = self._find({}, ASCENDING, 1), self._find({}, DESCENDING, LATEST)
        keeps_all = any(each.kind not in PROBLEMS for each in latest)
        return (oldest[0].at if oldest else None), keeps_all

    def _find(self, query: Document, order: int, limit: int) -> Sequence[HistoryRecord]:
        if not self.is_readable:
            return []
        by_time = [("time", order)]
        try:
            with self._connection.limit():
                found = list(self._connection.runs.find(query, sort=by_time, limit=limit))
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            self.is_readable = False
            return []
        return list(map(HistoryRecord.of, found))
