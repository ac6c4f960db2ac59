"""Runs commands within the bounds of `pace`, and tells it how long they take.

On a quick line there are no bounds, and each read is one command.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pymongo.errors import PyMongoError, ServerSelectionTimeoutError, WaitQueueTimeoutError

from ..connection import Connection
from .pace import MAX_LIMIT_FACTOR, EventLimit, Pace, split_by_bytes

__all__ = [
    "extra_lease_seconds",
    "in_parts",
    "limited_and_measured",
    "limited_answer",
    "measured",
    "time_limited",
    "timed_out",
]

TARGET_SECONDS = 1.0  # the longest that a command with jobs' states should take
Item = TypeVar("Item")
Result = TypeVar("Result")


def timed_out(error: BaseException) -> bool:
    """Whether the error is the time-out of a command that was sent."""
    unsent = ServerSelectionTimeoutError, WaitQueueTimeoutError
    return isinstance(error, PyMongoError) and error.timeout and not isinstance(error, unsent)


@contextmanager
def measured(connection: Connection, pace: Pace, size: Callable[[], int]) -> Iterator[None]:
    """Measure a command of `size()` bytes; an error is not measured."""
    began = time.monotonic()
    yield
    target = min(TARGET_SECONDS, connection.limit_seconds / 5)
    pace.note_duration(time.monotonic() - began, target, size)


def _limit_factor(connection: Connection, pace: Pace, size: Callable[[], int]) -> float:
    """Return the multiple of the usual time limit for a command of `size()` bytes.

    A hung server must not hold a cycle that long, so a ping comes before a longer limit. A limit
    set by the user stays as it is.
    """
    if not pace.is_bounded or connection.client.options.timeout is not None:
        return 1.0
    times = pace.limit_factor(size())
    if times > 1:
        connection.now(connection.limit_seconds / 2)
    return times


def extra_lease_seconds(connection: Connection, size: int) -> float:
    """Return the seconds to add to the lease of jobs that take `size` bytes.

    If the size exceeds the budget, the read and the write may each take the longest time limit.
    """
    is_large = size > min(connection.reading.budget, connection.writing.budget / 2)
    is_ours = connection.client.options.timeout is None
    return 2 * MAX_LIMIT_FACTOR * connection.limit_seconds if is_large and is_ours else 0.0


@contextmanager
def time_limited(connection: Connection, pace: Pace, size: Callable[[], int]) -> Iterator[float]:
    """Yield the time limit for a command of `size()` bytes, in seconds; note a time-out."""
    times = _limit_factor(connection, pace, size)
    try:
        yield times * connection.limit_seconds
    except PyMongoError as error:
        if timed_out(error):
            pace.note_timeout(size(), times)
        raise


@contextmanager
def limited_and_measured(
    connection: Connection, pace: Pace, size: Callable[[], int]
) -> Iterator[float]:
    """Do as `time_limited` and `measured`, for a command whose size is known before."""
    with time_limited(connection, pace, size) as seconds, measured(connection, pace, size):
        yield seconds


@contextmanager
def limited_answer(connection: Connection, event_limit: EventLimit) -> Iterator[None]:
    """Bound the time of a change stream's answer, the opening one included; note a time-out."""
    try:
        with connection.limit(event_limit.limit_factor * connection.limit_seconds):
            yield
    except PyMongoError as error:
        if timed_out(error):
            event_limit.note_timeout()
        raise


def in_parts(
    connection: Connection,
    pace: Pace,
    items: Sequence[Item],
    size: Callable[[Item], int],
    act: Callable[[list[Item], bool], Result],
    max_bytes: float = math.inf,
) -> Iterator[Result]:
    """Call `act` on parts of the items, in order, each within the budget; yield the results.

    After a time-out, a smaller part follows. A second time-out in a row is raised, and so is that
    of a part that can't shrink.

    :param size: counts the bytes of an item.
    :param act: takes a part, and whether a command that timed out may have done some of it.
    :param max_bytes: the maximum bytes of a command, also with a larger budget.
    :raises pymongo.errors.PyMongoError: as raised by `act`, but for a first time-out.
    """
    remaining, in_doubt, failed = list(items), 0, False
    while remaining:
        budget = min(max_bytes, pace.budget)
        is_whole = budget == math.inf or sum(map(size, remaining)) <= budget
        part = remaining if is_whole else next(split_by_bytes(remaining, size, budget))

        def bytes_of_part(part: list[Item] = part) -> int:
            return sum(map(size, part))

        try:
            with measured(connection, pace, bytes_of_part):
                result = act(part, in_doubt > 0)
        except PyMongoError as error:
            if (
                failed
                or not timed_out(error)
                or not pace.note_timeout(bytes_of_part())
                or len(part) == 1
            ):
                raise
            failed, in_doubt = True, len(part)
        else:
            failed, in_doubt = False, max(0, in_doubt - len(part))
            remaining = remaining[len(part) :]
            yield result
