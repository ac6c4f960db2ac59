"""The quarantine: documents whose jobs can't be made, or not run, here; nothing is deleted.

A document is in quarantine if it has a field ``quarantine: {reason, since, next_run_time}`` and
no run time of its own. It keeps all else, so whoever can make its job can put it back.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler
from pymongo import UpdateOne

from ...base import first_few
from .. import queries
from ..connection import Connection
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
    restore,
    to_datetime,
)
from ..slow_line.pace import ID_BYTES, split_by_bytes
from ..slow_line.paced import in_parts
from ..slow_line.paged import read_all
from ..slow_line.sizes import bytes_of, id_bytes
from ..summary import Line, Summary, logged_summary
from .guarded import GuardedWrite
from .sending import send

__all__ = ["RETRIED", "Quarantine", "QuarantinedJob"]

MARKED = {"quarantine.since": {"$exists": True}, "next_run_time": None}
# Tried again, though nobody names them: not the jobs that would end the process again.
RETRIED = MARKED | {"quarantine.attempts": None}
NO_TIMES = ["string", "object", "binData", "objectId", "bool", "date", "regex", "timestamp"]
NO_TIMES += ["undefined", "dbPointer", "javascript", "symbol", "javascriptWithScope"]
NO_TIMES += ["minKey", "maxKey"]
NO_TIME = {  # each is a range of the index; that of arrays, whose type is none, is of the empty one
    "$or": [
        {"next_run_time": {"$lt": MIN_TIME}},
        {"next_run_time": {"$gte": END_OF_TIME}},
        {"next_run_time": float("nan")},
        {"next_run_time": []},
        {"next_run_time": {"$type": NO_TIMES}},
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
    """A job that is kept, and not run.

    :ivar id: the document's `_id`.
    :ivar reason: what was raised when its job was made, or what else is wrong with it.
    :ivar since: when, by the server's clock.
    :ivar next_run_time: when it was due; None if its document had no valid time.
    """

    id: DocumentId
    reason: str
    since: datetime
    next_run_time: datetime | None


class PassedOver(NamedTuple):
    """A document that can't be read here, and is not in quarantine.

    :ivar run_time: when the job was due; the document is looked at anew when that changes.
    :ivar is_unmarked: whether a cycle has tried in vain to put the document into quarantine.
    """

    run_time: Any
    is_unmarked: bool = False


class Quarantine:
    """Puts documents in, lists them, and puts back those that load again.

    :ivar changes: how often documents were written here.
    :ivar passed_over: the documents that can't be read here and are not in quarantine, by the
        keys of their ids: the scheduler does not wake up for them.
    """

    def __init__(self, connection: Connection, remove: bool) -> None:
        self._connection = connection
        self._remove = remove
        self.changes = 0
        self.passed_over: dict[IdKey, PassedOver] = {}
        self.logger = logging.getLogger(__name__)

    def read(
        self,
        document: Document,
        scheduler: BaseScheduler | None,
        alias: str | None,
        lines: Summary,
    ) -> Job | None:
        """Make a document's job, in quarantine or not; one that can't be made is passed over.

        That is logged once, and nobody has to wake up for it.

        :param lines: takes the notes that are to be logged.
        """
        record, mark = Record.of(document), document.get("quarantine")
        if record.run_time is None and isinstance(mark, dict):
            record = record._replace(run_time=mark.get("next_run_time"))
        try:
            return restore(record, scheduler, alias)
        except UnreadableError as reason:
            passed = self.passed_over.get(hashable_id(record.id))
            if passed is None or passed.run_time != record.run_time:
                self.passed_over[hashable_id(record.id)] = PassedOver(
                    record.run_time, self.is_unmarked(record.id)
                )
                lines.add(PASSED_OVER, record.id, reason)
            return None

    @property
    def unmarked(self) -> int:
        """How many due documents could not be put into quarantine: they stay in front."""
        return sum(passed.is_unmarked for passed in list(self.passed_over.values()))

    def is_unmarked(self, job_id: DocumentId) -> bool:
        """Whether a document could not be put into quarantine."""
        passed = self.passed_over.get(hashable_id(job_id)) if self.passed_over else None
        return passed is not None and passed.is_unmarked

    def forget(self, job_id: DocumentId) -> None:
        """Look at a document anew, as it is written."""
        if self.passed_over:  # then the id is worth a key
            self.passed_over.pop(hashable_id(job_id), None)

    def forget_all(self) -> None:
        """Look at all documents anew."""
        self.passed_over.clear()

    def verdict(self, record: Record, reason: str, run_time: Any) -> GuardedWrite:
        """Make the write that quarantines a document, or removes it where the user wants that."""
        mark = {"reason": reason, "next_run_time": run_time}
        return GuardedWrite(record, None, None, None if self._remove else mark)

    def convict(self, culprits: list[Record]) -> None:
        """Quarantine jobs that have ended so many processes; only the user takes them out."""
        for record in culprits:  # few, as each has ended processes
            self.logger.error('Job "%s" ended its process 3 times -- quarantining it', record.id)
        reason = "its runs ended the process 3 times"
        mark = {"reason": reason, "attempts": 3}
        self.put(
            [
                GuardedWrite(each, None, None, mark | {"next_run_time": each.run_time})
                for each in culprits
            ]
        )

    def verdicts(self, found: list[tuple[Record, UnreadableError]]) -> list[GuardedWrite]:
        """Make the writes for what can't be made here, and log why."""
        line = REMOVED if self._remove else QUARANTINED
        with logged_summary(self.logger) as lines:
            for record, reason in found:
                if not self.is_unmarked(record.id):
                    lines.add(line, record.id, reason)
        return [self.verdict(record, str(reason), record.run_time) for record, reason in found]

    def put(self, writes: list[GuardedWrite]) -> None:
        """Carry out verdicts on documents that are still as they were seen.

        Whatever can't be marked is passed over in this process.
        """
        self.changes += 1
        try:
            _, refused = send(self._connection, writes)
        except Exception as error:  # the good jobs are to run, whatever happens to these
            ids = first_few([write.record.id for write in writes])
            self.logger.error("Unable to quarantine %d jobs (%s): %s", len(writes), ids, error)
            refused = [(write, str(error)) for write in writes]
        else:  # an id that is not UTF-8 was read with replacements: no statement finds it
            refused += [
                (write, "its id") for write in writes if REPLACEMENT in str(write.record.id)
            ]
        for write in writes:
            self.passed_over.pop(hashable_id(write.record.id), None)
        for write, _ in refused:
            self.passed_over[hashable_id(write.record.id)] = PassedOver(write.record.run_time, True)

    def sweep(self) -> None:
        """Quarantine the documents whose run time is none: they would never be due."""
        found: list[Record] = []
        for batch in read_all(self._connection, NO_TIME, FIELDS, found.clear, None):
            found += map(Record.of, batch)
        if found:
            reasons = (
                UnreadableError(f"its next_run_time is {record.run_time!r}") for record in found
            )
            self.put(self.verdicts(list(zip(found, reasons, strict=True))))

    def listed(self) -> list[QuarantinedJob]:
        """Read the records of all that is in quarantine."""
        found: list[QuarantinedJob] = []
        for batch in read_all(self._connection, MARKED, ["quarantine"], found.clear, None):
            found += map(_record, batch)
        return found

    def put_back(
        self, restore: Callable[[Record], Job], job_ids: Iterable[str] | None = None
    ) -> list[str]:
        """Give their run times back to the documents whose jobs can be made now.

        Those that ended their processes have to be named: restoring one may do so already.
        """
        queries: list[Document] = [RETRIED]
        if job_ids is not None:
            lists = split_by_bytes(list(job_ids), id_bytes, ID_BYTES)
            queries = [MARKED | {"_id": {"$in": some}} for some in lists]
        back: list[DocumentId] = []
        for query in queries:
            # Where it reads again after a time-out, jobs that are back are not found any more.
            for batch in read_all(self._connection, query, FIELDS, lambda: None, None):
                healed = [each for each in (_healed(one, restore) for one in batch) if each]
                back += self._write_back(healed)
        return back

    def _write_back(self, healed: list["Healed"]) -> list[DocumentId]:
        """Write, and return the ids of those that are back; 2 commands, if there are any."""
        if not healed:
            return []

        def act(some: list[Healed], in_doubt: bool) -> list[DocumentId]:
            with self._connection.session() as session:
                writes = [each.write for each in some]
                self._connection.jobs.bulk_write(writes, ordered=False, session=session)
            ids = [each.id for each in some]
            return queries.stored_ids(self._connection, ids, {"quarantine": {"$exists": False}})

        writing = self._connection.writing
        try:
            written = in_parts(self._connection, writing, healed, lambda each: each.size, act)
            back = list(chain.from_iterable(written))
        finally:
            self.changes += 1
        if back:
            self.logger.info(
                "%d jobs load again (%s) -- they are back from quarantine",
                len(back),
                first_few(back),
            )
        return back


class Healed(NamedTuple):
    """The guarded write that gives a document its run time back, and its bytes."""

    id: str
    write: UpdateOne
    size: int


def _healed(document: Document, restore: Callable[[Record], Job]) -> Healed | None:
    """Give a document its run time back, if its job can be made."""
    record, mark = Record.of(document), document["quarantine"]
    run_time = mark.get("next_run_time")
    try:
        job = restore(record._replace(run_time=run_time))
    except UnreadableError:
        return None
    write = UpdateOne(
        {"_id": record.id, "next_run_time": None, "job_state": record.state, "quarantine": mark},
        {"$set": {"next_run_time": run_time}, "$unset": {"quarantine": ""}},
    )
    return Healed(job.id, write, bytes_of([document]))


def _record(document: Document) -> QuarantinedJob:
    mark = document["quarantine"]
    return QuarantinedJob(
        document["_id"],
        str(mark.get("reason")),
        mark["since"],
        _datetime(mark.get("next_run_time")),
    )


def _datetime(value: object) -> datetime | None:
    try:
        return to_datetime(value)
    except UnreadableError:
        return None
