"""How many bytes a command may carry, on a line whose speed nobody knows; no database here.

A command has a time limit. On a slow line a batch of large jobs doesn't get through within it, and
a repetition doesn't either. So a batch becomes smaller until it does.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["ID_BYTES", "MAX_LIMIT_FACTOR", "EventLimit", "Pace", "affordable", "split_by_bytes"]

MAX_BYTES = 12_000_000  # bytes: who carries so many in a second needs no bound
MIN_BYTES = 16_000  # bytes: smaller commands take their time for other reasons
FIRST_EVENTS = 1_000  # of which a time-out leaves an eighth
QUIET_SECONDS = 60.0
SHRINK_FACTOR = 8  # what took more than five times as long as it should
USUAL_FACTOR = 5  # times as long as it should: the time limit of a command
MAX_LIMIT_FACTOR = 6  # times the usual limit, for a document that is larger than the budget
SMALL_BYTES = 1_000  # such jobs, or jobs of 1 % of the budget, are read before larger ones
ID_BYTES = 4_000_000  # of ids in one command, which may name each of them three times
Item = TypeVar("Item")


class Pace:
    """Bounds the bytes of commands in one direction: reads, or writes.

    There is no bound until a command times out, or takes too long; from then on it is as much as
    the line carries in about a second. A time-out is proof of a slow line, so the bound stays until
    quick commands disprove it. A command that was merely slow may have met a stall; its bound ends
    after a quiet minute.

    :ivar budget: how many bytes the next command may carry.
    """

    def __init__(self) -> None:
        self.budget = math.inf
        self._is_proven = False  # by a time-out
        self._slow_at = 0.0  # by the monotonic clock

    @property
    def is_bounded(self) -> bool:
        """Whether commands have to be smaller than they could be."""
        return self.budget != math.inf

    @property
    def max_ids(self) -> int:
        """How many ids may be looked at, with a little about each."""
        return max(1, int(min(self.budget, MAX_BYTES) // 400))

    def limit_factor(self, size: int) -> float:
        """How many times the usual limit a command of so many bytes is given.

        A command that is larger than the budget carries one document, so it can't become smaller.
        It gets twice the time that the line needs for it.
        """
        return min(MAX_LIMIT_FACTOR, max(1.0, 2 * size / (USUAL_FACTOR * self.budget)))

    def note_duration(self, seconds: float, target: float, size: Callable[[], int]) -> None:
        """Note how long a command took, and what it carried.

        :param target: how long it should take.
        :param size: counts the bytes; not called while there is nothing to learn.
        """
        if seconds <= target and not self.is_bounded:
            return
        carried_bytes = size()
        in_time = carried_bytes * target / max(seconds, 1e-6)
        if in_time > self.budget:
            self._set(min(2 * self.budget, in_time))
        elif seconds > target and carried_bytes > MIN_BYTES:
            self._slow_at = time.monotonic()
            self._set(in_time)
        elif not self._is_proven and time.monotonic() - self._slow_at >= QUIET_SECONDS:
            self._set(math.inf)

    def note_timeout(self, size: int | None = None, limit_factor: float = 1.0) -> bool:
        """Note that a command timed out; returns whether a smaller one is worth a try.

        :param size: the bytes that it carried, if that is known.
        :param patience: how many times the usual limit it was given.
        """
        carried_bytes = min(self.budget, MAX_BYTES) if size is None else size
        if carried_bytes <= MIN_BYTES:
            return False
        self._is_proven = True
        self._set(min(self.budget, carried_bytes / (SHRINK_FACTOR * limit_factor)))
        return True

    def _set(self, budget: float) -> None:
        self.budget = math.inf if budget >= MAX_BYTES else max(MIN_BYTES, budget)
        self._is_proven &= self.is_bounded


class EventLimit:
    """Bounds how many events of a change stream are in one answer, after one has timed out.

    A stream's answers are as large as the changes, and it is bound when it is opened.

    :ivar max_events: None is no bound.
    :ivar patience: how many times the usual limit an answer gets: one event can't become smaller.
    """

    def __init__(self) -> None:
        self.max_events: int | None = None
        self.limit_factor = 1
        self._since = 0.0

    def note_timeout(self) -> None:
        """Note that an answer didn't come in time: a large one, or none in an outage."""
        if self.max_events == 1:
            self.limit_factor = MAX_LIMIT_FACTOR
        self.max_events = max(1, (self.max_events or FIRST_EVENTS) // SHRINK_FACTOR)
        self._since = time.monotonic()

    def grow_if_quiet(self) -> bool:
        """Whether the stream is to be opened anew, with larger answers."""
        if self.max_events is None or time.monotonic() - self._since < QUIET_SECONDS:
            return False
        grown = self.max_events * SHRINK_FACTOR
        self.max_events = None if grown >= FIRST_EVENTS else grown
        self.limit_factor = 1
        self._since = time.monotonic()
        return True


def affordable(sizes: Sequence[int], budget: float) -> tuple[int, list[int]]:
    """Return how many of the first fit the budget, one at least; and the places of small ones.

    A small one that is due behind large ones need not wait for them.
    """
    total = 0.0
    first = 0
    for size in sizes:
        total += size
        if first and total > budget:
            break
        first += 1
    small: list[int] = []
    remaining = budget / 2
    for place in range(first, len(sizes)):
        if sizes[place] <= min(remaining, max(SMALL_BYTES, budget / 100)):
            remaining -= sizes[place]
            small.append(place)
    return first, small


def split_by_bytes(
    items: Sequence[Item], size: Callable[[Item], int], max_bytes: float
) -> Iterator[list[Item]]:
    """Part items, in order, into lists of at most so many bytes; a larger one is alone."""
    part: list[Item] = []
    total = 0
    for item in items:
        total += size(item)
        if part and total > max_bytes:
            yield part
            part, total = [], size(item)
        part.append(item)
    if part:
        yield part
