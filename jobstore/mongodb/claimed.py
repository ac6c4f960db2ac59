"""The source of due jobs for many schedulers on one collection: each is leased by one of them.

What is due, a scheduler says by its own clock; what is leased, the server by its.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any

from bson import ObjectId
from pymongo import ASCENDING
from pymongo.errors import PyMongoError

from . import batches
from .abandoned import Abandoned, abandoned_once_more, is_abandoned
from .attempts import COUNTED_FIELDS, MOST_ATTEMPTS, attempts
from .candidates import Candidates, chance
from .connection import Connection
from .documents import Counted, Document, HasTime, Seen, UnreadableError, key
from .lease import FREE, IS_OVER, Lease, acquired
from .paced import is_slow, large_seconds, limited, noted
from .quarantine import Quarantine
from .sizes import bytes_of
from .skipped import LEFT_SECONDS, Skipped
from .sources import IN_TIME, first_of, sample
from .summary import Line, Summary
from .updates import change_all_or_each, release

__all__ = ["Claimed"]

MOST = 10_000  # ids in one command
LEFT = Line(
    logging.INFO,
    'Leaving job "%s" to other schedulers: %s',
    "Leaving %s jobs (%s) to other schedulers: %s",
)
WAIT_SECONDS = 0.4  # before another look at what others have leased: they may leave it to us,
# and then it should be in time for the stock `misfire_grace_time`, 1 s
NOW: Document = {"$divide": [{"$toLong": "$$NOW"}, 1000]}  # by the server, in seconds
OVERDUE: Document = {"$lte": ["$next_run_time", {"$subtract": [NOW, LEFT_SECONDS]}]}


class Claimed:
    """Claims due jobs for one scheduler.

    :param seconds: how long a claim lasts.
    :param quarantine: for jobs that end their processes.
    :ivar skipped: the due jobs that can't be run here, left to others.
    """

    def __init__(self, connection: Connection, seconds: float, quarantine: Quarantine) -> None:
        self._connection = connection
        self._quarantine = quarantine
        self._abandoned = Abandoned()
        self._seconds = seconds
        self._won: list[Seen] = []  # by the last call of `due`
        self._claimed_at = 0.0  # by the monotonic clock, or earlier
        self._leased = seconds  # by the last claim: more for what a slow line takes long for
        self._unread: tuple[ObjectId, list[Any]] | None = None  # a claim; who has won isn't known
        self.skipped = Skipped()
        self._lines = Summary()
        self._candidates = Candidates(connection, self.skipped, self._leave)
        self.logger = logging.getLogger(__name__)

    def due(self, now: float, limit: int, is_second_try: bool = False) -> list[Seen]:
        """Claim due jobs that are free; O(log n + k), 3 commands, 1 if nothing is due.

        2 more each time that others have won all of it, 1 more for each look in vain. Won is what
        bears our token, whatever has become of a reply. What can't be read in time is given back,
        and so many are claimed as can.
        """
        self.give_back()
        self._won = []
        free = {"next_run_time": {"$lte": now}, **FREE}
        most = min(limit, MOST, self._connection.reading.count)
        for free_ones in self._candidates.found(now, most):
            found = self._abandoned.first(free_ones, most)
            token, ids = ObjectId(), [document["_id"] for document in found]
            self._unread = token, ids
            self._claimed_at = time.monotonic()
            size = sum(each.get("size", 0) for each in found)
            self._leased = self._seconds + large_seconds(self._connection, size)
            won = self._claim(free, found, token)
            if won is not None and won < len(found):
                self._candidates.note(met_others=True)
            if won != 0:
                try:
                    self._won = self._innocent(self._bearing(token, ids, size))
                except PyMongoError as error:
                    if not is_slow(error) or is_second_try:
                        raise
                    sample(self._connection, {"_id": {"$in": ids}}, len(ids))
                    return self.due(now, limit, is_second_try=True)
            self._unread = None
            if won != 0:
                break
        self._lines.log(self.logger)
        return [seen for seen in self._won if not _is_later(seen.run_time, now)]

    def forked(self) -> None:
        """In a forked process: what was claimed is its parent's."""
        self._unread = None

    def give_back(self) -> None:
        """Give back what was claimed, and could not be read."""
        if self._unread:
            (token, ids), self._unread = self._unread, None
            release(self._connection, ids, [token], self.logger)

    def _claim(self, free: Document, found: list[Document], token: ObjectId) -> int | None:
        """Claim what is still due and free; returns how many it were, None if that isn't known."""
        claim = {"acquired_by": token, "acquired_until": acquired(self._leased)}
        if any(map(is_abandoned, found)):
            claim["attempts"] = abandoned_once_more()
        ids = [document["_id"] for document in found]
        matched, refused = change_all_or_each(self._connection, free, ids, claim)
        for refusal in refused.details["writeErrors"] if refused else ():
            self._leave(Seen.of(found[refusal["index"]]), refusal["errmsg"])
        return matched

    def _leave(self, seen: Seen, reason: object) -> None:
        if self.skipped.add(seen):
            self._lines.add(LEFT, seen.id, reason)

    def _bearing(self, token: ObjectId, ids: list[Any], size: int) -> list[Document]:
        query = {"_id": {"$in": ids}, "acquired_by": token}
        found: list[Document] = []
        reading = self._connection.reading
        with (
            limited(self._connection, reading, lambda: size) as seconds,
            noted(self._connection, reading, lambda: bytes_of(found)),
            self._connection.limit(seconds),
        ):
            found += self._connection.jobs.find(query, COUNTED_FIELDS, batch_size=len(ids) + 1)
        return found

    def _innocent(self, won: list[Document]) -> list[Seen]:
        """Return the jobs that may run; those that ended so many processes go into quarantine."""
        culprits = [each for each in won if attempts(each) >= MOST_ATTEMPTS]
        if culprits:
            self._quarantine.convict(list(map(Counted.of, culprits)))
        return [
            Counted.of(each) if attempts(each) else Seen.of(each)
            for each in won
            if attempts(each) < MOST_ATTEMPTS
        ]

    def lease(self) -> Lease | None:
        """Make the lease of what was claimed by the last call of `due`."""
        if not self._won:
            return None
        ids, token = [seen.id for seen in self._won], self._won[0].claim
        return Lease(self._connection, token, ids, self._claimed_at, self._leased, self.logger)

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
        self._lines.log(self.logger)
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

    def next_run_time(self, now: float, but: Mapping[Any, HasTime]) -> float | None:
        """Return when to look again; O(log n) and one command.

        That is the earliest run time of a free job; or that of an earlier one that is leased, and
        if it is due, a moment from now, at random: those that leave it to others would find it
        leased by each other all the time. Or the time to look again at what was left to others.
        """
        soon = now + WAIT_SECONDS * chance.uniform(0.5, 1)
        times = [
            each["next_run_time"] if each["free"] or each["next_run_time"] > now else soon
            for each in first_of(self._in_order, {**but, **self.skipped.current()})
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
