"""Idempotent updates of many documents at once, which may be repeated after a lost reply."""

import logging
from collections.abc import Collection
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError, WriteError

from ..base import first_few
from .connection import TRANSIENT, Connection
from .documents import Document, DocumentId

__all__ = ["release", "update_all_or_each", "update_with_retry"]


def update_all_or_each(
    connection: Connection, query: Document, job_ids: Collection[DocumentId], fields: Document
) -> tuple[int | None, BulkWriteError | None]:
    """Set fields in 1 command, or in 1 statement for each document if the server refuses one.

    A validator, for example, refuses a document, and a multi-update stops there. The update has to
    be idempotent.

    Returns the number of documents matched, or None if it isn't known. Also returns the error
    that gives the refused documents by their indexes in `job_ids`, or None.

    :param query: the condition that each document must match.
    :param fields: the expressions to set.
    :raises pymongo.errors.PyMongoError: if the server can't be reached twice in a row.
    """
    try:
        return update_with_retry(connection, query | {"_id": {"$in": job_ids}}, fields), None
    except WriteError as error:
        if error.code in TRANSIENT:
            raise
    return None, _update_each(connection, query, job_ids, fields)


def update_with_retry(connection: Connection, query: Document, fields: Document) -> int | None:
    """Set fields in the documents that match, and retry once after an error; 1 or 2 commands.

    The update has to be idempotent. Returns the number of documents matched. Returns None after a
    retry, as the first try may have changed some documents.

    :raises pymongo.errors.PyMongoError: the error of the second try.
    """
    for is_retry in (False, True):
        try:
            with connection.session() as session:
                result = connection.jobs.update_many(query, [{"$set": fields}], session=session)
            return None if is_retry else result.matched_count
        except PyMongoError:
            if is_retry:
                raise
    return None


def _update_each(
    connection: Connection, query: Document, job_ids: Collection[DocumentId], fields: Document
) -> BulkWriteError | None:
    """Set fields in one statement for each document; return the error with the refusals."""
    each = [UpdateOne(query | {"_id": {"$eq": job_id}}, [{"$set": fields}]) for job_id in job_ids]
    try:
        with connection.session() as session:
            connection.jobs.bulk_write(each, ordered=False, session=session)
    except BulkWriteError as error:
        return error
    return None


def release(
    connection: Connection,
    job_ids: Collection[DocumentId],
    tokens: list[Any],
    logger: logging.Logger,
) -> None:
    """Release the jobs that still have one of these fencing tokens; 1 command.

    An error of the database is logged. Then other schedulers wait until the leases end.
    """
    query = {"_id": {"$in": list(job_ids)}, "acquired_by": {"$in": tokens}}
    try:
        with connection.session() as session:
            connection.jobs.update_many(query, {"$set": {"acquired_until": None}}, session=session)
    except PyMongoError as error:
        logger.warning(
            "Unable to release %d jobs (%s) before their lease ends: %s",
            len(job_ids),
            first_few(list(job_ids)),
            error,
        )
