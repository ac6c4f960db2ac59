"""Which of the due jobs to claim: free ones, from where no others are at work just now."""

import math
import random
from collections.abc import Callable, Iterator, Mapping

from .. import queries
from ..connection import Connection
from ..documents import REPLACED, Document, HasTime, IdKey, Record, counts
from ..ordered import in_order, sized_in_order
from ..slow_line.pace import ID_BYTES, affordable, parts
from ..slow_line.sizes import id_bytes, size_of
from .lease import EXPIRED, UNLEASED
from .unrunnable import UnrunnableJobs

__all__ = ["Candidates", "chance"]

LOOKS = 3  # at windows; then one in front, behind what is leased there
MAX_WINDOWS = 16  # twice the schedulers to expect
PROJECTION: Document = {
    "next_run_time": 1,
    "free": EXPIRED,
    "acquired_by": 1,
    "acquired_until": 1,
    "attempts": 1,  # who has left it behind, if anybody
}
chance = random.SystemRandom()  # not the generator that applications seed, all of them alike


class Candidates:
    """Finds due jobs that are free, for one scheduler of many.

    What is in front is leased by those at work, and who looks at the same moment finds the same.
    So each looks at a window of what is due, as large as what it may claim, one of the first few
    at random. Their number doubles when more than half of a window, or some of a claim, turns out
    to be others', and else shrinks: a scheduler that is alone looks in front. What is before the
    window costs the server a walk along the index, a fifth of passing over leased documents.

    :param unrunnable: the jobs that are left to others.
    :param leave: is called with each job that can't be claimed, and why.
    """

    def __init__(
        self,
        connection: Connection,
        unrunnable: UnrunnableJobs,
        leave: Callable[[Record, object], None],
    ) -> None:
        self._connection = connection
        self._unrunnable = unrunnable
        self._leave = leave
        self._windows = 1.0

    def found(self, now: float, limit: int) -> Iterator[list[Document]]:
        """Yield at most `limit` jobs to claim; if the caller goes on, others.

        They are documents without states.

        1 command each; 1 more for each window that is others', or beyond what is due. A
        window costs O(log n + its end), the last look O(log n + what is leased).
        """
        due: Document = {"next_run_time": {"$lte": now}}
        is_beyond = False
        for _ in range(LOOKS):
            unrunnable = self._unrunnable.current()
            size = limit + len(unrunnable)
            start = 0 if is_beyond else size * chance.randrange(int(self._windows))
            window = self._read(due, start, size)
            is_beyond = start > 0 and not window
            free = [document for document in window if document["free"]]
            met_others = 2 * len(free) < len(window)
            self.note(met_others)
            if len(window) < size:  # there are no more
                self._windows = max(1, min(self._windows, math.ceil((start + len(window)) / size)))
            elif met_others:
                continue  # to look elsewhere costs less than a cycle for the few that are free
            if usable := self._usable(free, unrunnable)[:limit]:
                yield usable
            elif not start and len(window) < size:
                return  # that was all that is due
        unrunnable = self._unrunnable.current()
        in_front = self._read(due | UNLEASED, 0, limit + len(unrunnable))
        if usable := self._usable(in_front, unrunnable)[:limit]:
            yield usable

    def note(self, met_others: bool) -> None:
        """Note whether others have what was found."""
        self._windows = min(MAX_WINDOWS, max(1, self._windows * (2 if met_others else 0.9)))

    def _read(self, query: Document, start: int, size: int) -> list[Document]:
        read = sized_in_order if self._connection.is_slow else in_order
        return read(self._connection, query, PROJECTION, size, start)

    def _usable(self, free: list[Document], unrunnable: Mapping[IdKey, HasTime]) -> list[Document]:
        mine = [each for each in free if counts(each["_id"], each["next_run_time"], unrunnable)]
        return self._nameable(self._affordable(mine))

    def _affordable(self, free: list[Document]) -> list[Document]:
        """Leave what one command can't name, and on a slow line what a cycle can't read and write.

        A job that was seen before the line was found slow has no size: the next look tells it.
        """
        free = next(parts(free, lambda each: id_bytes(each["_id"]), ID_BYTES), [])
        if not all("size" in each for each in free):
            return free
        first, small = affordable(list(map(size_of, free)), self._connection.cycle_budget)
        return free[:first] + [free[place] for place in small]

    def _nameable(self, due: list[Document]) -> list[Document]:
        """Leave what no statement finds: ids that are no UTF-8 were read with replacements."""
        doubtful = [each for each in due if REPLACED in str(each["_id"])]
        if not doubtful:
            return due
        named = queries.stored_ids(self._connection, [each["_id"] for each in doubtful])
        lost = [each for each in doubtful if each["_id"] not in named]
        for each in lost:
            self._leave(Record.of(each), "its id is no UTF-8, and so can't be named")
        return [each for each in due if each not in lost]
