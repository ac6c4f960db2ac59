"""Updates of many documents at once that may be repeated without harm."""

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
    """Set fields in one command; one by one where the server refuses a document.

    A validator, say, refuses a document for its own sake, and a multi-update stops there. The
    update has to be idempotent.

    Returns how many documents were matched, None if that isn't known; and the error that names
    the refused documents by their places.

    :raises pymongo.errors.PyMongoError: if the server can't be reached twice in a row.
    """
    try:
        return update_with_retry(connection, query | {"_id": {"$in": job_ids}}, fields), None
    except WriteError as error:
        if error.code in TRANSIENT:
            raise
    return None, _update_each(connection, query, job_ids, fields)


def update_with_retry(connection: Connection, query: Document, fields: Document) -> int | None:
    """Set fields, trying twice; a repetition has to be harmless.

    Returns how many documents were matched; None if it took a second try, as then the first may
    have changed some.

    :raises pymongo.errors.PyMongoError: if the server can't be reached twice in a row.
    """
    for last in (False, True):
        try:
            with connection.session() as session:
                result = connection.jobs.update_many(query, [{"$set": fields}], session=session)
            return None if last else result.matched_count
        except PyMongoError:
            if last:
                raise
    return None


def _update_each(
    connection: Connection, query: Document, job_ids: Collection[DocumentId], fields: Document
) -> BulkWriteError | None:
    """Set fields one by one, where a document is refused for its own sake, by a validator, say.

    A multi-update stops at such a document. Returns the error that names the refusals by place.
    """
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
    """Give back the jobs that are claimed by these tokens; if that fails, their leases end."""
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
