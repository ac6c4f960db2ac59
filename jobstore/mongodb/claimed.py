"""The source of due jobs for many schedulers on one collection: each is leased by one of them.

What is due, a scheduler says by its own clock; what is leased, the server by its.
"""

import logging
import random
import time
from collections.abc import Mapping
from typing import Any

from bson import ObjectId
from pymongo import ASCENDING

from .connection import Connection, Document
from .documents import FIELDS, Seen, UnreadableError
from .lease import FREE, IS_OVER, Lease, acquired, change_twice
from .skipped import LEFT_SECONDS, Skipped
from .sources import IN_TIME, first_of, key

__all__ = ["Claimed"]

MOST = 10_000  # ids in one command
MOST_AT_ONCE = 8  # schedulers, between which claims are spread
TRIES = 3  # at a claim, if others win all of it
WAIT_SECONDS = 1.0  # before another look at what others have leased


class Claimed:
    """Claims due jobs for one scheduler.

    Schedulers that claim at the same moment find the same jobs, and each wins a part of them, or
    none. So one that has lost some finds more jobs than it may claim the next times, and claims
    them from somewhere among these on.

    :param seconds: how long a claim lasts.
    """

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._asked = time.time(), time.monotonic()  # the scheduler's clock, and ours
        self._skipped = Skipped()
        self._crowd = 1.0  # about how many claim at the same moment, as our claims tell
        self.logger = logging.getLogger(__name__)

    def due(self, now: float, limit: int) -> list[Seen]:
        """Claim the first due jobs that are free; O(log n + k), 3 commands, 1 if there are none.

        2 more each time that others have won all of it. Won is what bears our token, whatever
        has become of a reply.
        """
        self._asked = now, time.monotonic()
        skipped = [left.id for left in self._skipped.recent()]
        if len(skipped) >= MOST:
            self.logger.warning("%d due jobs can't be run here: claiming no more", len(skipped))
            return []
        free = {"next_run_time": {"$lte": now}, **FREE}
        for _ in range(TRIES):
            ids = self._first_ids(free | {"_id": {"$nin": skipped}}, min(limit, MOST))
            if not ids:
                break
            token = ObjectId()
            claim = {"acquired_by": token, "acquired_until": acquired(self._seconds)}
            won = change_twice(self._connection, free | {"_id": {"$in": ids}}, claim)
            lost_some = won is not None and won < len(ids)
            self._crowd = max(1, min(MOST_AT_ONCE, self._crowd * (2 if lost_some else 0.9)))
            if won != 0:
                return self._won(ids, token)
        return []

    def _first_ids(self, query: Document, limit: int) -> list[Any]:
        by_time = [("next_run_time", ASCENDING)]
        most = min(limit * int(self._crowd), MOST)
        with self._connection.limit():
            found = self._connection.jobs.find(
                query, ["_id"], sort=by_time, limit=most, batch_size=most
            )
            ids = [document["_id"] for document in found]
        start = random.randint(0, max(0, len(ids) - limit))
        return ids[start : start + limit]

    def _won(self, ids: list[Any], token: ObjectId) -> list[Seen]:
        query = {"_id": {"$in": ids}, "acquired_by": token}
        with self._connection.limit():
            found = self._connection.jobs.find(query, FIELDS, batch_size=len(ids) + 1)
            return [Seen.of(document) for document in found]

    def lease(self, found: list[Seen]) -> Lease | None:
        """Make the lease of what was claimed by the last call of `due`."""
        if not found:
            return None
        ids, (_, started) = [seen.id for seen in found], self._asked
        return Lease(self._connection, found[0].claim, ids, started, self._seconds, self.logger)

    def leave_to_others(
        self, bad: list[tuple[Seen, UnreadableError]], lease: Lease
    ) -> list[tuple[Seen, UnreadableError]]:
        """Give back what can't be run here; returns what nobody has taken for a minute."""
        waited = [pair for pair in bad if self._skipped.has_waited(pair[0])]
        leaving = [pair for pair in bad if pair not in waited]
        for seen, reason in leaving:
            if self._skipped.add(seen):
                self.logger.info('Leaving job "%s" to other schedulers: %s', seen.id, reason)
        lease.release([seen.id for seen, _ in leaving])
        return waited

    def next_run_time(self, but: Mapping[Any, Any]) -> float | None:
        """Return when to look again; O(log n) and one command.

        That is the earliest run time of a free job; or that of an earlier one that is leased, but
        if it is due a second from now; or the time to look again at what was left to others.
        """
        asked, clock = self._asked
        now = asked + time.monotonic() - clock
        skipped = self._skipped.recent()
        but = {**but, **{key(left.id): left.run_time for left in skipped}}
        times = [
            each["next_run_time"]
            if each["free"] or each["next_run_time"] > now
            else now + WAIT_SECONDS
            for each in first_of(self._in_order, but)
        ]
        times += [left.since + LEFT_SECONDS - time.monotonic() + now for left in skipped]
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
