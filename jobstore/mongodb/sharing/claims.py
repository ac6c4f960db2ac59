"""Claims: each due job of a shared collection is leased by one of many schedulers.

A scheduler decides by its own clock which jobs are due. The server decides by its clock which jobs
are leased.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from bson import ObjectId
from pymongo import ASCENDING
from pymongo.errors import PyMongoError

from ...base import first_few
from .. import queries
from ..documents import CountedRecord, Document, DocumentId, HasTime, IdKey, Record, hashable_id
from ..ordered import VALID_RUN_TIME, first_included, sample_sizes
from ..readers import Due, Queried, ReaderParts, Rejected
from ..recovery.attempts import COUNTED_FIELDS, MAX_ATTEMPTS, attempt_count
from ..slow_line.paced import extra_lease_seconds, measured, time_limited, timed_out
from ..slow_line.sizes import bytes_of
from ..summary import Line, Summary
from ..updates import release, update_all_or_each
from . import marker
from .abandoned import Abandoned, incremented_if_abandoned, is_abandoned
from .candidates import Candidates, rng
from .lease import EXPIRED, UNLEASED, Lease, lease_end
from .unrunnable import RETRY_SECONDS, UnrunnableJobs

__all__ = ["Claimed"]

MAX_IDS = 10_000  # ids in one command
LEFT_TO_OTHERS = Line(
    logging.INFO,
    'Leaving job "%s" to other schedulers: %s',
    "Leaving %s jobs (%s) to other schedulers: %s",
)
# Until another look at due jobs that others have leased. They may release a job that they can't
# run, and then it should fire here within the stock `misfire_grace_time`, 1 s.
RECHECK_SECONDS = 0.4
NOW: Document = {"$divide": [{"$toLong": "$$NOW"}, 1000]}  # seconds, by the server's clock
OVERDUE: Document = {"$lte": ["$next_run_time", {"$subtract": [NOW, RETRY_SECONDS]}]}


class Claim(NamedTuple):
    """A claim on jobs, as it is sent.

    :ivar token: the fencing token that the claim writes.
    :ivar size: the bytes of the jobs; 0 on a line that is not slow.
    :ivar started: a time before the claim was sent, in seconds of the monotonic clock.
    :ivar seconds: how long the lease lasts, which is longer for large jobs on a slow line.
    """

    token: ObjectId
    ids: list[DocumentId]
    size: int
    started: float
    seconds: float


class Claimed(Queried):
    """Claims due jobs for one of many schedulers, and reads all else as `Queried` does.

    :param quarantine: takes the jobs that end their processes.
    :param seconds: how long a lease lasts.
    :ivar unrunnable: the due jobs that can't run here, left to other schedulers.
    """

    def __init__(self, parts: ReaderParts, seconds: float) -> None:
        super().__init__(parts)
        self._abandoned = Abandoned()
        self._seconds, self._counters, self._incidents = seconds, parts.counters, parts.incidents
        self._unread_claim: Claim | None = None  # sent, but its jobs are not read yet
        self.unrunnable = UnrunnableJobs()
        self._lines = Summary()
        self._candidates = Candidates(parts.connection, self.unrunnable, self._leave_to_others)
        self._logger = logging.getLogger(__name__)

    @property
    def retry_seconds(self) -> float:
        """Leave a job that its executor did not take to others, for a minute."""
        return RETRY_SECONDS

    def opened(self, logger: logging.Logger) -> None:
        """Mark the collection as shared; 1 command.

        :raises pymongo.errors.PyMongoError: if the mark can't be written.
        """
        self._logger = logger
        self.unrunnable.forget_all()
        marker.begin(self._connection)

    def due(
        self, now: float, limit: int, exclude: Mapping[IdKey, HasTime], is_retry: bool = False
    ) -> Due:
        """Claim free due jobs, and read them; O(log n + k), 3 commands, or 1 if no job is due.

        A claim that other schedulers win as a whole costs 2 commands more. Each look in vain costs
        1 more. The jobs that bear the claim's token are the ones it has won, even if a reply was
        lost. If they can't be read in time, they are released, and fewer are claimed.

        :param now: the scheduler's time, in seconds since the epoch.
        :param limit: the most jobs to claim.
        :param exclude: jobs to leave to others, as long as they have these run times.
        :raises pymongo.errors.PyMongoError: if the server can't be reached. The next call, or
            `give_back`, releases a claim that could not be read.
        """
        self.give_back()
        free = {"next_run_time": {"$lte": now}, **UNLEASED}
        size = min(limit, MAX_IDS, self._connection.reading.max_ids)
        due = Due([])
        for candidates in self._candidates.find(now, size, exclude):
            selected = self._abandoned.select(candidates, size)
            self._unread_claim = claim = self._new_claim(selected)
            matched = self._send(claim, free, selected)
            if matched is not None and matched < len(selected):
                self._candidates.note_contention(True)
                self._counters.claims_lost += len(selected) - matched
            if matched != 0:
                try:
                    due = self._read_won(claim, now)
                except PyMongoError as error:
                    if not timed_out(error) or is_retry:
                        raise
                    sample_sizes(self._connection, {"_id": {"$in": claim.ids}}, len(claim.ids))
                    return self.due(now, limit, exclude, is_retry=True)
            self._unread_claim = None
            self._counters.claim_times.observe(time.monotonic() - claim.started)
            if matched != 0:
                break
        self._lines.log(self._logger)
        return due

    def forked(self) -> None:
        """In a forked process: leave the claims to the parent."""
        self._unread_claim = None

    def give_back(self) -> None:
        """Release the jobs of a claim that could not be read; 1 command if there is one."""
        if self._unread_claim:
            claim, self._unread_claim = self._unread_claim, None
            release(self._connection, claim.ids, [claim.token], self._logger)

    def about_to_write(self, job_id: DocumentId) -> None:
        """Try a job again that could not run here, as it is about to be written."""
        self.unrunnable.forget(job_id)

    def _new_claim(self, selected: list[Document]) -> Claim:
        size = sum(document.get("size", 0) for document in selected)
        seconds = self._seconds + extra_lease_seconds(self._connection, size)
        ids = [document["_id"] for document in selected]
        return Claim(ObjectId(), ids, size, time.monotonic(), seconds)

    def _send(self, claim: Claim, free: Document, selected: list[Document]) -> int | None:
        """Claim the jobs that are still free; return their number, or None if it isn't known."""
        fields = {"acquired_by": claim.token, "acquired_until": lease_end(claim.seconds)}
        if any(map(is_abandoned, selected)):
            fields["attempts"] = incremented_if_abandoned()
        matched, refused = update_all_or_each(self._connection, free, claim.ids, fields)
        for refusal in refused.details["writeErrors"] if refused else ():
            self._leave_to_others(Record.of(selected[refusal["index"]]), refusal["errmsg"])
        return matched

    def _leave_to_others(self, record: Record, reason: object) -> None:
        if self.unrunnable.add(record):
            self._lines.add(LEFT_TO_OTHERS, record.id, reason)
            self._incidents.add("refused", record.id, record.run_time, detail=reason)

    def _read_won(self, claim: Claim, now: float) -> Due:
        """Read the jobs that a claim has won, with their lease."""
        won = self._without_culprits(self._read_claimed(claim))
        if not won:
            return Due([])
        ids = [record.id for record in won]
        lease = Lease(
            self._connection,
            claim.token,
            ids,
            claim.started,
            claim.seconds,
            self._logger,
            self._counters,
        )
        return Due([record for record in won if not _is_due_after(record.run_time, now)], lease)

    def _read_claimed(self, claim: Claim) -> list[Document]:
        query = {"_id": {"$in": claim.ids}, "acquired_by": claim.token}
        found: list[Document] = []
        reading = self._connection.reading
        with (
            time_limited(self._connection, reading, lambda: claim.size) as seconds,
            measured(self._connection, reading, lambda: bytes_of(found)),
            self._connection.limit(seconds),
        ):
            found += self._connection.jobs.find(
                query, COUNTED_FIELDS, batch_size=len(claim.ids) + 1
            )
        return found

    def _without_culprits(self, won: list[Document]) -> list[Record]:
        """Return the jobs that may run; quarantine jobs that ended `MAX_ATTEMPTS` processes."""
        culprits: list[Record] = []
        runnable: list[Record] = []
        for document in won:
            count = attempt_count(document)
            record = (CountedRecord if count else Record).of(document)
            (culprits if count >= MAX_ATTEMPTS else runnable).append(record)
        if culprits:
            self._quarantine.quarantine_culprits(culprits)
        return runnable

    def set_aside(self, unrunnable: Rejected, lease: Lease | None) -> None:
        """Leave jobs that can't run here to others; quarantine those left for a minute in vain.

        Such a job was already due here a minute ago, and has been due for a minute by the server's
        clock. The second condition protects jobs that are due only by a clock that is ahead.

        1 command to release jobs. If a minute is over for some, 1 more to check them, and those of
        the quarantine.
        """
        waited = self._overdue_ids(
            [record.id for record, _ in unrunnable if self.unrunnable.has_waited(record)]
        )
        leaving = [pair for pair in unrunnable if hashable_id(pair[0].id) not in waited]
        for record, reason in leaving:
            self._leave_to_others(record, reason)
        self._lines.log(self._logger)
        if lease:
            lease.release([record.id for record, _ in leaving])
        quarantining = [pair for pair in unrunnable if hashable_id(pair[0].id) in waited]
        for record, _ in quarantining:  # when restored, a job waits for others for a minute again
            self.unrunnable.forget(record.id)
        if quarantining:
            super().set_aside(quarantining, lease)

    def _overdue_ids(self, ids: list[DocumentId]) -> set[IdKey]:
        try:
            found = queries.stored_ids(self._connection, ids, {"$expr": OVERDUE}) if ids else []
        except PyMongoError as error:  # the other claimed jobs still have to be handed out
            self._logger.warning(
                "Unable to tell for how long %d jobs (%s) have been due: %s",
                len(ids),
                first_few(ids),
                error,
            )
            found = []
        return set(map(hashable_id, found))

    def next_run_time(self, now: float, exclude: Mapping[IdKey, HasTime]) -> float | None:
        """Return when to look for due jobs again, or None for never; O(log n) and 1 command.

        That is the earliest of three times:

        - the earliest run time of a job that is free, or not yet due;
        - 0.2 to 0.4 s from now, at random, if another scheduler has leased a due job;
        - the time to retry the jobs that were left to others.

        Without the random part, schedulers that release a job they can't run would find it leased
        by each other again and again.

        :param now: the scheduler's time, in seconds since the epoch, as is the result.
        :param exclude: jobs that don't count at these run times.
        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        recheck = now + RECHECK_SECONDS * rng.uniform(0.5, 1)
        times = [
            each["next_run_time"] if each["free"] or each["next_run_time"] > now else recheck
            for each in first_included(self._in_order, self.unrunnable.added_to(exclude))
        ]
        retry = self.unrunnable.next_retry()
        if retry is not None:
            times.append(now + retry - time.monotonic())
        return min(times, default=None)

    def _in_order(self, limit: int) -> list[Document]:
        """Return the first documents, leased or not, and the first free ones."""

        def pipeline(**query: Any) -> list[Document]:
            return [
                {"$match": {"next_run_time": VALID_RUN_TIME, **query}},
                {"$sort": {"next_run_time": ASCENDING}},
                {"$limit": limit},
                {"$project": {"next_run_time": 1, "free": EXPIRED}},
            ]

        jobs = self._connection.jobs
        free = {"$unionWith": {"coll": jobs.name, "pipeline": pipeline(**UNLEASED)}}
        with self._connection.limit():
            return list(jobs.aggregate([*pipeline(), free], batchSize=2 * limit + 1))


def _is_due_after(run_time: Any, now: float) -> bool:
    """Return whether a job is not due any more, as another process changed it after the claim."""
    return run_time is None or (isinstance(run_time, int | float) and run_time > now)
