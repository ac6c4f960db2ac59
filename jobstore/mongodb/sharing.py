"""The mark of a collection that many schedulers share, so that none takes all of it for its own.

It is a document, ``{_id: "sharing", since: ...}``, in the collection ``<jobs>_meta``.
"""

import logging
from typing import Any

from pymongo.errors import OperationFailure

from . import batches
from .connection import START_SECONDS, UNAUTHORIZED, Connection

__all__ = ["begin", "check", "end"]

MARK = {"_id": "sharing"}


def begin(connection: Connection) -> None:
    """Mark the collection as shared; 1 command."""
    with connection.limit(START_SECONDS):
        since = [{"$set": {"since": {"$ifNull": ["$since", "$$NOW"]}}}]
        connection.meta.update_one(MARK, since, upsert=True)


def check(connection: Connection, logger: logging.Logger) -> None:
    """Make sure that the collection is not shared; 1 command.

    :raises ValueError: if it is.
    """
    meta = connection.meta
    try:
        with connection.limit(START_SECONDS):
            mark = meta.find_one(MARK)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        logger.warning(
            "No right to read %s: it can't be told whether many schedulers share the jobs",
            meta.full_name,
        )
        return
    if mark:
        since = mark.get("since")
        raise ValueError(
            f"shared is False, but schedulers share {connection.jobs.full_name} since {since}: a "
            "scheduler that doesn't claim its jobs would run them a second time. Say shared=True; "
            "or, if all of them have stopped for good, call this store's end_sharing()"
        )


def end(connection: Connection) -> None:
    """Take away the mark, and all claims first; O(n)."""
    claimed = {"$or": [{name: {"$exists": True}} for name in batches.NO_LEASE]}

    def unclaim(ids: list[Any], in_doubt: bool) -> None:
        none = {"$unset": batches.NO_LEASE}
        with connection.session() as session:
            connection.jobs.update_many({"_id": {"$in": ids}}, none, session=session)

    for ids in batches.all_ids(connection, claimed):
        batches.for_ids(connection, ids, unclaim)
    with connection.limit():
        connection.meta.delete_one(MARK)
