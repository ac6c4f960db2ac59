"""The flush: the deferred writes of a cycle go out, and what lost its guard is settled.

A write is in one of these states, and each step leaves it in one of them:

- not sent, or sent and without an answer: it stays in `writes`, and is sent again. The guard makes
  a repetition harmless: a document that has our values no longer is as it was seen.
- done, or lost to somebody else's change: it is taken out of `writes`.

What is read back tells of a write only after an answer: that waits until the majority has all
that was there, what an earlier try has written, too. Else a write that is seen, and then is lost
in a fail-over, would be taken for done.
"""

import logging

from pymongo.errors import PyMongoError

from ..connection import Connection
from ..documents import FIELDS, CountedRecord, DocumentId, Record
from ..recovery.attempts import remove_counts
from ..slow_line.pace import split_by_bytes
from ..slow_line.paced import limited_and_measured
from ..summary import Line, logged_summary
from ..updates import release
from .conflicts import decide
from .guarded import GuardedWrite, size
from .quarantine import Quarantine
from .sending import Refused, send

__all__ = ["flush"]

FEW = 1000  # writes: their ids fit into one command
MAX_BYTES = 30_000_000  # of states and ids that go out together
ROUNDS = 5  # each but the first only because somebody changed the same documents meanwhile
REFUSED = Line(
    logging.ERROR,
    'Job "%s" can\'t be written, quarantining it: %s',
    "%s jobs (%s) can't be written, quarantining them: %s",
)


def flush(
    connection: Connection,
    quarantine: Quarantine,
    writes: dict[DocumentId, GuardedWrite],
    found: dict[DocumentId, Record | None],
    sent_before: bool,
    logger: logging.Logger,
) -> None:
    """Write all of `writes`, and take out of it what is settled; 1 command, 2 if jobs ended.

    :param found: is told what documents are that others have changed: as they were found stored,
        or as they are with our change put into theirs.
    :param sent_before: if not, and a lease is over, what others have done since is read first, so
        that it can't be taken for ours.
    :raises pymongo.errors.PyMongoError: if the server can't be reached twice in a row; what is
        still in `writes` is to be flushed again.
    """
    _Flush(connection, quarantine, writes, found, logger).run(sent_before)


class _Flush:
    """One flush, with the arguments of `flush`."""

    def __init__(
        self,
        connection: Connection,
        quarantine: Quarantine,
        writes: dict[DocumentId, GuardedWrite],
        found: dict[DocumentId, Record | None],
        logger: logging.Logger,
    ) -> None:
        self._connection = connection
        self._quarantine = quarantine
        self._writes = writes
        self._found = found
        self._logger = logger

    def run(self, sent_before: bool) -> None:
        """Send one part of the writes after the other, until all are settled."""
        sent = set(self._writes) if sent_before else set()
        rounds, error = ROUNDS, None
        while self._writes and rounds:
            part = self._part()
            fresh = [job_id for job_id in part if job_id not in sent]
            sent.update(fresh)
            if self._has_expired(fresh):
                self._settle(fresh)
                continue
            rounds -= 1
            count = len(self._writes)
            failed_before, error = error, self._send(part)
            if error and failed_before:
                raise error
            if len(self._writes) < count:
                rounds = ROUNDS
        if self._writes:
            number = len(self._writes)
            raise error or PyMongoError(f"{number} jobs are changed by others all the time")

    def _part(self) -> list[DocumentId]:
        """Take so many ids as one command may write, and read back without new states."""
        if not self._connection.is_slow and len(self._writes) <= FEW:
            return list(self._writes)
        reading, writing = self._connection.reading, self._connection.writing
        budget = min(MAX_BYTES, writing.budget, 2 * reading.budget)
        return next(
            split_by_bytes(list(self._writes), lambda job_id: size(self._writes[job_id]), budget)
        )

    def _has_expired(self, ids: list[DocumentId]) -> bool:
        """Whether others may have run some of these jobs, as a lease has expired."""
        leases = {self._writes[job_id].lease for job_id in ids}
        return any(lease.ever_expired for lease in leases if lease)

    def _send(self, part: list[DocumentId]) -> PyMongoError | None:
        """Send a part, and settle it; returns an error after which it may be written or not."""
        try:
            changed, refused = send(self._connection, [self._writes[job_id] for job_id in part])
        except PyMongoError as error:
            return error
        if refused:
            self._refuse(refused)
        part = [job_id for job_id in part if job_id in self._writes]
        if changed != len(part):
            self._settle(part)
            return None
        for job_id in part:
            del self._writes[job_id]
        return None

    def _refuse(self, refused: Refused) -> None:
        """Quarantine the jobs whose documents the server refuses."""
        verdicts = []
        with logged_summary(self._logger) as lines:
            for write, reason in refused:
                lines.add(REFUSED, write.record.id, reason)
                why = f"it can't be written: {reason}"
                verdicts.append(self._quarantine.verdict(write.record, why, write.run_time))
        self._quarantine.put(verdicts)
        for write, _ in refused:
            del self._writes[write.record.id]

    def _settle(self, part: list[DocumentId]) -> None:
        """Read back a part that is not known to be written, and decide for each document.

        What others have changed, and left our claim on, is released.
        """
        stored = self._read_back(part)
        theirs: list[tuple[GuardedWrite, Record]] = []  # writes that lost to others' changes
        with logged_summary(self._logger) as lines:
            for write in [self._writes[job_id] for job_id in part]:
                job_id, record = write.record.id, stored.get(write.record.id)
                left = decide(write, record, lines)
                if left is None:
                    del self._writes[job_id]
                    self._found[job_id] = record
                    if record and record != write.after:
                        theirs.append((write, record))
                elif left is not write:
                    self._writes[job_id] = left
                    self._found[job_id] = left.after
        self._give_up(theirs)

    def _read_back(self, part: list[DocumentId]) -> dict[DocumentId, Record]:
        def bytes_of_part() -> int:
            return sum(size(self._writes[job_id]) for job_id in part) // 2

        connection = self._connection
        with (
            limited_and_measured(connection, connection.reading, bytes_of_part) as seconds,
            connection.session(seconds) as session,
        ):
            query = {"_id": {"$in": part}}
            cursor = connection.jobs.find(query, FIELDS, batch_size=len(part) + 1, session=session)
            found = connection.read(cursor, seconds)
            return {document["_id"]: Record.of(document) for document in found}

    def _give_up(self, theirs: list[tuple[GuardedWrite, Record]]) -> None:
        """Release our claims on documents that others have changed, and take our counts away."""
        claims = {
            record.id: record.claim
            for write, record in theirs
            if record.claim is not None and record.claim == write.record.claim
        }
        if claims:
            release(self._connection, claims, list(claims.values()), self._logger)
        counted = [write.record for write, _ in theirs if isinstance(write.record, CountedRecord)]
        if counted:
            remove_counts(self._connection, counted, self._logger)
