"""The mark of a collection that many schedulers share, so that none takes all of it for its own.

It is a document, ``{_id: "sharing", since: ...}``, in the collection ``<jobs>_meta``.
"""

import logging

from pymongo import ASCENDING
from pymongo.errors import OperationFailure

from .. import queries
from ..connection import START_SECONDS, UNAUTHORIZED, Connection
from ..documents import Document, DocumentId
from ..ordered import IN_TIME

__all__ = ["begin", "check", "end"]

MARK = {"_id": "sharing"}
FIRST_STORED = 10_000  # jobs that a start looks at: 10 ms
FIRST_DUE = 1000  # 4 ms


def begin(connection: Connection) -> None:
    """Mark the collection as shared; 1 command."""
    with connection.limit(START_SECONDS):
        since = [{"$set": {"since": {"$ifNull": ["$since", "$$NOW"]}}}]
        connection.meta.update_one(MARK, since, upsert=True)


def check(connection: Connection, logger: logging.Logger) -> None:
    """Make sure that the collection is not shared; 3 commands.

    The mark says so, or a claim, as in jobs that were copied without the mark.

    :raises ValueError: if it is shared.
    """
    with connection.limit(START_SECONDS):
        if since := _since(connection, logger):
            found = f"schedulers share {connection.jobs.full_name} since {since}"
        elif claimed := _first_claimed(connection):
            job_id = f'job "{claimed["_id"]}" has the field acquired_by'
            found = f"schedulers have shared {connection.jobs.full_name} ({job_id})"
        else:
            return
    raise ValueError(
        f"shared is False, but {found}: a scheduler that doesn't claim its jobs would run them a "
        "second time. Say shared=True; or, if all of them have stopped for good, call this "
        "store's end_sharing()"
    )


def _since(connection: Connection, logger: logging.Logger) -> str | None:
    """Return since when the collection is marked; None if it isn't, or nobody may read that."""
    meta = connection.meta
    try:
        mark = meta.find_one(MARK)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        logger.warning(
            "No right to read %s: it can't be told whether many schedulers share the jobs",
            meta.full_name,
        )
        return None
    return str(mark.get("since")) if mark else None


def _first_claimed(connection: Connection) -> Document | None:
    """Find a job that bears a claim, among the first ones stored and the next ones due.

    No index has the claims: to look at all jobs would read the whole collection at each start.
    """
    stored: list[Document] = [{"$limit": FIRST_STORED}]
    due: list[Document] = [
        {"$match": {"next_run_time": IN_TIME}},
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
    """Take away the mark, and all claims first; O(n)."""
    claimed = {"$or": [{name: {"$exists": True}} for name in queries.NO_LEASE]}

    def unclaim(ids: list[DocumentId], in_doubt: bool) -> None:
        none = {"$unset": queries.NO_LEASE}
        with connection.session() as session:
            connection.jobs.update_many({"_id": {"$in": ids}}, none, session=session)

    for ids in queries.all_ids(connection, claimed):
        queries.for_ids(connection, ids, unclaim)
    with connection.limit():
        connection.meta.delete_one(MARK)
