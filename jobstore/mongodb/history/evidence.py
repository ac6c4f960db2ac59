"""Reads the evidence about a job at a time; each command is bounded, and none writes."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import OperationFailure

from ...describe import describe
from ...where import check_time, in_utc
from ..connection import UNAUTHORIZED, Connection
from ..documents import Document, DocumentId, exact_str
from ..looking.places import is_storable_id
from ..presence.scheduler import Scheduler, read_schedulers
from .answer import CHANGES, INACTIVE, NEAR, OF_SEVERAL, RUN_KINDS, Evidence
from .fire_times import fire_times, last_due, setting
from .lives import keep_all
from .record import HistoryRecord

__all__ = ["read_evidence"]

STATES = sorted(CHANGES | INACTIVE)  # kinds of records that say what state a job got
A_DAY = timedelta(days=1)
FIRST, LAST = in_utc(datetime.min + A_DAY), in_utc(datetime.max - A_DAY)  # others are around them
MOST_BEFORE = 500  # records of the job up to the moment
MOST_SCANNED = 20_000  # records of the job after the moment
MOST_RUNS = 100  # records of runs near the moment
MOST_INCIDENTS = 1000  # records of schedulers, before the moment and after it
CLOCKS = timedelta(seconds=10)  # by which the schedulers' clocks may differ from the run times


def read_evidence(connection: Connection, job_id: DocumentId, at: datetime | None) -> Evidence:
    """Read the evidence about a job around a time; about 10 commands.

    :param at: None for the last run time that is over.
    :raises TypeError: if the id is None, or `at` is neither a `datetime` nor None.
    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    check_time("at", at)
    if job_id is None:
        raise TypeError("job_id is None: it must be the id of a job")
    now = datetime.now(timezone.utc)
    if not is_storable_id(job_id):
        return Evidence(job_id, in_utc(at or now), now, connection.jobs.name)
    document = read_document(connection, job_id)
    now = datetime.now(timezone.utc)  # not before: the document has the next run time after it
    job = describe(document) if document else None
    records = Records(connection, exact_str(job_id))
    last = records.last()
    moment = last_due(job, document, last, now) if at is None else in_utc(at)
    moment = min(max(moment, FIRST), LAST).astimezone(timezone.utc)
    incidents = records.incidents(moment)
    before = [*records.before(moment), *incidents]
    change, ran_since = state_at(moment, before)
    next_set = setting(moment, before)
    following = next_change(moment, [*records.next_change(moment), *incidents])
    present, runs = schedulers(connection), records.runs(moment)
    return Evidence(
        job_id=job_id,
        at=moment,
        now=now,
        collection=connection.jobs.name,
        job=job,
        times=fire_times(job, document, moment, now, [next_set, following]),
        runs=runs,
        later=records.later(moment, runs),
        change=change,
        ran_since=ran_since,
        next_set=next_set,
        next_change=following,
        last=last,
        incidents=incidents,
        has_all_incidents=records.has_all_incidents,
        schedulers=present,
        begins=records.begin(),
        keeps_all=keep_all(incidents, present or (), moment),
        is_readable=records.is_readable,
    )


def read_document(connection: Connection, job_id: DocumentId) -> Document | None:
    """Read a job's document, None if there is none."""
    with connection.limit():
        return connection.jobs.find_one({"_id": {"$eq": exact_str(job_id)}})


def state_at(at: datetime, records: list[HistoryRecord]) -> tuple[HistoryRecord | None, bool]:
    """Return the last change up to a moment, and whether the job had a run after it.

    :param records: of the job, and of schedulers, which may have removed all jobs.
    """
    changes = [each for each in records if each.kind in STATES and each.at <= at]
    change = max(changes, key=lambda each: each.at, default=None)
    runs = [each.run_time for each in records if each.kind in RUN_KINDS and each.run_time]
    return change, any(
        run_time < at and (change is None or change.at < run_time) for run_time in runs
    )


def next_change(at: datetime, records: list[HistoryRecord]) -> HistoryRecord | None:
    """Return the first change after a moment.

    :param records: of the job, and of schedulers, which may have removed all jobs.
    """
    changes = [each for each in records if each.kind in STATES and each.at > at]
    return min(changes, key=lambda each: each.at, default=None)


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
    :ivar has_all_incidents: whether the last answer of `incidents` had all of them.
    """

    def __init__(self, connection: Connection, job_id: DocumentId) -> None:
        self._connection = connection
        self._job = {"$eq": job_id}
        self.is_readable = self.has_all_incidents = True

    def last(self) -> HistoryRecord | None:
        """Return the job's last record."""
        return next(iter(self._find({"job": self._job}, DESCENDING, 1)), None)

    def before(self, at: datetime) -> Sequence[HistoryRecord]:
        """Return the job's last records up to a moment, the latest first.

        A change before all of these does not matter: the job has run since.
        """
        return self._find({"job": self._job, "time": {"$lte": at}}, DESCENDING, MOST_BEFORE)

    def runs(self, at: datetime) -> tuple[HistoryRecord, ...]:
        """Return the records of the runs nearest to the moment, or of several runs around it."""
        near = {"$gt": at - NEAR, "$lt": at + NEAR}
        condition = {
            "$or": [
                {"run_time": near, "kind": {"$in": sorted(RUN_KINDS)}},
                {"run_time": {"$lte": at + NEAR}, "kind": {"$in": OF_SEVERAL}},
            ]
        }
        found = self._scan(at - NEAR - CLOCKS, condition, MOST_RUNS, by_distance(at))
        return tuple(sorted(found, key=lambda each: each.at))

    def later(self, at: datetime, runs: Sequence[HistoryRecord]) -> tuple[HistoryRecord, ...]:
        """Return the records of the runs into which others were rolled; 1 command, or none."""
        times = [each.until for each in runs if each.kind == "coalesced" and each.until]
        condition = {"run_time": {"$in": times}, "kind": {"$in": sorted(RUN_KINDS)}}
        return tuple(self._scan(at - CLOCKS, condition, MOST_RUNS)) if times else ()

    def next_change(self, at: datetime) -> Sequence[HistoryRecord]:
        """Return the job's first record after a moment that says what state it got."""
        return self._scan(at, {"kind": {"$in": STATES}}, 1)

    def incidents(self, at: datetime) -> tuple[HistoryRecord, ...]:
        """Return the schedulers' last records before a moment, and the first ones after it."""
        before = self._find({"job": None, "time": {"$lte": at}}, DESCENDING, MOST_INCIDENTS)
        after = self._find({"job": None, "time": {"$gt": at}}, ASCENDING, MOST_INCIDENTS)
        self.has_all_incidents = max(len(before), len(after)) < MOST_INCIDENTS
        return (*reversed(before), *after)

    def begin(self) -> datetime | None:
        """Return the time of the oldest record; None if there is none."""
        oldest = self._find({}, ASCENDING, 1)
        return oldest[0].at if oldest else None

    def _find(self, query: Document, order: int, limit: int) -> Sequence[HistoryRecord]:
        return self._read([{"$match": query}, {"$sort": {"time": order}}, {"$limit": limit}])

    def _scan(
        self, after: datetime, condition: Document, limit: int, order: Sequence[Document] = ()
    ) -> Sequence[HistoryRecord]:
        """Return the job's first records after a moment that meet a condition.

        The condition is no part of an index, so the number of records to look at is bounded.

        :param order: stages that sort the records otherwise than by their time.
        """
        query = {"job": self._job, "time": {"$gt": after}}
        stages: list[Document] = [{"$match": query}, {"$sort": {"time": 1}}]
        stages += [{"$limit": MOST_SCANNED}, {"$match": condition}, *order, {"$limit": limit}]
        return self._read(stages)

    def _read(self, pipeline: list[Document]) -> Sequence[HistoryRecord]:
        if not self.is_readable:
            return []
        try:
            with self._connection.limit():
                found = list(self._connection.runs.aggregate(pipeline))
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            self.is_readable = False
            return []
        return list(map(HistoryRecord.of, found))


def by_distance(at: datetime) -> list[Document]:
    """Return the stages that sort records by the distance of their runs from a moment."""
    first, last, moment = (in_milliseconds(each) for each in ("$run_time", "$_last", at))
    several = {"$in": ["$kind", OF_SEVERAL]}
    last_run = {"$cond": [several, {"$ifNull": ["$until", "$time"]}, "$run_time"]}
    distance = {"$max": [0, {"$subtract": [first, moment]}, {"$subtract": [moment, last]}]}
    return [
        {"$set": {"_last": last_run}},
        {"$set": {"_distance": distance}},
        {"$sort": {"_distance": 1, "time": 1}},
    ]


def in_milliseconds(value: Any) -> Document:
    """Return an expression for a time, or for any other value that somebody wrote instead."""
    return {"$convert": {"input": value, "to": "long", "onError": 0, "onNull": 0}}
