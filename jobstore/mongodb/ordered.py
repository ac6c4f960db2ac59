"""The first documents in order of their run times."""

from collections.abc import Callable, Mapping

from pymongo import ASCENDING
from pymongo.errors import PyMongoError

from .connection import Connection
from .documents import END_OF_TIME, MIN_TIME, Document, Fields, HasTime, IdKey, counts, hashable_id
from .slow_line.pace import affordable
from .slow_line.paced import is_slow, limited, noted
from .slow_line.sizes import SIZE, bytes_of, size_of

__all__ = [
    "IN_TIME",
    "SAMPLE",
    "affordable_in_order",
    "first_of",
    "in_order",
    "sample",
    "sized_in_order",
]

IN_TIME = {"$gte": MIN_TIME, "$lt": END_OF_TIME}
BY_TIME: Document = {"next_run_time": 1}
SAMPLE = 100  # documents, whose sizes tell that of a batch
MAX_LIMIT = 2**31 - 1  # what the driver and the server take for a limit


def in_order(
    connection: Connection,
    query: Document,
    fields: Fields,
    limit: int,
    skip: int = 0,
    seconds: float | None = None,
) -> list[Document]:
    """Return the first documents by run time, but for some to skip; O(log n + skip + k).

    Sorted by the run time alone: a second sort key would cost the server its index.
    """
    limit = min(limit, MAX_LIMIT)
    by_time = [("next_run_time", ASCENDING)]
    found: list[Document] = []
    with noted(connection, connection.reading, lambda: bytes_of(found)), connection.limit(seconds):
        found += connection.jobs.find(
            query, fields, sort=by_time, skip=skip, limit=limit, batch_size=limit
        )
    return found


def affordable_in_order(
    connection: Connection, query: Document, fields: Fields, limit: int
) -> list[Document]:
    """Return the first documents by run time; on a slow line so many as it carries.

    There it looks at their sizes before, and reads small ones, too, that are behind large ones.
    """
    if connection.is_slow:
        sized = sized_in_order(connection, query, BY_TIME, limit)
    else:
        try:
            return in_order(connection, query, fields, limit)
        except PyMongoError as error:
            if not is_slow(error):
                raise
        sized = sample(connection, query, limit)
    first, small = affordable(list(map(size_of, sized)), connection.cycle_budget)
    named = {"_id": {"$in": [sized[place]["_id"] for place in small]}}
    with limited(
        connection, connection.reading, lambda: sum(map(size_of, sized[:first]))
    ) as seconds:
        found = in_order(connection, query, fields, first, seconds=seconds) if first else []
        return found + (in_order(connection, query | named, fields, len(small)) if small else [])


def sample(connection: Connection, query: Document, limit: int) -> list[Document]:
    """After a read of so many documents has timed out, note what it would have carried.

    Returns the first of them, with their sizes. In an outage that fails, and nothing is noted.
    """
    with connection.limit(connection.seconds / 2):
        sized = in_order(connection, query, BY_TIME | {"size": SIZE}, min(limit, SAMPLE))
    total = sum(map(size_of, sized))
    connection.reading.timed_out(total * limit // SAMPLE if len(sized) == SAMPLE else total)
    return sized


def sized_in_order(
    connection: Connection, query: Document, fields: Document, limit: int, skip: int = 0
) -> list[Document]:
    """Return the first documents by run time, with their sizes, where the line is slow."""
    limit = min(limit, connection.reading.count)
    try:
        return in_order(connection, query, {"size": SIZE, **fields}, limit, skip)
    except PyMongoError as error:
        if is_slow(error):
            connection.reading.timed_out()
        raise


def first_of(
    read: Callable[[int], list[Document]], exclude: Mapping[IdKey, HasTime]
) -> list[Document]:
    """Return documents from the first on whose run time counts, at least one if there is one.

    :param read: returns so many of the first documents, and may repeat some; fewer only if there
        are no more.
    :param exclude: the jobs, with their run times, that don't count.
    """
    limit = len(exclude) + 1
    while True:
        found = read(limit)
        counting = [
            document
            for document in found
            if isinstance(document["next_run_time"], int | float)
            and counts(document["_id"], document["next_run_time"], exclude)
        ]
        if counting or len({hashable_id(document["_id"]) for document in found}) < limit:
            return counting
        limit *= 10  # decimals or arrays, which no scheduler writes, are in front
