"""The flush: sends the deferred writes of a cycle, and settles each of them.

A write is in one of two states, and each step leaves it in one of them:

- Not sent, or sent without an answer. The write stays in `writes`, and is sent again. That is
  idempotent: once a document has the new values, the guard no longer matches.
- Done, or lost to a conflict. The write is taken out of `writes`.

A write that was sent is read back only after the server has answered a write. (Writes that were
not sent, and whose lease has expired, are read first.) The answer waits until a
majority of the replica set has that write, and with it all earlier ones. A read without such an
answer may show a write that a failover then loses; it would wrongly count as done.
"""

import logging

from pymongo.errors import PyMongoError

from ..codec import Codec
from ..connection import Connection
from ..documents import FIELDS, CountedRecord, DocumentId, Record
from ..recovery.attempts import remove_counts
from ..slow_line.pace import split_by_bytes
from ..slow_line.paced import limited_and_measured
from ..summary import Line, Summary, logged_summary
from ..updates import release
from .conflicts import Conflicts
from .guarded import GuardedWrite, size
from .quarantine import Quarantine
from .sending import Refused, send

__all__ = ["flush"]

MAX_UNSPLIT = 1000  # writes that are sent in one part: their ids fit into one command
MAX_PART_BYTES = 30_000_000  # of states and ids that go out together
MAX_ROUNDS = 5  # without progress; another round is due to an error, or to changes by others
REFUSED = Line(
    logging.ERROR,
    'Job "%s" can\'t be written, quarantining it: %s',
    "%s jobs (%s) can't be written, quarantining them: %s",
)


def flush(
    connection: Connection,
    quarantine: Quarantine,
    codec: Codec,
    conflicts: Conflicts,
    writes: dict[DocumentId, GuardedWrite],
    settled_records: dict[DocumentId, Record | None],
    sent_before: bool,
    logger: logging.Logger,
) -> None:
    """Send all of `writes`, and take each out that is done or lost; 1 command, 2 if jobs ended.

    Many or large writes take more commands, and so do conflicts, to read the documents back.

    :param settled_records: receives the current record of each document whose write had to be
        settled, as another process changed it, or may have; None if the document is gone. Where
        both changes are merged, the record has both.
    :param sent_before: whether the writes may have been sent already. If not, and a lease has
        expired, the documents are read before they are written: so a change by another scheduler
        can't be taken for our own write.
    :raises pymongo.errors.PyMongoError: if two attempts to write fail in a row, if a read fails, or
        if others keep changing the documents. The writes left in `writes` must be flushed again.
    """
    work = _Flush(connection, quarantine, codec, conflicts, writes, settled_records, logger)
    work.run(sent_before)


class _Flush:
    """One flush, with the arguments of `flush`."""

    def __init__(
        self,
        connection: Connection,
        quarantine: Quarantine,
        codec: Codec,
        conflicts: Conflicts,
        writes: dict[DocumentId, GuardedWrite],
        settled_records: dict[DocumentId, Record | None],
        logger: logging.Logger,
    ) -> None:
        self._connection = connection
        self._quarantine = quarantine
        self._codec, self._conflicts = codec, conflicts
        self._writes = writes
        self._settled_records = settled_records
        self._logger = logger

    def run(self, sent_before: bool) -> None:
        """Send the writes in parts until all are settled."""
        sent = set(self._writes) if sent_before else set()
        rounds, error = MAX_ROUNDS, None
        while self._writes and rounds:
            part = self._next_part()
            unsent = [job_id for job_id in part if job_id not in sent]
            sent.update(unsent)
            if self._lease_has_expired(unsent):
                self._settle(unsent)
                continue
            rounds -= 1
            count = len(self._writes)
            failed_before, error = error, self._send(part, len(unsent) == len(part))
            if error and failed_before:
                raise error
            if len(self._writes) < count:
                rounds = MAX_ROUNDS
        if self._writes:
            number = len(self._writes)
            raise error or PyMongoError(f"other processes keep changing {number} jobs")

    def _next_part(self) -> list[DocumentId]:
        """Choose as many ids as one command may write, and one may read back."""
        if not self._connection.is_slow and len(self._writes) <= MAX_UNSPLIT:
            return list(self._writes)
        reading, writing = self._connection.reading, self._connection.writing
        budget = min(MAX_PART_BYTES, writing.budget, 2 * reading.budget)
        return next(
            split_by_bytes(list(self._writes), lambda job_id: size(self._writes[job_id]), budget)
        )

    def _lease_has_expired(self, ids: list[DocumentId]) -> bool:
        """Whether a lease has expired, so that others may have run some of these jobs."""
        leases = {self._writes[job_id].lease for job_id in ids}
        return any(lease.ever_expired for lease in leases if lease)

    def _send(self, part: list[DocumentId], is_first: bool) -> PyMongoError | None:
        """Send a part, and settle it; returns the error if its writes may have been applied.

        :param is_first: whether none of the part was sent before.
        """
        try:
            changed, refused = send(
                self._connection, self._codec, [self._writes[job_id] for job_id in part]
            )
        except PyMongoError as error:
            return error
        if refused:
            self._quarantine_refused(refused)
        part = [job_id for job_id in part if job_id in self._writes]
        if changed != len(part):
            self._settle(part, changed if is_first and not refused else None)
            return None
        for job_id in part:
            del self._writes[job_id]
        return None

    def _quarantine_refused(self, refused: Refused) -> None:
        """Quarantine the jobs whose documents the server refuses."""
        writes = []
        with logged_summary(self._logger) as lines:
            for write, reason in refused:
                lines.add(REFUSED, write.record.id, reason)
                why = f"it can't be written: {reason}"
                writes.append(self._quarantine.write_for(write.record, why, write.run_time))
        self._quarantine.put(writes)
        for write, _ in refused:
            del self._writes[write.record.id]

    def _settle(self, part: list[DocumentId], applied: int | None = None) -> None:
        """Read back a part that may have been written, and decide about each of its writes.

        Claims of ours on documents that other processes changed are released.

        :param applied: how many of the part's writes have applied; None if that isn't known.
        """
        stored = self._read_back(part)
        lost: list[tuple[GuardedWrite, Record]] = []  # each with the record that won
        done: list[GuardedWrite] = []  # by this part, or by another scheduler that wrote the same
        with logged_summary(self._logger) as lines:
            for write in [self._writes[job_id] for job_id in part]:
                job_id, record = write.record.id, stored.get(write.record.id)
                remaining = self._conflicts.decide(write, record, lines)
                if remaining is None:
                    del self._writes[job_id]
                    self._settled_records[job_id] = record
                    if record and not record.equals(write.after):
                        lost.append((write, record))
                    elif record or write.removes:
                        done.append(write)
                elif remaining is not write:
                    self._writes[job_id] = remaining
                    self._settled_records[job_id] = remaining.after
            if applied is not None:
                self._note_same(done, applied, lines)
        self._release_lost(lost)

    def _note_same(self, done: list[GuardedWrite], applied: int, lines: Summary) -> None:
        """Note the runs that another scheduler has written, too: writes that are done without us.

        A user may have removed a job meanwhile, so removals don't tell.
        """
        rescheduled = [write for write in done if write.state is not None]
        removed = len(done) - len(rescheduled)
        if number := max(0, len(done) - applied - removed):
            self._conflicts.note_same(rescheduled, number, lines)

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
            documents = connection.read(cursor, seconds)
            return {document["_id"]: Record.of(document) for document in documents}

    def _release_lost(self, lost: list[tuple[GuardedWrite, Record]]) -> None:
        """Release our claims on documents that others changed, and remove our attempt counts."""
        claims = {
            record.id: record.claim
            for write, record in lost
            if record.claim is not None and record.claim == write.record.claim
        }
        if claims:
            release(self._connection, claims, list(claims.values()), self._logger)
        counted = [write.record for write, _ in lost if isinstance(write.record, CountedRecord)]
        if counted:
            remove_counts(self._connection, counted, self._logger)
