"""Recovery: after a process has ended in mid-cycle, find the job that ends processes.

Such a job ends its process before the cycle is flushed. So all jobs of the cycle are due again, at
every start. After an unclean end, due jobs are therefore handed out in small batches. Each batch
is flushed before the next one, and is twice as large. Before a batch is handed out, each of its
documents gets a count, ``attempts: {count, by}``. The flush removes the count.

A document with a count from another process is a *suspect*: that process ended before the flush.
Suspects are handed out one at a time, before the rest of their batch. So only the *culprit* gets a
higher count. A job with a count of 3 goes into quarantine instead of running again.
"""

import logging
from collections.abc import Mapping

from ..documents import CountedRecord, Document, DocumentId, HasTime, IdKey, Record
from ..ordered import affordable_in_order
from ..presence.identity import process_identity
from ..readers import Due, Queried, ReaderParts
from ..sharing import marker
from .attempts import (
    COUNTED_FIELDS,
    MAX_ATTEMPTS,
    attempt_count,
    count_attempts,
    remove_counts,
    restore_count,
)

__all__ = ["Recovering"]


class Recovering(Queried):
    """Asks the server on behalf of one scheduler, in small batches after an unclean end.

    The recovery is over when all jobs that were due at its beginning are written, but for those
    that wait for a full executor and are no suspects. Until then a mirrored store asks this reader
    too, as the mirror has no counts.
    """

    def __init__(self, parts: ReaderParts) -> None:
        super().__init__(parts)
        self._presence = parts.presence
        self._is_active = False
        self._suspect: Document | None = None  # of the last batch, as it was read
        self._waiting_suspects: set[DocumentId] = set()
        self._logger = logging.getLogger(__name__)

    def opened(self, logger: logging.Logger) -> None:
        """Make sure that no schedulers share the collection; 3 commands.

        :raises ValueError: if schedulers share the collection.
        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        self._logger = logger
        self._is_active = False
        marker.check(self._connection, logger)

    def begin_to_fire(self, after_unclean_end: bool) -> None:
        """Begin a recovery, if another scheduler ended uncleanly."""
        self._is_active = after_unclean_end
        if self._is_active:
            self._logger.info(
                "A scheduler ended without a shutdown: its due jobs run in small batches"
            )
        self._batch_size = 1
        self._started_at: float | None = None  # by the scheduler's clock
        self._is_last_batch = False
        self._suspect = None
        self._waiting_suspects.clear()

    def is_over(self) -> bool:
        """Return whether nothing is left to recover; 1 command when the recovery ends.

        A standby doesn't know yet whether it has to recover. The caller has flushed all jobs that
        were handed out.
        """
        if self._presence.firing.stands_by:
            return False
        if self._is_active and self._is_last_batch:
            self._is_active = False
            self._presence.remove_leftovers()
        return not self._is_active

    def due(self, now: float, limit: int, exclude: Mapping[IdKey, HasTime]) -> Due:
        """Return the first due jobs: at most `limit`, and in a recovery one small batch.

        In a recovery this takes 2 commands, more with culprits or on a slow line. The caller has
        flushed the jobs that were handed out before.

        :param now: the scheduler's time, in seconds since the epoch.
        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        if self.is_over():
            return super().due(now, limit, exclude)
        if self._started_at is None:
            self._started_at = now
        due = self._due_query(now, exclude)
        while True:
            # Documents that could not be quarantined come first, and can't run.
            size = min(self._batch_size + self._quarantine.unmarked, limit)
            first = affordable_in_order(self._connection, due, COUNTED_FIELDS, size)
            batch = [each for each in first if not self._quarantine.is_unmarked(each["_id"])]
            culprits = list(filter(_is_culprit, batch))
            if not culprits:
                break
            self._quarantine.quarantine_culprits(list(map(CountedRecord.of, culprits)))
        suspects = list(filter(_is_suspect, batch))
        batch = suspects[:1] or batch
        self._suspect = next(iter(suspects), None)
        self._waiting_suspects.difference_update(document["_id"] for document in batch)
        count_attempts(self._connection, due, [document["_id"] for document in batch])
        if suspects:
            self._batch_size = 1
        else:
            self._batch_size *= 2
            is_rest = len(first) < (1 if self._connection.is_slow else size)
            is_past_start = is_rest or _is_due_after(batch, self._started_at)
            # A culprit that could not be quarantined would run after the recovery. So would a
            # suspect that waits for its executor, and it would not be counted.
            has_culprit = any(map(_is_culprit, first)) or self._waiting_suspects & exclude.keys()
            self._is_last_batch = is_past_start and not has_culprit
        return Due(list(map(CountedRecord.of, batch)))

    def left_waiting(self, records: list[Record]) -> None:
        """Take the counts of jobs back that did not run; 1 command in a recovery.

        A suspect stays one.
        """
        counted = [record for record in records if isinstance(record, CountedRecord)]
        suspect = self._suspect
        if suspect and suspect["_id"] in [record.id for record in counted]:  # alone in its batch
            self._waiting_suspects.add(suspect["_id"])
            restore_count(self._connection, suspect, self._logger)
        elif counted:
            remove_counts(self._connection, counted, self._logger)


def _is_suspect(document: Document) -> bool:
    return attempt_count(document) > 0 and document["attempts"].get("by") != process_identity()


def _is_culprit(document: Document) -> bool:
    return attempt_count(document) >= MAX_ATTEMPTS and _is_suspect(document)


def _is_due_after(batch: list[Document], start: float) -> bool:
    run_time = batch[0]["next_run_time"] if batch else None
    return isinstance(run_time, int | float) and run_time > start
