"""Retry of quarantined jobs: every ten minutes, in small steps, first one job of each reason.

A *round* tries one job of each reason. If that job can be restored, the round tries all others of
the same reason. Each step takes one batch. So the thread that calls it, a cycle's or the store's
own, soon goes on with its work, even with very many jobs in quarantine.
"""

import logging
import time
from collections.abc import Iterator
from typing import Any

from pymongo import ASCENDING

from .. import queries
from ..connection import READ_BATCH, Connection
from ..documents import Document, DocumentId, hashable_id
from .quarantine import RETRIABLE, Quarantine, Restore

__all__ = ["Retry"]

ROUND_SECONDS = 600.0  # from the end of a round to the next one
STEP_SECONDS = 1.0  # from one step to the next one


class Retry:
    """Tries one batch of quarantined jobs when `step` is called, at most once a second.

    Only one thread may call `step` at a time.
    """

    def __init__(self, connection: Connection, quarantine: Quarantine) -> None:
        self._connection = connection
        self._quarantine = quarantine
        self._round: Iterator[None] | None = None
        self._next_at = 0.0  # by the monotonic clock
        self.logger = logging.getLogger(__name__)

    def postpone(self) -> None:
        """End the round; the next round begins in ten minutes."""
        self._round = None
        self._next_at = time.monotonic() + ROUND_SECONDS

    def step(self, restore: Restore) -> None:
        """Try the next batch, if it is time; at most 5 commands.

        An `Exception` is logged, and ends the round. Others, such as `SystemExit`, are raised.

        :param restore: makes the job of a record, or raises `UnreadableError`.
        """
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + STEP_SECONDS
        if self._round is None:
            self._quarantine.forget_all()  # cycles try again to mark the documents that failed
            self._round = self._steps(restore)
        try:
            if next(self._round, "over") == "over":
                self.postpone()
        except Exception as error:
            self.logger.warning("Unable to try quarantined jobs again: %s", error)
            self.postpone()

    def _steps(self, restore: Restore) -> Iterator[None]:
        restored_reasons: list[Any] = []
        for firsts in queries.batched(self._first_of_each_reason(), READ_BATCH):
            ids = [first for first, _ in firsts]
            restored = set(map(hashable_id, self._quarantine.put_back(restore, ids)))
            restored_reasons += [
                reason for first, reason in firsts if hashable_id(first) in restored
            ]
            yield
        for reasons in queries.batched(restored_reasons, READ_BATCH):
            failed = 0
            while job_ids := self._batch(reasons, skip=failed):
                failed += len(job_ids) - len(self._quarantine.put_back(restore, job_ids))
                yield

    def _first_of_each_reason(self) -> list[tuple[DocumentId, str]]:
        """Return the id of one job of each reason, with the reason."""
        pipeline: list[Document] = [
            {"$match": RETRIABLE},
            {"$group": {"_id": "$quarantine.reason", "first": {"$first": "$_id"}}},
        ]
        with self._connection.limit():
            found = self._connection.jobs.aggregate(pipeline, allowDiskUse=True)
            return [(each["first"], each["_id"]) for each in found]

    def _batch(self, reasons: list[Any], skip: int) -> list[DocumentId]:
        """Return ids of jobs with these reasons, the oldest first, after `skip` failed ones."""
        query = RETRIABLE | {"quarantine.reason": {"$in": reasons}}
        since = [("quarantine.since", ASCENDING)]
        with self._connection.limit():
            found = self._connection.jobs.find(
                query, ["_id"], sort=since, skip=skip, limit=READ_BATCH, batch_size=READ_BATCH
            )
            return [document["_id"] for document in found]
