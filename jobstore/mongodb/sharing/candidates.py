"""Candidates: free due jobs that one of many schedulers may claim, found with little contention.

Schedulers that poll together see the same first jobs. Running cycles have already leased most of
these, and the others would be claimed by several schedulers at once. So each scheduler looks at
one *window* of the due jobs, as large as its claim may be. It picks one of the first N windows at
random. N doubles, up to 16, when the scheduler meets contention: more than half of the window is
leased, or part of its claim is lost. Otherwise N shrinks by 10 %, so a scheduler that is alone
looks at the first window.

The server skips the jobs before a window along the index. That costs a fifth of reading past
leased documents.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping

from .. import queries
from ..connection import Connection
from ..documents import REPLACEMENT, Document, HasTime, IdKey, Record, is_included
from ..ordered import in_order, sized_in_order
from ..slow_line.pace import ID_BYTES, affordable, split_by_bytes
from ..slow_line.sizes import id_bytes, size_of
from .lease import EXPIRED, UNLEASED
from .unrunnable import UnrunnableJobs

__all__ = ["Candidates", "rng"]

MAX_LOOKS = 3  # at windows; the last look is at the first free jobs, behind leased ones
MAX_WINDOWS = 16  # twice the number of schedulers to expect
PROJECTION: Document = {
    "next_run_time": 1,
    "free": EXPIRED,
    "acquired_by": 1,
    "acquired_until": 1,
    "attempts": 1,  # the last three tell whether a claim was abandoned
}
rng = random.SystemRandom()  # applications may seed the default generators of all processes alike


class Candidates:
    """Finds due jobs that are free, for one of many schedulers.

    :param unrunnable: the jobs that are left to other schedulers.
    :param on_unclaimable: callback, called with each job that can't be claimed, and the reason.
    """

    def __init__(
        self,
        connection: Connection,
        unrunnable: UnrunnableJobs,
        on_unclaimable: Callable[[Record, object], None],
    ) -> None:
        self._connection = connection
        self._unrunnable = unrunnable
        self._on_unclaimable = on_unclaimable
        self._windows = 1.0

    def find(
        self, now: float, limit: int, exclude: Mapping[IdKey, HasTime]
    ) -> Iterator[list[Document]]:
        """Yield batches of at most `limit` documents to claim, without their states.

        The caller goes on to the next batch when other schedulers have won all of this one.

        A batch takes 1 command, 2 if ids are not UTF-8, and 1 more for each window that is mostly
        leased or has no due jobs. A window costs O(log n + its end), the last look O(log n + leased
        jobs).

        :param now: the scheduler's time, in seconds since the epoch.
        :param exclude: jobs that are not to be claimed, beside those left to other schedulers.
        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        due: Document = {"next_run_time": {"$lte": now}}
        is_past_end = False
        for _ in range(MAX_LOOKS):
            left_out = self._unrunnable.added_to(exclude)
            size = limit + len(left_out)
            start = 0 if is_past_end else size * rng.randrange(int(self._windows))
            window = self._read(due, start, size)
            is_past_end = start > 0 and not window
            free = [document for document in window if document["free"]]
            is_contended = 2 * len(free) < len(window)
            self.note_contention(is_contended)
            if len(window) < size:  # the window reaches the end of the due jobs
                self._windows = max(1, min(self._windows, math.ceil((start + len(window)) / size)))
            elif is_contended:
                continue  # another look costs less than a cycle for the few free jobs
            if claimable := self._claimable(free, left_out)[:limit]:
                yield claimable
            elif not start and len(window) < size:
                return  # this window had all due jobs
        left_out = self._unrunnable.added_to(exclude)
        first_free = self._read(due | UNLEASED, 0, limit + len(left_out))
        if claimable := self._claimable(first_free, left_out)[:limit]:
            yield claimable

    def note_contention(self, is_contended: bool) -> None:
        """Adapt the number of windows to the contention that a look or a claim has met."""
        self._windows = min(MAX_WINDOWS, max(1, self._windows * (2 if is_contended else 0.9)))

    def _read(self, query: Document, start: int, size: int) -> list[Document]:
        read = sized_in_order if self._connection.is_slow else in_order
        return read(self._connection, query, PROJECTION, size, start)

    def _claimable(self, free: list[Document], left_out: Mapping[IdKey, HasTime]) -> list[Document]:
        runnable = [
            each for each in free if is_included(each["_id"], each["next_run_time"], left_out)
        ]
        return self._with_exact_ids(self._within_budget(runnable))

    def _within_budget(self, free: list[Document]) -> list[Document]:
        """Return the documents that one command can name and, on a slow line, a cycle can carry.

        Documents that were read before the line was found to be slow have no sizes, and all of
        them are returned. The next read gets the sizes.
        """
        free = next(split_by_bytes(free, lambda each: id_bytes(each["_id"]), ID_BYTES), [])
        if not all("size" in document for document in free):
            return free
        first, small = affordable(list(map(size_of, free)), self._connection.cycle_budget)
        return free[:first] + [free[place] for place in small]

    def _with_exact_ids(self, due: list[Document]) -> list[Document]:
        """Return the documents whose ids a statement can name.

        An id that is not UTF-8 was read with replacement characters, so no statement finds it.
        """
        doubtful = [document for document in due if REPLACEMENT in str(document["_id"])]
        if not doubtful:
            return due
        exact = queries.stored_ids(self._connection, [document["_id"] for document in doubtful])
        inexact = [document for document in doubtful if document["_id"] not in exact]
        for document in inexact:
            self._on_unclaimable(Record.of(document), "its id is not UTF-8, so it can't be named")
        return [document for document in due if document not in inexact]
