"""The quarantine: keeps documents whose jobs can't be restored or run, out of the schedulers' way.

A document in quarantine has a field ``quarantine: {reason, since, next_run_time}``, and no run
time of its own. All its other fields stay, so a process that can restore the job can put it back.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from apscheduler.job import Job
from pymongo import UpdateOne

from ...base import first_few
from .. import queries
from ..codec import Codec
from ..connection import Connection
from ..counters import Counters
from ..documents import (
    END_OF_TIME,
    FIELDS,
    MIN_TIME,
    REPLACEMENT,
    Document,
    DocumentId,
    IdKey,
    Record,
    UnreadableError,
    hashable_id,
    subdocument,
    to_datetime,
)
from ..history.incidents import Incidents
from ..slow_line.pace import ID_BYTES, split_by_bytes
from ..slow_line.paced import in_parts
from ..slow_line.paged import read_all
from ..slow_line.sizes import bytes_of, id_bytes
from ..summary import Line, Summary, logged_summary
from ..trust.untrusted import UntrustedError
from .guarded import GuardedWrite
from .sending import send

__all__ = ["INVALID_TIME", "MARKED", "RETRIABLE", "Quarantine", "QuarantinedJob", "Restore"]

Restore = Callable[[Record], Job]

MARKED = {"quarantine.since": {"$exists": True}, "next_run_time": None}
# Jobs that are tried again even unnamed. A job that has ended processes might do so again.
RETRIABLE = MARKED | {"quarantine.attempts": None}
NON_TIME_TYPES = ["string", "object", "binData", "objectId", "bool", "date", "regex", "timestamp"]
NON_TIME_TYPES += ["undefined", "dbPointer", "javascript", "symbol", "javascriptWithScope"]
NON_TIME_TYPES += ["minKey", "maxKey"]
# Each clause is a range of the index. Arrays are indexed by their elements, so only an empty array
# has a range of its own.
INVALID_TIME: Document = {
    "$or": [
        {"next_run_time": {"$lt": MIN_TIME}},
        {"next_run_time": {"$gte": END_OF_TIME}},
        {"next_run_time": float("nan")},
        {"next_run_time": []},
        {"next_run_time": {"$type": NON_TIME_TYPES}},
    ]
}
PASSED_OVER = Line(
    logging.ERROR,
    'Unable to restore job "%s" -- passing it over: %s',
    "Unable to restore %s jobs (%s) -- passing them over: %s",
)
QUARANTINED = Line(
    logging.ERROR,
    'Unable to restore job "%s" -- quarantining it: %s',
    "Unable to restore %s jobs (%s) -- quarantining them: %s",
)
REMOVED = Line(
    logging.ERROR,
    'Unable to restore job "%s" -- removing it: %s',
    "Unable to restore %s jobs (%s) -- removing them: %s",
)


class QuarantinedJob(NamedTuple):
    """A job in quarantine: kept, and not run.

    :ivar id: the document's `_id`.
    :ivar reason: the error that restoring the job raised, or another reason.
    :ivar since: when the job was put into quarantine, by the server's clock.
    :ivar next_run_time: when the job was due; None if its document had no valid time.
    """

    id: DocumentId
    reason: str
    since: datetime
    next_run_time: datetime | None


class PassedOver(NamedTuple):
    """A document whose job can't be restored here, and which is not in quarantine.

    :ivar run_time: when the job is due, as the document says. The entry no longer holds once the
        document has another run time.
    :ivar is_unmarked: whether an attempt to put the document into quarantine failed.
    """

    run_time: Any
    is_unmarked: bool = False


class Quarantine:
    """Puts documents into quarantine, lists them, and puts back the jobs that can be restored.

    :param remove: whether to remove documents instead, as ``unreadable="remove"`` wants.
    :ivar last_change: a new object each time that this one writes documents.
    :ivar passed_over: the documents whose jobs can't be restored here, and which are not in
        quarantine, by the keys of their ids. The scheduler does not wake up for them.
    """

    def __init__(
        self,
        connection: Connection,
        codec: Codec,
        remove: bool,
        counters: Counters,
        incidents: Incidents,
    ) -> None:
        self._connection, self._codec = connection, codec
        self._counters, self._incidents = counters, incidents
        self._remove = remove
        self.last_change = object()
        self.passed_over: dict[IdKey, PassedOver] = {}
        self.logger = logging.getLogger(__name__)

    def read(self, document: Document, restore: Restore, lines: Summary) -> Job | None:
        """Restore a document's job, in quarantine or not; None if that can't be done.

        A job that can't be restored is passed over: the scheduler does not wake up for it. That is
        logged once for each run time of the document.

        :param restore: makes the job of a record, or raises `UnreadableError`.
        :param lines: collects the log lines.
        """
        record, mark = Record.of(document), document.get("quarantine")
        if record.run_time is None and isinstance(mark, dict):
            record = record._replace(run_time=mark.get("next_run_time"))
        try:
            return restore(record)
        except UnreadableError as reason:
            key, new = hashable_id(record.id), PassedOver(record.run_time)
            known = self.passed_over.setdefault(key, new)  # a cycle's `put` may set it meanwhile
            if known.run_time != record.run_time:
                self.passed_over[key] = known._replace(run_time=record.run_time)
            if known is new or known.run_time != record.run_time:
                lines.add(PASSED_OVER, record.id, reason)
            return None

    @property
    def unmarked(self) -> int:
        """The number of documents that can't be quarantined, and stay in front of the due jobs."""
        return sum(each.is_unmarked for each in list(self.passed_over.values()))

    def is_unmarked(self, job_id: DocumentId) -> bool:
        """Whether an attempt to put a document into quarantine failed."""
        known = self.passed_over.get(hashable_id(job_id)) if self.passed_over else None
        return known is not None and known.is_unmarked

    def forget(self, job_id: DocumentId) -> None:
        """Stop passing a document over, as it is about to be written."""
        if self.passed_over:  # else making a key of the id would be wasted time
            self.passed_over.pop(hashable_id(job_id), None)

    def forget_all(self) -> None:
        """Stop passing documents over."""
        self.passed_over.clear()

    def write_for(self, record: Record, reason: str, run_time: Any, **more: Any) -> GuardedWrite:
        """Return the write that quarantines a document, also with ``"remove"``; reports that.

        :param run_time: the run time that the mark keeps, in seconds since the epoch.
        :param more: other fields of the mark.
        """
        if not self.is_unmarked(record.id):  # else it is reported already
            self._counters.quarantined += 1
            self._incidents.add("quarantined", record.id, run_time, detail=reason)
        mark = {"reason": reason, "next_run_time": run_time, **more}
        return GuardedWrite(record, None, None, mark)

    def quarantine_culprits(self, culprits: list[Record]) -> None:
        """Quarantine jobs that ended their process 3 times, also with ``"remove"``.

        They stay until `put_back` is called with their ids.
        """
        for record in culprits:  # few, as each has ended processes
            self.logger.error('Job "%s" ended its process 3 times -- quarantining it', record.id)
        reason = "its runs ended the process 3 times"
        self.put([self.write_for(each, reason, each.run_time, attempts=3) for each in culprits])

    def writes_for_unreadable(
        self, unreadable: list[tuple[Record, UnreadableError]]
    ) -> list[GuardedWrite]:
        """Return the writes that quarantine or remove documents, and log the reasons.

        A document that could not be quarantined before is not logged again. A state that may not be
        unpickled is never removed: perhaps this store has the wrong keys.
        """
        writes = []
        with logged_summary(self.logger) as lines:
            for record, reason in unreadable:
                removes = self._remove and not isinstance(reason, UntrustedError)
                if not self.is_unmarked(record.id):
                    lines.add(REMOVED if removes else QUARANTINED, record.id, reason)
                if removes:
                    writes.append(GuardedWrite(record, None, None))
                    self._incidents.add("removed", record.id, record.run_time, detail=reason)
                else:
                    writes.append(self.write_for(record, str(reason), record.run_time))
        return writes

    def put(self, writes: list[GuardedWrite]) -> None:
        """Quarantine or remove documents; 1 command, 2 if some are removed. Logs errors.

        A document that another process has changed since it was read stays as it is. A document
        that can't be marked is passed over in this process.
        """
        self.last_change = object()
        try:
            _, refused = send(self._connection, self._codec, writes)
        except Exception as error:  # the other jobs have to run all the same
            ids = first_few([write.record.id for write in writes])
            self.logger.error("Unable to quarantine %d jobs (%s): %s", len(writes), ids, error)
            refused = [(write, str(error)) for write in writes]
        else:  # an id that is not UTF-8 was read with replacements, so no statement can name it
            refused += [
                (write, "its id") for write in writes if REPLACEMENT in str(write.record.id)
            ]
        for write in writes:
            self.passed_over.pop(hashable_id(write.record.id), None)
        for write, _ in refused:
            self.passed_over[hashable_id(write.record.id)] = PassedOver(write.record.run_time, True)

    def sweep(self) -> None:
        """Quarantine the documents whose run time is no time, as they would never be due; O(k)."""
        found: list[Record] = []
        for batch in read_all(self._connection, INVALID_TIME, FIELDS, found.clear, None):
            found += map(Record.of, batch)
        if found:
            reasons = (
                UnreadableError(f"its next_run_time is {record.run_time!r:.200}")
                for record in found
            )
            self.put(self.writes_for_unreadable(list(zip(found, reasons, strict=True))))

    def list_all(self) -> list[QuarantinedJob]:
        """Read the marks of all k documents in quarantine; O(k)."""
        found: list[QuarantinedJob] = []
        for batch in read_all(self._connection, MARKED, ["quarantine"], found.clear, None):
            found += map(_to_quarantined_job, batch)
        return found

    def put_back(self, restore: Restore, job_ids: Iterable[str] | None = None) -> list[str]:
        """Put jobs that can be restored now back, with their run times; returns their ids.

        Jobs that ended their process have to be named: to restore such a job may end it again.

        :param restore: makes the job of a record, or raises `UnreadableError`.
        :param job_ids: the jobs to try; None tries all others.
        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        filters: list[Document] = [RETRIABLE]
        if job_ids is not None:
            lists = split_by_bytes(list(job_ids), id_bytes, ID_BYTES)
            filters = [MARKED | {"_id": {"$in": some}} for some in lists]
        restored: list[DocumentId] = []
        for each in filters:
            # If the reading restarts after a time-out, it does not find jobs that are back already.
            for batch in read_all(self._connection, each, FIELDS, lambda: None, None):
                found = [_restoration(document, restore) for document in batch]
                restored += self._write_back([each for each in found if each])
        return restored

    def _write_back(self, restorations: list["Restoration"]) -> list[DocumentId]:
        """Write, and return the ids of the jobs that are back; 2 commands, if there are any."""
        if not restorations:
            return []

        def act(some: list[Restoration], in_doubt: bool) -> list[DocumentId]:
            with self._connection.session() as session:
                writes = [each.write for each in some]
                self._connection.jobs.bulk_write(writes, ordered=False, session=session)
            ids = [each.id for each in some]
            return queries.stored_ids(self._connection, ids, {"quarantine": {"$exists": False}})

        writing = self._connection.writing
        try:
            written = in_parts(self._connection, writing, restorations, lambda each: each.size, act)
            restored = list(chain.from_iterable(written))
        finally:
            self.last_change = object()
        for job_id in restored:
            self._incidents.add("changed", job_id, detail="back from quarantine")
        if restored:
            self.logger.info(
                "%d jobs load again (%s) -- they are back from quarantine",
                len(restored),
                first_few(restored),
            )
        return restored


class Restoration(NamedTuple):
    """The guarded write that gives a document its run time back, and the document's bytes."""

    id: str
    write: UpdateOne
    size: int


def _restoration(document: Document, restore: Restore) -> Restoration | None:
    """Return the write that takes a document out of quarantine; None if its job can't be made."""
    record, mark = Record.of(document), document["quarantine"]
    run_time = subdocument(document, "quarantine").get("next_run_time")
    try:
        job = restore(record._replace(run_time=run_time))
    except UnreadableError:
        return None
    write = UpdateOne(
        {"_id": record.id, "next_run_time": None, "job_state": record.state, "quarantine": mark},
        {"$set": {"next_run_time": run_time}, "$unset": {"quarantine": ""}},
    )
    return Restoration(job.id, write, bytes_of([document]))


def _to_quarantined_job(document: Document) -> QuarantinedJob:
    mark = subdocument(document, "quarantine")
    since: Any = mark.get("since")  # a time, unless others have written it
    return QuarantinedJob(
        document["_id"],
        str(mark.get("reason")),
        since,
        _datetime(mark.get("next_run_time")),
    )


def _datetime(value: object) -> datetime | None:
    try:
        return to_datetime(value)
    except UnreadableError:
        return None
