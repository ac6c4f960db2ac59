"""The count of attempts to run a job, in its document: ``attempts: {count, by}``.

``count`` is the number of processes that have ended while they ran the job, as far as is known.
``by`` names the process that counted last. The write that follows from a run removes the field, as
does every other write of the job by this store.
"""

import logging
from collections.abc import Collection

from pymongo.errors import PyMongoError

from ...base import first_few
from .. import queries
from ..connection import Connection
from ..documents import FIELDS, Document, DocumentId, Record
from ..presence.identity import process_identity
from ..updates import update_all_or_each

__all__ = [
    "COUNTED_FIELDS",
    "MAX_ATTEMPTS",
    "attempt_count",
    "count_attempts",
    "incremented_count",
    "remove_counts",
    "restore_count",
]

MAX_ATTEMPTS = 3
COUNTED_FIELDS = [*FIELDS, "attempts"]


def attempt_count(document: Document) -> int:
    """Return how many processes have ended with a job, as far as is known."""
    attempts = document.get("attempts")
    count = attempts.get("count", 0) if isinstance(attempts, dict) else 0
    return count if isinstance(count, int) else 0


def incremented_count(default: int) -> Document:
    """Build the expression that adds 1 to a job's count.

    :param default: the old count of a job that has none.
    """
    count = {"$add": [{"$ifNull": ["$attempts.count", default]}, 1]}
    return {"count": count, "by": process_identity()}


def count_attempts(connection: Connection, due: Document, job_ids: Collection[DocumentId]) -> None:
    """Count an attempt to run each of these jobs; 1 command, more if their ids are long.

    The update is idempotent. The first count of a job is 2: after an unclean end, the process that
    ended may have run each job that is due.

    :param due: the query that a document must still match.
    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    is_counted_here = {"$eq": ["$attempts.by", process_identity()]}
    counted = {"attempts": {"$cond": [is_counted_here, "$attempts", incremented_count(default=1)]}}

    def act(some: list[DocumentId], in_doubt: bool) -> None:
        _, refused = update_all_or_each(connection, due, some, counted)
        # A job runs without a count if the server refuses to write its document.
        if refused and refused.details["writeConcernErrors"]:
            raise refused

    queries.write_by_ids(connection, list(job_ids), act)


def remove_counts(connection: Connection, jobs: Collection[Record], logger: logging.Logger) -> None:
    """Remove the counts of jobs that ran here and that others changed meanwhile; 1 command.

    A job keeps its count if another scheduler has claimed the job since. An error of the database
    is logged.
    """
    claims = {record.claim for record in jobs}
    query = {
        "_id": {"$in": [record.id for record in jobs]},
        "acquired_by": {"$in": [None, *claims]},
    }
    try:
        with connection.session() as session:
            none = {"$unset": {"attempts": ""}}
            connection.jobs.update_many(query, none, session=session)
    except PyMongoError as error:
        logger.warning(
            "Unable to reset the attempt counts of %d jobs (%s): %s",
            len(jobs),
            first_few([record.id for record in jobs]),
            error,
        )


def restore_count(connection: Connection, suspect: Document, logger: logging.Logger) -> None:
    """Give a job that did not run the count that it had before; 1 command.

    An error of the database is logged.

    :param suspect: the job's document as it was before `count_attempts`.
    """
    query = {**queries.id_filter(suspect["_id"]), "attempts.by": process_identity()}
    try:
        with connection.session() as session:
            before = {"$set": {"attempts": suspect["attempts"]}}
            connection.jobs.update_one(query, before, session=session)
    except PyMongoError as error:
        logger.warning('Unable to reset the attempt count of job "%s": %s', suspect["_id"], error)
