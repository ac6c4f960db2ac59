"""The count of attempts to run a job, in its document: ``attempts: {count, by}``.

It says how many processes have ended with the job, for all we know, and which one counted last.
The write that comes of a run takes it away, as does every other write of ours.
"""

import logging
from collections.abc import Collection

from pymongo.errors import PyMongoError

from .. import queries
from ..connection import Connection
from ..documents import FIELDS, Document, DocumentId, Record
from ..updates import update_all_or_each
from .presence import process

__all__ = ["COUNTED_FIELDS", "MAX_ATTEMPTS", "attempts", "count", "forget_counts", "once_more"]

MAX_ATTEMPTS = 3
COUNTED_FIELDS = [*FIELDS, "attempts"]


def attempts(document: Document) -> int:
    """Return how many processes have ended with a job, for all we know."""
    counted = document.get("attempts")
    count = counted.get("count", 0) if isinstance(counted, dict) else 0
    return count if isinstance(count, int) else 0


def once_more(least: int) -> Document:
    """Build the expression of a count; `least` is what it is taken for where there is none."""
    return {"count": {"$add": [{"$ifNull": ["$attempts.count", least]}, 1]}, "by": process()}


def count(connection: Connection, due: Document, job_ids: Collection[DocumentId]) -> None:
    """Count an attempt to run each of these jobs; 1 command, more if their ids are long.

    It may be repeated. A job that is due after an unclean end was run by the process that ended,
    for all we know: so there the first count is 2.
    """
    by_us = {"$eq": ["$attempts.by", process()]}
    counted = {"attempts": {"$cond": [by_us, "$attempts", once_more(least=1)]}}

    def act(some: list[DocumentId], in_doubt: bool) -> None:
        _, refused = update_all_or_each(connection, due, some, counted)
        # A job whose document is refused does without a count.
        if refused and refused.details["writeConcernErrors"]:
            raise refused

    queries.for_ids(connection, list(job_ids), act)


def forget_counts(connection: Connection, jobs: Collection[Record], logger: logging.Logger) -> None:
    """Take the counts away from jobs that were run, and that others have changed meanwhile.

    Not where another scheduler has claimed the job since: then the count is its own.
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
        logger.warning("Unable to reset the counts of %d jobs: %s", len(jobs), error)
