"""The automatic retry of quarantined jobs: in small steps, one job of each reason first.

Every ten minutes a *round* begins. It tries one job of each reason; where that job is back, it
tries the others of its reason. Each step takes one batch, so that neither a cycle nor a thread of
the store is kept from its work for long, however many jobs are in quarantine.
"""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from apscheduler.job import Job
from pymongo import ASCENDING

from .. import queries
from ..connection import READ_BATCH, Connection
from ..documents import Document, DocumentId, Record, hashable_id
from .quarantine import RETRIED, Quarantine

__all__ = ["Retry"]

ROUND_SECONDS = 600.0  # from the end of a round to the next one
STEP_SECONDS = 1.0  # from one step to the next one

Restore = Callable[[Record], Job]


class Retry:
    """Tries a batch whenever `step` is called and a second has passed.

    One thread at a time calls it: one of the store's, or the scheduler's where there is none.
    """

    def __init__(self, connection: Connection, quarantine: Quarantine) -> None:
        self._connection = connection
        self._quarantine = quarantine
        self._round: Iterator[None] | None = None
        self._next_at = 0.0  # by the monotonic clock
        self.logger = logging.getLogger(__name__)

    def postpone(self) -> None:
        """End the round; the next one begins in ten minutes."""
        self._round = None
        self._next_at = time.monotonic() + ROUND_SECONDS

    def step(self, restore: Restore) -> None:
        """Try one batch, if it is time; at most 5 commands. An error is logged, and ends the round.

        Only what ends the process is raised.
        """
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + STEP_SECONDS
        if self._round is None:
            self._quarantine.forget_all()  # what can't be marked is looked at anew, too
            self._round = self._steps(restore)
        try:
            if next(self._round, "over") == "over":
                self.postpone()
        except Exception as error:
            self.logger.warning("Unable to try quarantined jobs again: %s", error)
            self.postpone()

    def _steps(self, restore: Restore) -> Iterator[None]:
        healed: list[Any] = []  # reasons
        for firsts in queries.batched(self._first_of_each_reason(), READ_BATCH):
            ids = [first for first, _ in firsts]
            back = set(map(hashable_id, self._quarantine.put_back(restore, ids)))
            healed += [reason for first, reason in firsts if hashable_id(first) in back]
            yield
        for reasons in queries.batched(healed, READ_BATCH):
            kept = 0
            while found := self._batch(reasons, kept):
                kept += len(found) - len(self._quarantine.put_back(restore, found))
                yield

    def _first_of_each_reason(self) -> list[tuple[DocumentId, str]]:
        """Return the id of one job of each reason, with the reason."""
        pipeline: list[Document] = [
            {"$match": RETRIED},
            {"$group": {"_id": "$quarantine.reason", "first": {"$first": "$_id"}}},
        ]
        with self._connection.limit():
            found = self._connection.jobs.aggregate(pipeline, allowDiskUse=True)
            return [(each["first"], each["_id"]) for each in found]

    def _batch(self, reasons: list[Any], skip: int) -> list[DocumentId]:
        """Return ids of jobs with these reasons, the oldest first, without those tried."""
        query = RETRIED | {"quarantine.reason": {"$in": reasons}}
        since = [("quarantine.since", ASCENDING)]
        with self._connection.limit():
            found = self._connection.jobs.find(
                query, ["_id"], sort=since, skip=skip, limit=READ_BATCH, batch_size=READ_BATCH
            )
            return [document["_id"] for document in found]
