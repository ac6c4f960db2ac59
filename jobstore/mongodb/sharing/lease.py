"""Leases: which of many schedulers may fire a job, and until when.

A claim writes two fields into the document of a due job. ``acquired_by`` is a fencing token, new
for each claim. ``acquired_until`` is the end of the lease by the server's clock: until then no
other scheduler claims the job. The flush releases the job in the same guarded write that
reschedules it. The token stays, so that the store can tell its own write from a successor's.

A process measures its own leases by the monotonic clock, from before it asked for them. So a lease
always ends earlier for its holder than for the server.
"""

import logging
import time
from collections.abc import Iterable

from bson import ObjectId
from pymongo.errors import PyMongoError

from ...base import first_few
from .. import queries
from ..connection import Connection
from ..counters import Counters
from ..documents import Document, DocumentId, IdKey, hashable_id
from ..updates import release, update_with_retry
from ..writes.guarded import EXPIRED

__all__ = ["EXPIRED", "UNLEASED", "Lease", "lease_end"]

UNLEASED: Document = {"$or": [{"acquired_until": None}, {"$expr": EXPIRED}]}  # the cheap test first


def lease_end(seconds: float) -> Document:
    """Build the expression for the end of a lease that begins now and lasts `seconds`."""
    return {"$add": ["$$NOW", round(seconds * 1000)]}


class Lease:
    """The lease on the jobs of one claim; says which of them may be fired.

    :param token: the claim's fencing token.
    :param job_ids: the ids of the claimed jobs.
    :param started: a time before the claim was sent, in seconds of the monotonic clock.
    :param seconds: how long the lease lasts.
    """

    def __init__(
        self,
        connection: Connection,
        token: ObjectId,
        job_ids: Iterable[DocumentId],
        started: float,
        seconds: float,
        logger: logging.Logger,
        counters: Counters,
    ) -> None:
        self._connection = connection
        self._token = token
        self._job_ids = {hashable_id(job_id): job_id for job_id in job_ids}
        self._pending = set(self._job_ids)  # neither fired nor released
        self._revoked: set[IdKey] = set()  # the pending jobs that must not be fired any more
        self._seconds = seconds
        self._ever_expired = False
        self._logger, self._counters = logger, counters
        self._start(started)

    def _start(self, started: float) -> None:
        self._renew_at = started + self._seconds / 2
        self._ends_at = started + self._seconds

    @property
    def ever_expired(self) -> bool:
        """Whether others may have claimed a job before it was released, now or earlier."""
        self._note_end()
        return self._ever_expired

    def _note_end(self) -> None:
        if time.monotonic() >= self._ends_at:
            self._ever_expired = True

    def holds(self, job_id: str) -> bool:
        """Return whether a job may be fired now; 2 commands if half of the lease is over.

        These renew the lease of all jobs that were not released. A job that is lost, or can't be
        renewed, is not fired any more. An error of the database is logged.
        """
        if not self._may_fire(job_id):
            return False
        if time.monotonic() < self._renew_at:
            return True
        self._renew()
        return self._may_fire(job_id)

    def _may_fire(self, job_id: str) -> bool:
        return job_id in self._pending and job_id not in self._revoked

    def _renew(self) -> None:
        held: set[IdKey] = set()
        started = time.monotonic()
        self._note_end()
        ids = list(self._job_ids.values())
        ours = {"acquired_by": self._token, "acquired_until": {"$type": "date"}}
        try:
            query = {"_id": {"$in": ids}, **ours}
            update_with_retry(self._connection, query, {"acquired_until": lease_end(self._seconds)})
            held.update(map(hashable_id, queries.stored_ids(self._connection, ids, ours)))
            self._start(started)
        except PyMongoError as error:
            self._logger.warning(
                "Unable to renew the lease of %d due jobs (%s): %s",
                len(self._pending),
                first_few([self._job_ids[key] for key in self._pending]),
                error,
            )
        if time.monotonic() >= self._ends_at:
            held.clear()
        lost = self._pending - self._revoked - held
        if lost:
            self._counters.lost_leases(len(lost))
            self._logger.warning(
                "%d due jobs are left to others (%s): their lease ended",
                len(lost),
                first_few([job_id for key, job_id in self._job_ids.items() if key in lost]),
            )
        self._revoked |= lost  # still pending: if it is ours after all, `release` releases it

    def mark_fired(self, job_id: DocumentId) -> None:
        """Note that a job was fired; the write that follows releases it."""
        self._pending.discard(hashable_id(job_id))

    def revoke(self, job_id: DocumentId) -> None:
        """Fire a job no more, as its document is about to be written.

        That write releases the job. If the write fails, the end of the cycle releases the job.
        """
        self._revoked |= {hashable_id(job_id)} & self._pending

    def release(self, job_ids: Iterable[DocumentId] | None = None) -> None:
        """Release jobs that were not fired; 1 command, none if there are no such jobs.

        An error of the database is logged.

        :param job_ids: None for all jobs of the lease.
        """
        keys = set(self._pending if job_ids is None else map(hashable_id, job_ids)) & self._pending
        self._pending -= keys
        if keys:
            ids = [self._job_ids[key] for key in keys]
            release(self._connection, ids, [self._token], self._logger)
