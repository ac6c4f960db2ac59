"""Leases: which of many schedulers may fire a job, and until when.

Who claims a due job writes two fields into its document: ``acquired_by``, a token of its own for
each claim, and ``acquired_until``, a time by the server's clock. Until then it is leased: nobody
else claims it. The flush gives it back in the same guarded write that reschedules it; the token
stays, so that a write that has arrived can be told from one of a successor.

What a process thinks of its own leases it measures from before it asked for them, by a clock that
nobody sets: so it always ends them earlier than the server does.
"""

import logging
import time
from collections.abc import Iterable

from bson import ObjectId
from pymongo.errors import PyMongoError

from ...base import first_few
from .. import queries
from ..connection import Connection
from ..documents import Document, DocumentId, IdKey, hashable_id
from ..updates import release, update_with_retry

__all__ = ["EXPIRED", "UNLEASED", "Lease", "acquired"]

EXPIRED: Document = {"$lte": ["$acquired_until", "$$NOW"]}  # by the server; null is before all
UNLEASED: Document = {"$or": [{"acquired_until": None}, {"$expr": EXPIRED}]}  # the first is cheap


def acquired(seconds: float) -> Document:
    """Build the expression of a lease's end."""
    return {"$add": ["$$NOW", round(seconds * 1000)]}


class Lease:
    """The claims of one cycle: what it may fire, as long as it holds it.

    :param token: of the claims.
    :param job_ids: the jobs that were claimed.
    :param started: when they were, by the monotonic clock, or earlier.
    :param seconds: how long they are leased.
    """

    def __init__(
        self,
        connection: Connection,
        token: ObjectId,
        job_ids: Iterable[DocumentId],
        started: float,
        seconds: float,
        logger: logging.Logger,
    ) -> None:
        self._connection = connection
        self._token = token
        self._claimed = {hashable_id(job_id): job_id for job_id in job_ids}
        self._untouched = set(self._claimed)  # neither fired nor given back
        self._revoked: set[IdKey] = set()  # of these, what is not to be fired any more
        self._seconds = seconds
        self._ever_expired = False
        self._logger = logger
        self._begins(started)

    def _begins(self, started: float) -> None:
        self._renewed_at = started + self._seconds / 2
        self._ends_at = started + self._seconds

    @property
    def ever_expired(self) -> bool:
        """Whether others may have claimed what was not yet given back, now or at any time."""
        self._ever_expired |= time.monotonic() >= self._ends_at
        return self._ever_expired

    def holds(self, job_id: str) -> bool:
        """Whether a job may be fired now; 2 commands when half of the time is over.

        Then all is renewed that was not given back. What is lost, or can't be renewed, is not
        held again.
        """
        if self._may_fire(job_id) and time.monotonic() >= self._renewed_at:
            self._renew()
        return self._may_fire(job_id)

    def _may_fire(self, job_id: str) -> bool:
        return job_id in self._untouched and job_id not in self._revoked

    def _renew(self) -> None:
        held: set[IdKey] = set()
        started = time.monotonic()
        self._ever_expired = self.ever_expired
        ids = list(self._claimed.values())
        ours = {"acquired_by": self._token, "acquired_until": {"$type": "date"}}
        try:
            query = {"_id": {"$in": ids}, **ours}
            update_with_retry(self._connection, query, {"acquired_until": acquired(self._seconds)})
            held.update(map(hashable_id, queries.stored_ids(self._connection, ids, ours)))
            self._begins(started)
        except PyMongoError as error:
            self._logger.warning("Unable to renew the lease of the jobs that are due: %s", error)
        if time.monotonic() >= self._ends_at:
            held.clear()
        lost = self._untouched - self._revoked - held
        if lost:
            self._logger.warning(
                "%d due jobs are left to others (%s): their lease ended",
                len(lost),
                first_few([job_id for name, job_id in self._claimed.items() if name in lost]),
            )
        self._revoked |= lost  # it may still be ours to give back

    def done(self, job_id: DocumentId) -> None:
        """Note that a job was fired: what is written for it gives it back."""
        self._untouched.discard(hashable_id(job_id))

    def revoke(self, job_id: DocumentId) -> None:
        """Fire a job no more: its document is about to be written, which gives it back.

        If that fails, the cycle's end does.
        """
        self._revoked |= {hashable_id(job_id)} & self._untouched

    def release(self, job_ids: Iterable[DocumentId] | None = None) -> None:
        """Give back what was not touched, or those of it; 1 command, if there is any."""
        some = (
            set(self._untouched if job_ids is None else map(hashable_id, job_ids)) & self._untouched
        )
        self._untouched -= some
        if some:
            ids = [self._claimed[each] for each in some]
            release(self._connection, ids, [self._token], self._logger)
