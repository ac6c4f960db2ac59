"""The first documents in order of their run times."""

from collections.abc import Callable, Mapping

from pymongo import ASCENDING
from pymongo.errors import PyMongoError

from .connection import Connection
from .documents import (
    END_OF_TIME,
    MIN_TIME,
    Document,
    Fields,
    HasTime,
    IdKey,
    hashable_id,
    is_included,
)
from .slow_line.pace import affordable
from .slow_line.paced import is_slow, measured, time_limited
from .slow_line.sizes import SIZE, bytes_of, size_of

__all__ = [
    "SAMPLE_SIZE",
    "VALID_RUN_TIME",
    "affordable_in_order",
    "first_included",
    "in_order",
    "sample_sizes",
    "sized_in_order",
]

VALID_RUN_TIME = {"$gte": MIN_TIME, "$lt": END_OF_TIME}
ONLY_RUN_TIME: Document = {"next_run_time": 1}
SAMPLE_SIZE = 100  # documents, whose sizes tell that of a batch
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
    with (
        measured(connection, connection.reading, lambda: bytes_of(found)),
        connection.limit(seconds),
    ):
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
        sized = sized_in_order(connection, query, ONLY_RUN_TIME, limit)
    else:
        try:
            return in_order(connection, query, fields, limit)
        except PyMongoError as error:
            if not is_slow(error):
                raise
        sized = sample_sizes(connection, query, limit)
    first, small = affordable(list(map(size_of, sized)), connection.cycle_budget)
    named = {"_id": {"$in": [sized[place]["_id"] for place in small]}}
    with time_limited(
        connection, connection.reading, lambda: sum(map(size_of, sized[:first]))
    ) as seconds:
        found = in_order(connection, query, fields, first, seconds=seconds) if first else []
        return found + (in_order(connection, query | named, fields, len(small)) if small else [])


def sample_sizes(connection: Connection, query: Document, limit: int) -> list[Document]:
    """After a read of so many documents has timed out, note what it would have carried.

    Returns the first of them, with their sizes. In an outage that fails, and nothing is noted.
    """
    with connection.limit(connection.limit_seconds / 2):
        sized = in_order(connection, query, ONLY_RUN_TIME | {"size": SIZE}, min(limit, SAMPLE_SIZE))
    total = sum(map(size_of, sized))
    connection.reading.note_timeout(
        total * limit // SAMPLE_SIZE if len(sized) == SAMPLE_SIZE else total
    )
    return sized


def sized_in_order(
    connection: Connection, query: Document, fields: Document, limit: int, skip: int = 0
) -> list[Document]:
    """Return the first documents by run time, with their sizes, where the line is slow."""
    limit = min(limit, connection.reading.max_ids)
    try:
        return in_order(connection, query, {"size": SIZE, **fields}, limit, skip)
    except PyMongoError as error:
        if is_slow(error):
            connection.reading.note_timeout()
        raise


def first_included(
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
        included = [
            document
            for document in found
            if isinstance(document["next_run_time"], int | float)
            and is_included(document["_id"], document["next_run_time"], exclude)
        ]
        if included or len({hashable_id(document["_id"]) for document in found}) < limit:
            return included
        limit *= 10  # decimals or arrays, which no scheduler writes, are in front
