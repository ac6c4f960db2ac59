"""Recovery: after a process has ended in mid-cycle, find the job that ends processes.

Such a job takes its whole cycle along: nothing of that is written, so all of it is due again, at
every start. So after an unclean end jobs are handed out in small batches. Each batch is flushed
before the next one, and is twice as large. Before a batch is handed out, each of its documents
gets a count, ``attempts: {count, by}``; the flush takes it away.

A document that has a count from another process is a *suspect*: that process ended before the
flush. Suspects are handed out one at a time, before the rest of their batch, so that only the
culprit gets a higher count. With a count of 3 it isn't run again: it goes into quarantine.
"""

import logging

from ..connection import Connection
from ..documents import CountedRecord, Document
from ..locks import Locks
from ..ordered import affordable_in_order
from ..readers import Due, Queried
from ..sharing import marker
from ..writes.quarantine import Quarantine
from ..writes.write_behind import WriteBehind
from .attempts import COUNTED_FIELDS, MAX_ATTEMPTS, attempts, count
from .presence import Presence, process

__all__ = ["Recovering"]


class Recovering(Queried):
    """Asks the server for one scheduler, carefully after an unclean end.

    The recovery is over when all is written that was due when it began. A mirror, which has no
    counts, is not asked before.
    """

    def __init__(
        self,
        connection: Connection,
        locks: Locks,
        write_behind: WriteBehind,
        quarantine: Quarantine,
    ) -> None:
        super().__init__(connection, locks, write_behind, quarantine)
        self._presence = Presence(connection)
        self._is_under_way = False

    def opened(self, logger: logging.Logger) -> None:
        """Tell other processes that a scheduler starts, and learn whether to go carefully.

        5 commands.

        :raises ValueError: if schedulers share the collection.
        """
        marker.check(self._connection, logger)
        self._is_under_way = self._presence.begin(logger)
        if self._is_under_way:
            logger.info("A scheduler ended without a shutdown: its due jobs run in small batches")
        self._size = 1
        self._began: float | None = None  # by the scheduler's clock
        self._is_last = False

    def closed(self) -> None:
        """Tell that the scheduler has ended as it should."""
        self._presence.end()

    def forked(self) -> None:
        """In a forked process: the scheduler is the parent's."""
        self._presence.forked()

    def is_over(self) -> bool:
        """Whether there is nothing to recover; to be asked when all jobs handed out are written."""
        if self._is_under_way and self._is_last:
            self._is_under_way = False
            self._presence.forget_others()
        return not self._is_under_way

    def due(self, now: float, limit: int) -> Due:
        """Return the first jobs that are due; in the recovery fewer, 2 commands more.

        The caller has flushed the jobs handed out before.
        """
        if self.is_over():
            return super().due(now, limit)
        if self._began is None:
            self._began = now
        due: Document = {"next_run_time": {"$lte": now}}
        while True:
            # What could not be put into quarantine is in front, and can't run.
            size = min(self._size + self._quarantine.unmarked, limit)
            first = affordable_in_order(self._connection, due, COUNTED_FIELDS, size)
            found = [each for each in first if not self._quarantine.is_unmarked(each["_id"])]
            culprits = list(filter(_is_culprit, found))
            if not culprits:
                break
            self._quarantine.convict(list(map(CountedRecord.of, culprits)))
        suspects = list(filter(_is_suspect, found))
        found = suspects[:1] or found
        count(self._connection, due, [each["_id"] for each in found])
        if suspects:
            self._size = 1
        else:
            self._size *= 2
            is_all = len(first) < (1 if self._connection.is_slow else size)
            is_through = is_all or _is_later(found, self._began)
            # A culprit that is left would run when the recovery is over.
            self._is_last = is_through and not any(map(_is_culprit, first))
        return Due(list(map(CountedRecord.of, found)))


def _is_suspect(document: Document) -> bool:
    return attempts(document) > 0 and document["attempts"].get("by") != process()


def _is_culprit(document: Document) -> bool:
    return attempts(document) >= MAX_ATTEMPTS and _is_suspect(document)


def _is_later(found: list[Document], began: float) -> bool:
    run_time = found[0]["next_run_time"] if found else None
    return isinstance(run_time, int | float) and run_time > began
