"""Bounds the bytes of a command by the measured speed of the line; no database here.

A command has a time limit. On a slow line, a batch of large jobs exceeds the limit, and so does
each repetition. So batches shrink until they get through.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["ID_BYTES", "MAX_LIMIT_FACTOR", "EventLimit", "Pace", "affordable", "split_by_bytes"]

MAX_BYTES = 12_000_000  # a line that carries so many in a second needs no bound
MIN_BYTES = 16_000  # if a smaller command is slow, the cause is not the line
FIRST_EVENTS = 1_000  # assumed for an answer without a bound, when it times out
QUIET_SECONDS = 60.0
SHRINK_FACTOR = 8  # after a time-out, which took more than 5 times the target
USUAL_FACTOR = 5  # a command's time limit, in multiples of its target
MAX_LIMIT_FACTOR = 6  # times the usual limit, for a document that is larger than the budget
SMALL_BYTES = 1_000  # such jobs, or jobs of 1 % of the budget, are read before larger ones
ID_BYTES = 4_000_000  # of ids in one command; it may contain each id three times
Item = TypeVar("Item")


class Pace:
    """Bounds the bytes of commands in one direction: reads, or writes.

    There is no bound until a command is slow or times out. Then the bound is about the number of
    bytes that the line carries in a second. A time-out proves that the line is slow: the bound
    stays until quick commands raise it. A slow command may have met a stall: its bound ends after
    a minute without slow commands.

    :ivar budget: the maximum bytes of the next command; infinite without a bound.
    """

    def __init__(self) -> None:
        self.budget = math.inf
        self._is_proven = False  # by a time-out
        self._slow_at = 0.0  # by the monotonic clock

    @property
    def is_bounded(self) -> bool:
        """Whether the line limits the size of commands."""
        return self.budget != math.inf

    @property
    def max_ids(self) -> int:
        """The maximum number of documents to read without their states; 400 bytes for each."""
        return max(1, int(min(self.budget, MAX_BYTES) // 400))

    def limit_factor(self, size: int) -> float:
        """Return the multiple of the usual time limit for a command of `size` bytes; 1 to 6.

        A command over the budget carries a single document, so it can't shrink. It gets twice the
        time that the line needs for its bytes.
        """
        return min(MAX_LIMIT_FACTOR, max(1.0, 2 * size / (USUAL_FACTOR * self.budget)))

    def note_duration(self, seconds: float, target: float, size: Callable[[], int]) -> None:
        """Adapt the bound to a command that succeeded.

        :param seconds: the duration of the command.
        :param target: the longest duration that a command should have, in seconds.
        :param size: counts the command's bytes; called only if the bound may change.
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
        """Lower the bound after a time-out; return whether a smaller command is worth a try.

        :param size: the command's bytes; None if unknown.
        :param limit_factor: the command's time limit, as a multiple of the usual one.
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
    """Bounds the events in one answer of a change stream, after an answer has timed out.

    A stream takes the bound only when it is opened.

    :ivar max_events: the maximum number of events; None without a bound.
    :ivar limit_factor: an answer's time limit, as a multiple of the usual one; more than 1 after a
        single event has timed out, as it can't shrink.
    """

    def __init__(self) -> None:
        self.max_events: int | None = None
        self.limit_factor = 1
        self._since = 0.0

    def note_timeout(self) -> None:
        """Lower the bound after an answer timed out, because of its size or of an outage."""
        if self.max_events == 1:
            self.limit_factor = MAX_LIMIT_FACTOR
        self.max_events = max(1, (self.max_events or FIRST_EVENTS) // SHRINK_FACTOR)
        self._since = time.monotonic()

    def grow_if_quiet(self) -> bool:
        """Raise the bound after a minute without time-outs; return whether it was raised.

        If so, the caller has to reopen the stream.
        """
        if self.max_events is None or time.monotonic() - self._since < QUIET_SECONDS:
            return False
        grown = self.max_events * SHRINK_FACTOR
        self.max_events = None if grown >= FIRST_EVENTS else grown
        self.limit_factor = 1
        self._since = time.monotonic()
        return True


def affordable(sizes: Sequence[int], budget: float) -> tuple[int, list[int]]:
    """Return how many of the first documents fit the budget, and the places of small later ones.

    The number is 1 at least, unless `sizes` is empty. Small documents may use half a budget more,
    so that they need not wait for large ones that are due earlier.

    :param sizes: the documents' bytes, in order of their run times.
    :param budget: the maximum bytes together.
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
    """Split items, in order, into lists of at most `max_bytes`; a larger item has its own list."""
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
