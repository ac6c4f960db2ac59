"""The mark of a shared collection, which keeps schedulers that don't share from starting on it.

The mark is a document, ``{_id: "sharing", since: ...}``, in the collection ``<jobs>_meta``.
"""

import logging

from pymongo import ASCENDING
from pymongo.errors import OperationFailure

from .. import queries
from ..connection import START_SECONDS, UNAUTHORIZED, Connection
from ..documents import Document, DocumentId
from ..ordered import VALID_RUN_TIME

__all__ = ["MARK", "begin", "check", "end"]

MARK = {"_id": "sharing"}
FIRST_STORED = 10_000  # jobs that a start looks at: 10 ms
FIRST_DUE = 1000  # 4 ms


def begin(connection: Connection) -> None:
    """Mark the collection as shared; 1 command.

    :raises pymongo.errors.PyMongoError: if the mark can't be written.
    """
    with connection.limit(START_SECONDS):
        since = [{"$set": {"since": {"$ifNull": ["$since", "$$NOW"]}}}]
        connection.meta.update_one(MARK, since, upsert=True)


def check(connection: Connection, logger: logging.Logger) -> None:
    """Make sure that no schedulers share the collection; at most 3 commands.

    The mark shows that they do. So does a claim, as in jobs that were copied without the mark.
    Only the first jobs are searched for claims.

    :raises ValueError: if schedulers share the collection, or have shared it.
    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    with connection.limit(START_SECONDS):
        if since := _shared_since(connection, logger):
            finding = f"schedulers have shared {connection.jobs.full_name} since {since}"
        elif claimed := _first_claimed(connection):
            job_id = f'job "{claimed["_id"]}" has the field acquired_by'
            finding = f"schedulers have shared {connection.jobs.full_name} ({job_id})"
        else:
            return
    raise ValueError(
        f"shared is False, but {finding}: a scheduler that doesn't claim its jobs would run them "
        "a second time. Say shared=True. Or, if all schedulers that share have stopped for good, "
        "call this store's end_sharing()"
    )


def _shared_since(connection: Connection, logger: logging.Logger) -> str | None:
    """Return the date of the mark; None if there is none, or no right to read it."""
    meta = connection.meta
    try:
        mark = meta.find_one(MARK)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        logger.warning(
            "No right to read %s: a start can't tell whether many schedulers share the jobs",
            meta.full_name,
        )
        return None
    return str(mark.get("since")) if mark else None


def _first_claimed(connection: Connection) -> Document | None:
    """Find a claimed job among the first jobs stored and those due first.

    No index covers the claims, so a full search would read the whole collection at each start.
    """
    stored: list[Document] = [{"$limit": FIRST_STORED}]
    due: list[Document] = [
        {"$match": {"next_run_time": VALID_RUN_TIME}},
        {"$sort": {"next_run_time": ASCENDING}},
        {"$limit": FIRST_DUE},
    ]
    claimed: list[Document] = [
        {"$match": {"acquired_by": {"$exists": True}}},
        {"$limit": 1},
        {"$project": {"_id": 1}},
    ]
    for first in (stored, due):
        for document in connection.jobs.aggregate([*first, *claimed]):
            return document
    return None


def end(connection: Connection) -> None:
    """Remove all claims, then the mark; O(n).

    :raises pymongo.errors.PyMongoError: if the server can't be reached. Then the mark may stay.
    """
    claimed = {"$or": [{name: {"$exists": True}} for name in queries.NO_LEASE]}

    def remove_claims(ids: list[DocumentId], in_doubt: bool) -> None:
        none = {"$unset": queries.NO_LEASE}
        with connection.session() as session:
            connection.jobs.update_many({"_id": {"$in": ids}}, none, session=session)

    for ids in queries.all_ids(connection, claimed):
        queries.write_by_ids(connection, ids, remove_claims)
    with connection.limit():
        connection.meta.delete_one(MARK)
