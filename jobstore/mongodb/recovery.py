"""Recovery: after a process has ended in mid-cycle, find the job that ends processes.

Such a job takes its whole cycle along: nothing of that is written, so all of it is due again, at
every start. So after an unclean end jobs are handed out in small batches. Each batch is flushed
before the next one, and is twice as large. Before a batch is handed out, each of its documents
gets a count, ``attempts: {count, by}``; the flush takes it away.

A document that has a count from another process is a *suspect*: that process ended before the
flush. Suspects are handed out first, and one at a time, so that only the culprit gets a higher
count. With a count of 3 it isn't run again: it goes into quarantine.
"""

import logging
from typing import Any

from .attempts import COUNTED_FIELDS, MOST_ATTEMPTS, attempts, count
from .connection import Connection, Document
from .documents import FIELDS, Counted, Seen
from .presence import Presence, process
from .quarantine import Quarantine
from .sources import Queried, affordable_in_order, in_order

__all__ = ["Recovering"]


class Recovering(Queried):
    """Asks the server, carefully after an unclean end.

    The recovery is over when all is written that was due when it began. A mirror, which has no
    counts, is not asked before.
    """

    def __init__(self, connection: Connection, quarantine: Quarantine) -> None:
        super().__init__(connection)
        self._quarantine = quarantine
        self._presence = Presence(connection)
        self._is_under_way = False

    def start(self, logger: logging.Logger) -> None:
        """Tell that a scheduler starts, and whether to go carefully; 2 commands."""
        self._is_under_way = self._presence.begin(logger)
        if self._is_under_way:
            logger.info("A scheduler ended without a shutdown: its due jobs run in small batches")
        self._size = 1
        self._began: float | None = None  # by the scheduler's clock
        self._has_suspects = True
        self._is_last = False

    def end(self) -> None:
        """Tell that the scheduler has ended as it should."""
        self._presence.end()

    def forked(self) -> None:
        """In a forked process: the scheduler is the parent's."""
        self._presence.forked()

    def is_over(self) -> bool:
        """Whether there is nothing to recover; to be asked when what was handed out is written."""
        if self._is_under_way and self._is_last:
            self._is_under_way = False
            self._presence.forget_others()
        return not self._is_under_way

    def due(self, now: float, limit: int) -> list[Seen]:
        """Return the first jobs that are due; in the recovery fewer, 2 commands more.

        Who calls has flushed what was handed out before.
        """
        if self.is_over():
            return super().due(now, limit)
        due: Document = {"next_run_time": {"$lte": now}}
        found = self._suspect(due)
        is_last = False
        if not found:
            size = min(self._size, limit)
            found = list(map(Counted.of, affordable_in_order(self._connection, due, FIELDS, size)))
            if self._began is None:
                self._began = now
            is_all = len(found) < (1 if self._connection.is_slow else size)
            is_last = is_all or _is_later(found[0].run_time, self._began)
        if found:
            count(self._connection, due, [seen.id for seen in found])
        self._size *= 2
        self._is_last = is_last
        return found

    def _suspect(self, due: Document) -> list[Seen]:
        """Return the first suspect; those before it that are convicted go into quarantine."""
        while self._has_suspects:
            unmarked = [each for each in self._quarantine.unmarked if isinstance(each, str)]
            counted = {"attempts.count": {"$gte": 1}, "_id": {"$nin": unmarked}}
            documents = in_order(self._connection, due | counted, COUNTED_FIELDS, 1)
            self._has_suspects = bool(documents)
            for document in documents:
                seen = Counted.of(document)
                if attempts(document) < MOST_ATTEMPTS or _is_of_this_process(document):
                    return [seen]
                self._quarantine.convict([seen])
        return []


def _is_of_this_process(document: Document) -> bool:
    return bool(document["attempts"].get("by") == process())


def _is_later(run_time: Any, began: float) -> bool:
    return isinstance(run_time, int | float) and run_time > began
