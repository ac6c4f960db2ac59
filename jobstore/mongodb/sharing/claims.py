"""The reader of due jobs for many schedulers on one collection: each is leased by one of them.

What is due, a scheduler says by its own clock; what is leased, the server by its.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from bson import ObjectId
from pymongo import ASCENDING
from pymongo.errors import PyMongoError

from .. import queries
from ..connection import Connection
from ..documents import CountedRecord, Document, DocumentId, HasTime, IdKey, Record, hashable_id
from ..locks import Locks
from ..ordered import IN_TIME, first_of, sample
from ..readers import Due, Queried, Rejected
from ..recovery.attempts import COUNTED_FIELDS, MAX_ATTEMPTS, attempts
from ..slow_line.paced import is_slow, large_seconds, limited, noted
from ..slow_line.sizes import bytes_of
from ..summary import Line, Summary
from ..updates import release, update_all_or_each
from ..writes.quarantine import Quarantine
from ..writes.write_behind import WriteBehind
from . import marker
from .abandoned import Abandoned, abandoned_once_more, is_abandoned
from .candidates import Candidates, chance
from .lease import EXPIRED, UNLEASED, Lease, acquired
from .unrunnable import LEAVE_SECONDS, UnrunnableJobs

__all__ = ["Claimed"]

MAX_IDS = 10_000  # ids in one command
LEFT = Line(
    logging.INFO,
    'Leaving job "%s" to other schedulers: %s',
    "Leaving %s jobs (%s) to other schedulers: %s",
)
WAIT_SECONDS = 0.4  # before another look at what others have leased: they may leave it to us,
# and then it should be in time for the stock `misfire_grace_time`, 1 s
NOW: Document = {"$divide": [{"$toLong": "$$NOW"}, 1000]}  # by the server, in seconds
OVERDUE: Document = {"$lte": ["$next_run_time", {"$subtract": [NOW, LEAVE_SECONDS]}]}


class Claim(NamedTuple):
    """A claim on jobs, as it is sent.

    :ivar size: the bytes of the jobs, where the line is slow.
    :ivar started: the time by the monotonic clock before the claim was sent.
    :ivar seconds: how long the jobs are leased: longer where a slow line takes its time.
    """

    token: ObjectId
    ids: list[DocumentId]
    size: int
    started: float
    seconds: float


class Claimed(Queried):
    """Claims due jobs for one of many schedulers, and reads all else as `Queried` does.

    :param quarantine: for jobs that end their processes.
    :param seconds: how long a claim lasts.
    :ivar unrunnable: the due jobs that can't run here, left to other schedulers.
    """

    def __init__(
        self,
        connection: Connection,
        locks: Locks,
        write_behind: WriteBehind,
        quarantine: Quarantine,
        seconds: float,
    ) -> None:
        super().__init__(connection, locks, write_behind, quarantine)
        self._abandoned = Abandoned()
        self._seconds = seconds
        self._unread: Claim | None = None  # it isn't known which jobs it has won
        self.unrunnable = UnrunnableJobs()
        self._lines = Summary()
        self._candidates = Candidates(connection, self.unrunnable, self._leave)
        self._logger = logging.getLogger(__name__)

    def opened(self, logger: logging.Logger) -> None:
        """Mark the collection as shared; 1 command."""
        self._logger = logger
        self.unrunnable.forget_all()
        marker.begin(self._connection)

    def due(self, now: float, limit: int, is_second_try: bool = False) -> Due:
        """Claim due jobs that are free; O(log n + k), 3 commands, 1 if nothing is due.

        2 more each time that others have won all of it, 1 more for each look in vain. Won is what
        bears our token, whatever has become of a reply. What can't be read in time is given back,
        and so many are claimed as can.
        """
        self.give_back()
        free = {"next_run_time": {"$lte": now}, **UNLEASED}
        size = min(limit, MAX_IDS, self._connection.reading.count)
        due = Due([])
        for free_ones in self._candidates.found(now, size):
            found = self._abandoned.first(free_ones, size)
            self._unread = claim = self._new_claim(found)
            matched = self._claim(free, found, claim)
            if matched is not None and matched < len(found):
                self._candidates.note(met_others=True)
            if matched != 0:
                try:
                    due = self._won(claim, now)
                except PyMongoError as error:
                    if not is_slow(error) or is_second_try:
                        raise
                    sample(self._connection, {"_id": {"$in": claim.ids}}, len(claim.ids))
                    return self.due(now, limit, is_second_try=True)
            self._unread = None
            if matched != 0:
                break
        self._lines.log(self._logger)
        return due

    def forked(self) -> None:
        """In a forked process: the parent has the claims."""
        self._unread = None

    def give_back(self) -> None:
        """Give back the jobs of a claim that could not be read."""
        if self._unread:
            claim, self._unread = self._unread, None
            release(self._connection, claim.ids, [claim.token], self._logger)

    def rewritten(self, job_id: DocumentId) -> None:
        """Try a job again that could not run here: it is about to be written."""
        self.unrunnable.forget(job_id)

    def _new_claim(self, found: list[Document]) -> Claim:
        size = sum(each.get("size", 0) for each in found)
        seconds = self._seconds + large_seconds(self._connection, size)
        ids = [document["_id"] for document in found]
        return Claim(ObjectId(), ids, size, time.monotonic(), seconds)

    def _claim(self, free: Document, found: list[Document], claim: Claim) -> int | None:
        """Claim what is still due and free; returns how many it were, None if that isn't known."""
        fields = {"acquired_by": claim.token, "acquired_until": acquired(claim.seconds)}
        if any(map(is_abandoned, found)):
            fields["attempts"] = abandoned_once_more()
        matched, refused = update_all_or_each(self._connection, free, claim.ids, fields)
        for refusal in refused.details["writeErrors"] if refused else ():
            self._leave(Record.of(found[refusal["index"]]), refusal["errmsg"])
        return matched

    def _leave(self, record: Record, reason: object) -> None:
        if self.unrunnable.add(record):
            self._lines.add(LEFT, record.id, reason)

    def _won(self, claim: Claim, now: float) -> Due:
        """Read the jobs that a claim has won, with their lease."""
        won = self._innocent(self._bearing(claim))
        if not won:
            return Due([])
        ids = [record.id for record in won]
        lease = Lease(
            self._connection, claim.token, ids, claim.started, claim.seconds, self._logger
        )
        return Due([record for record in won if not _is_later(record.run_time, now)], lease)

    def _bearing(self, claim: Claim) -> list[Document]:
        query = {"_id": {"$in": claim.ids}, "acquired_by": claim.token}
        found: list[Document] = []
        reading = self._connection.reading
        with (
            limited(self._connection, reading, lambda: claim.size) as seconds,
            noted(self._connection, reading, lambda: bytes_of(found)),
            self._connection.limit(seconds),
        ):
            found += self._connection.jobs.find(
                query, COUNTED_FIELDS, batch_size=len(claim.ids) + 1
            )
        return found

    def _innocent(self, won: list[Document]) -> list[Record]:
        """Return the jobs that may run; those that ended so many processes go into quarantine."""
        culprits = [each for each in won if attempts(each) >= MAX_ATTEMPTS]
        if culprits:
            self._quarantine.convict(list(map(CountedRecord.of, culprits)))
        return [
            CountedRecord.of(each) if attempts(each) else Record.of(each)
            for each in won
            if attempts(each) < MAX_ATTEMPTS
        ]

    def set_aside(self, bad: Rejected, lease: Lease | None) -> None:
        """Leave jobs that can't run here to others; quarantine those nobody has taken for a minute.

        Such a job was due here a minute ago, and has been due as long by the server's clock: a
        clock that is ahead here makes a job due that is not yet due for others.
        """
        waited = self._overdue(
            [record.id for record, _ in bad if self.unrunnable.has_waited(record)]
        )
        leaving = [pair for pair in bad if hashable_id(pair[0].id) not in waited]
        for record, reason in leaving:
            self._leave(record, reason)
        self._lines.log(self._logger)
        if lease:
            lease.release([record.id for record, _ in leaving])
        taking = [pair for pair in bad if hashable_id(pair[0].id) in waited]
        for record, _ in taking:  # once it is back from quarantine, others have a minute again
            self.unrunnable.forget(record.id)
        if taking:
            super().set_aside(taking, lease)

    def _overdue(self, ids: list[DocumentId]) -> set[IdKey]:
        try:
            found = queries.stored_ids(self._connection, ids, {"$expr": OVERDUE}) if ids else []
        except PyMongoError as error:  # what is claimed is to be handed out all the same
            self._logger.warning("Unable to tell for how long jobs have been due: %s", error)
            found = []
        return set(map(hashable_id, found))

    def next_run_time(self, now: float, exclude: Mapping[IdKey, HasTime]) -> float | None:
        """Return when to look again; O(log n) and one command.

        That is the earliest run time of a free job; or that of an earlier one that is leased, and
        if it is due, a moment from now, at random: those that leave it to others would find it
        leased by each other all the time. Or the time to look again at what was left to others.
        """
        soon = now + WAIT_SECONDS * chance.uniform(0.5, 1)
        times = [
            each["next_run_time"] if each["free"] or each["next_run_time"] > now else soon
            for each in first_of(self._in_order, {**exclude, **self.unrunnable.current()})
        ]
        again = self.unrunnable.until()
        if again is not None:
            times.append(now + again - time.monotonic())
        return min(times, default=None)

    def _in_order(self, limit: int) -> list[Document]:
        """Return the first documents, leased or not, and the first free ones."""

        def those(**query: Any) -> list[Document]:
            return [
                {"$match": {"next_run_time": IN_TIME, **query}},
                {"$sort": {"next_run_time": ASCENDING}},
                {"$limit": limit},
                {"$project": {"next_run_time": 1, "free": EXPIRED}},
            ]

        jobs = self._connection.jobs
        free = {"$unionWith": {"coll": jobs.name, "pipeline": those(**UNLEASED)}}
        with self._connection.limit():
            return list(jobs.aggregate([*those(), free], batchSize=2 * limit + 1))


def _is_later(run_time: Any, now: float) -> bool:
    """Whether it is not due: somebody has changed it after it was claimed."""
    return run_time is None or (isinstance(run_time, int | float) and run_time > now)
