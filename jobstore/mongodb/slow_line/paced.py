"""Commands that carry no more bytes than the line does in their time.

On a line that is quick enough each read is one command, as if nothing of this were here.
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
    "is_slow",
    "limited_and_measured",
    "limited_answer",
    "measured",
    "time_limited",
]

TARGET_SECONDS = 1.0  # for a command that carries states
Item = TypeVar("Item")
Result = TypeVar("Result")


def is_slow(error: BaseException) -> bool:
    """Whether a command was sent, and its time was over before its answer came."""
    unsent = ServerSelectionTimeoutError, WaitQueueTimeoutError
    return isinstance(error, PyMongoError) and error.timeout and not isinstance(error, unsent)


@contextmanager
def measured(connection: Connection, pace: Pace, size: Callable[[], int]) -> Iterator[None]:
    """Note how long a command takes that carries so many bytes."""
    began = time.monotonic()
    yield
    target = min(TARGET_SECONDS, connection.limit_seconds / 5)
    pace.note_duration(time.monotonic() - began, target, size)


def _limit_factor(connection: Connection, pace: Pace, size: Callable[[], int]) -> float:
    """Return how many times the usual limit a command gets, by the bytes that it carries.

    A server that hangs must not hold a cycle for that long, so it has to answer a ping before.
    The user's own limit is never exceeded.
    """
    if not pace.is_bounded or connection.client.options.timeout is not None:
        return 1.0
    times = pace.limit_factor(size())
    if times > 1:
        connection.now(connection.limit_seconds / 2)
    return times


def extra_lease_seconds(connection: Connection, size: int) -> float:
    """Return for how much longer than usual a job of that size has to be leased.

    To read and to write it may take the longest limit each.
    """
    is_large = size > min(connection.reading.budget, connection.writing.budget / 2)
    is_ours = connection.client.options.timeout is None
    return 2 * MAX_LIMIT_FACTOR * connection.limit_seconds if is_large and is_ours else 0.0


@contextmanager
def time_limited(connection: Connection, pace: Pace, size: Callable[[], int]) -> Iterator[float]:
    """Yield the time limit of a command, in seconds; note if it was not enough."""
    times = _limit_factor(connection, pace, size)
    try:
        yield times * connection.limit_seconds
    except PyMongoError as error:
        if is_slow(error):
            pace.note_timeout(size(), times)
        raise


@contextmanager
def limited_and_measured(
    connection: Connection, pace: Pace, size: Callable[[], int]
) -> Iterator[float]:
    """Yield the time limit of a command whose bytes are known; note how long it takes."""
    with time_limited(connection, pace, size) as seconds, measured(connection, pace, size):
        yield seconds


@contextmanager
def limited_answer(connection: Connection, event_limit: EventLimit) -> Iterator[None]:
    """Bound the time of a change stream's answer; note if it was not enough.

    The answer that opens a stream brings events, too.
    """
    try:
        with connection.limit(event_limit.limit_factor * connection.limit_seconds):
            yield
    except PyMongoError as error:
        if is_slow(error):
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
    """Act on items, in order, so many at a time as the line carries; yield what it returns.

    After a time-out it goes on with fewer; after the second in a row the error is raised, as it is
    where there are no fewer.

    :param act: is told whether any of these may have been acted on before.
    :param max_bytes: bytes that a command can carry at all.
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
                or not is_slow(error)
                or not pace.note_timeout(bytes_of_part())
                or len(part) == 1
            ):
                raise
            failed, in_doubt = True, len(part)
        else:
            failed, in_doubt = False, max(0, in_doubt - len(part))
            remaining = remaining[len(part) :]
            yield result
