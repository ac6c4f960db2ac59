"""Reads the first documents in order of their run times."""

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
from .slow_line.pace import ID_BYTES, affordable, split_by_bytes
from .slow_line.paced import measured, time_limited, timed_out
from .slow_line.sizes import SIZE, bytes_of, id_bytes, size_of

__all__ = [
    "SAMPLE_SIZE",
    "VALID_RUN_TIME",
    "affordable_in_order",
    "due_query",
    "first_included",
    "in_order",
    "sample_sizes",
    "sized_in_order",
]

VALID_RUN_TIME = {"$gte": MIN_TIME, "$lt": END_OF_TIME}
ONLY_RUN_TIME: Document = {"next_run_time": 1}
SAMPLE_SIZE = 100  # documents whose sizes are read to estimate the size of a batch
MAX_LIMIT = 2**31 - 1  # the highest that the driver and the server accept


def due_query(now: float, exclude: Mapping[IdKey, HasTime]) -> Document:
    """Build the query for due jobs.

    The server leaves jobs out by their ids, as long as these fit into one command.

    :param exclude: jobs to leave out, with ids that are strings.
    """
    query: Document = {"next_run_time": {"$lte": now}}
    if exclude:
        query["_id"] = {"$nin": next(split_by_bytes(list(exclude), id_bytes, ID_BYTES))}
    return query


def in_order(
    connection: Connection,
    query: Document,
    fields: Fields,
    limit: int,
    skip: int = 0,
    seconds: float | None = None,
) -> list[Document]:
    """Return the first k documents by run time, after `skip` others; O(log n + skip + k).

    The run time is the only sort key: with a second one, the server could not use its index.

    :param seconds: the time limit; None is the usual one.
    """
    limit = min(limit, MAX_LIMIT)
    by_time = [("next_run_time", ASCENDING)]
    documents: list[Document] = []
    with (
        measured(connection, connection.reading, lambda: bytes_of(documents)),
        connection.limit(seconds),
    ):
        documents += connection.jobs.find(
            query, fields, sort=by_time, skip=skip, limit=limit, batch_size=limit
        )
    return documents


def affordable_in_order(
    connection: Connection, query: Document, fields: Fields, limit: int
) -> list[Document]:
    """Return the first documents by run time; on a slow line only as many as it carries.

    There, a command reads their sizes first. Small documents are read even if they come after
    larger ones that don't fit.
    """
    if connection.is_slow:
        sized = sized_in_order(connection, query, ONLY_RUN_TIME, limit)
    else:
        try:
            return in_order(connection, query, fields, limit)
        except PyMongoError as error:
            if not timed_out(error):
                raise
        sized = sample_sizes(connection, query, limit)
    first, small = affordable(list(map(size_of, sized)), connection.cycle_budget)
    named = {"_id": {"$in": [sized[place]["_id"] for place in small]}}
    with time_limited(
        connection, connection.reading, lambda: sum(map(size_of, sized[:first]))
    ) as seconds:
        documents = in_order(connection, query, fields, first, seconds=seconds) if first else []
        return documents + (
            in_order(connection, query | named, fields, len(small)) if small else []
        )


def sample_sizes(connection: Connection, query: Document, limit: int) -> list[Document]:
    """Read the sizes of the first documents, after a read of `limit` documents timed out.

    Estimates the bytes of that read, and lowers the budget.

    :raises pymongo.errors.PyMongoError: if that read fails, as in an outage; the budget stays.
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
    """Return the first documents by run time, with their sizes, on a slow line.

    :param limit: the maximum number; the budget may allow fewer.
    """
    limit = min(limit, connection.reading.max_ids)
    try:
        return in_order(connection, query, {"size": SIZE, **fields}, limit, skip)
    except PyMongoError as error:
        if timed_out(error):
            connection.reading.note_timeout()
        raise


def first_included(
    read: Callable[[int], list[Document]], exclude: Mapping[IdKey, HasTime]
) -> list[Document]:
    """Return first documents for which `is_included` is true; none only if there are none.

    :param read: returns the first documents, up to the given number, and fewer only if there are
        no more. Some may come twice.
    :param exclude: jobs to leave out, as long as they have these run times.
    """
    limit = len(exclude) + 1
    while True:
        documents = read(limit)
        included = [
            document
            for document in documents
            if isinstance(document["next_run_time"], int | float)
            and is_included(document["_id"], document["next_run_time"], exclude)
        ]
        if included or len({hashable_id(document["_id"]) for document in documents}) < limit:
            return included
        limit *= 10  # run times that no scheduler writes, decimals or arrays, sort first
