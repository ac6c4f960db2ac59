"""The source of due jobs for many schedulers on one collection: each is leased by one of them.

What is due, a scheduler says by its own clock; what is leased, the server by its.
"""

import logging
import random
import time
from collections.abc import Mapping
from typing import Any

from bson import ObjectId
from pymongo import ASCENDING, UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError, WriteError

from . import batches
from .connection import Connection, Document
from .documents import FIELDS, Seen, UnreadableError
from .lease import FREE, IS_OVER, Lease, acquired, change_twice, release
from .skipped import LEFT_SECONDS, Skipped
from .sources import IN_TIME, REPLACED, counts, first_of, key
from .statements import TRANSIENT

__all__ = ["Claimed"]

MOST = 10_000  # ids in one command
MOST_AT_ONCE = 8  # schedulers, between which claims are spread
TRIES = 3  # at a claim, if others win all of it
WAIT_SECONDS = 0.4  # before another look at what others have leased: they may leave it to us,
# and then it should be in time for the stock `misfire_grace_time`, 1 s
NOW: Document = {"$divide": [{"$toLong": "$$NOW"}, 1000]}  # by the server, in seconds
OVERDUE: Document = {"$lte": ["$next_run_time", {"$subtract": [NOW, LEFT_SECONDS]}]}


class Claimed:
    """Claims due jobs for one scheduler.

    Schedulers that claim at the same moment find the same jobs, and each wins a part of them, or
    none. So one that has lost some finds more jobs than it may claim the next times, and claims
    them from somewhere among these on.

    :param seconds: how long a claim lasts.
    :ivar skipped: the due jobs that can't be run here, left to others.
    """

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._won: list[Seen] = []  # by the last call of `due`
        self._claimed_at = 0.0  # by the monotonic clock, or earlier
        self._unread: tuple[ObjectId, list[Any]] | None = None  # a claim; who has won isn't known
        self._crowd = 1.0  # about how many claim at the same moment, as our claims tell
        self.skipped = Skipped()
        self.logger = logging.getLogger(__name__)

    def due(self, now: float, limit: int) -> list[Seen]:
        """Claim the first due jobs that are free; O(log n + k), 3 commands, 1 if there are none.

        2 more each time that others have won all of it. Won is what bears our token, whatever
        has become of a reply.
        """
        self.give_back()
        self._won = []
        self._claimed_at = time.monotonic()
        free = {"next_run_time": {"$lte": now}, **FREE}
        for _ in range(TRIES):
            found = self._first(free, min(limit, MOST))
            if not found:
                break
            token, ids = ObjectId(), [seen.id for seen in found]
            self._unread = token, ids
            won = self._claim(free, found, token)
            lost_some = won is not None and won < len(found)
            self._crowd = max(1, min(MOST_AT_ONCE, self._crowd * (2 if lost_some else 0.9)))
            if won != 0:
                self._won = self._bearing(token, ids)
            self._unread = None
            if won != 0:
                break
        return [seen for seen in self._won if not _is_later(seen.run_time, now)]

    def forked(self) -> None:
        """In a forked process: what was claimed is its parent's."""
        self._unread = None

    def give_back(self) -> None:
        """Give back what was claimed, and could not be read."""
        if self._unread:
            (token, ids), self._unread = self._unread, None
            release(self._connection, ids, [token], self.logger)

    def _first(self, query: Document, limit: int) -> list[Seen]:
        """Find what may be claimed; what is left to others may be in front of it."""
        by_time = [("next_run_time", ASCENDING)]
        skipped = self.skipped.run_times()
        most = limit * int(self._crowd) + len(skipped)
        with self._connection.limit():
            found = self._connection.jobs.find(
                query, ["next_run_time"], sort=by_time, limit=most, batch_size=most
            )
            due = [Seen.of(document) for document in found]
        due = self._nameable([seen for seen in due if counts(seen.id, seen.run_time, skipped)])
        due = due[: limit * int(self._crowd)]
        start = limit * random.randrange(max(1, -(-len(due) // limit)))  # all equally often
        return due[start : start + limit]

    def _nameable(self, due: list[Seen]) -> list[Seen]:
        """Leave what no statement finds: ids that are no UTF-8 were read with replacements."""
        doubtful = [seen.id for seen in due if REPLACED in str(seen.id)]
        if not doubtful:
            return due
        named = batches.stored(self._connection, doubtful)
        lost = [seen for seen in due if REPLACED in str(seen.id) and seen.id not in named]
        for seen in lost:
            self._leave(seen, "its id is no UTF-8, and so can't be named")
        return [seen for seen in due if seen not in lost]

    def _claim(self, free: Document, found: list[Seen], token: ObjectId) -> int | None:
        """Claim what is still due and free; returns how many it were, None if that isn't known."""
        claim = {"acquired_by": token, "acquired_until": acquired(self._seconds)}
        query = free | {"_id": {"$in": [seen.id for seen in found]}}
        try:
            return change_twice(self._connection, query, claim)
        except WriteError as error:
            if error.code in TRANSIENT:
                raise
        # One is refused for its own sake, by a validator, say: and the server stops at it.
        each = [UpdateOne(free | {"_id": {"$eq": seen.id}}, [{"$set": claim}]) for seen in found]
        try:
            with self._connection.session() as session:
                self._connection.jobs.bulk_write(each, ordered=False, session=session)
        except BulkWriteError as error:
            for refusal in error.details["writeErrors"]:
                self._leave(found[refusal["index"]], refusal["errmsg"])
        return None

    def _leave(self, seen: Seen, reason: object) -> None:
        if self.skipped.add(seen):
            self.logger.info('Leaving job "%s" to other schedulers: %s', seen.id, reason)

    def _bearing(self, token: ObjectId, ids: list[Any]) -> list[Seen]:
        query = {"_id": {"$in": ids}, "acquired_by": token}
        with self._connection.limit():
            found = self._connection.jobs.find(query, FIELDS, batch_size=len(ids) + 1)
            return [Seen.of(document) for document in found]

    def lease(self) -> Lease | None:
        """Make the lease of what was claimed by the last call of `due`."""
        if not self._won:
            return None
        ids, token = [seen.id for seen in self._won], self._won[0].claim
        return Lease(self._connection, token, ids, self._claimed_at, self._seconds, self.logger)

    def leave_to_others(
        self, bad: list[tuple[Seen, UnreadableError]], lease: Lease
    ) -> list[tuple[Seen, UnreadableError]]:
        """Give back what can't be run here; returns what nobody has taken for a minute.

        It was seen due a minute ago, and by the server's clock it has been due as long: where
        ours is ahead, for others it may not be due yet.
        """
        waited = self._overdue([seen.id for seen, _ in bad if self.skipped.has_waited(seen)])
        leaving = [pair for pair in bad if key(pair[0].id) not in waited]
        for seen, reason in leaving:
            self._leave(seen, reason)
        lease.release([seen.id for seen, _ in leaving])
        taking = [pair for pair in bad if key(pair[0].id) in waited]
        for seen, _ in taking:  # once it is back from quarantine, others have a minute again
            self.skipped.forget(seen.id)
        return taking

    def _overdue(self, ids: list[Any]) -> set[Any]:
        try:
            found = batches.stored(self._connection, ids, {"$expr": OVERDUE}) if ids else []
        except PyMongoError as error:  # what is claimed is to be handed out all the same
            self.logger.warning("Unable to tell for how long jobs have been due: %s", error)
            found = []
        return set(map(key, found))

    def next_run_time(self, now: float, but: Mapping[Any, Any]) -> float | None:
        """Return when to look again; O(log n) and one command.

        That is the earliest run time of a free job; or that of an earlier one that is leased, and
        if it is due, a moment from now, at random: those that leave it to others would find it
        leased by each other all the time. Or the time to look again at what was left to others.
        """
        soon = now + WAIT_SECONDS * random.uniform(0.5, 1)
        times = [
            each["next_run_time"] if each["free"] or each["next_run_time"] > now else soon
            for each in first_of(self._in_order, {**but, **self.skipped.run_times()})
        ]
        again = self.skipped.until()
        if again is not None:
            times.append(now + again - time.monotonic())
        return min(times, default=None)

    def _in_order(self, limit: int) -> list[Document]:
        """Return the first documents, leased or not, and the first free ones."""

        def those(**query: Any) -> list[Document]:
            return [
                {"$match": {"next_run_time": IN_TIME, **query}},
                {"$sort": {"next_run_time": ASCENDING}},
                {"$limit": limit},
                {"$project": {"next_run_time": 1, "free": IS_OVER}},
            ]

        jobs = self._connection.jobs
        free = {"$unionWith": {"coll": jobs.name, "pipeline": those(**FREE)}}
        with self._connection.limit():
            return list(jobs.aggregate([*those(), free], batchSize=2 * limit + 1))


def _is_later(run_time: Any, now: float) -> bool:
    """Whether it is not due: somebody has changed it after it was claimed."""
    return run_time is None or (isinstance(run_time, int | float) and run_time > now)
