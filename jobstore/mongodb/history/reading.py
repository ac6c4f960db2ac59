"""Reads the history."""

from datetime import datetime

from ...looking import check_limit
from ...where import check_time, in_utc
from ..connection import Connection
from ..documents import Document, DocumentId
from ..looking.places import is_storable_id
from .record import HistoryRecord

__all__ = ["read_history"]


def read_history(
    connection: Connection, job_id: DocumentId | None, since: datetime | None, limit: int
) -> list[HistoryRecord]:
    """Return the latest records of a job, or of schedulers, the oldest first; 1 command.

    :raises TypeError: if `since` is neither a `datetime` nor None.
    :raises ValueError: if `limit` is no whole number from 1 on.
    :raises pymongo.errors.PyMongoError: if the server can't be reached, or needs too long.
    """
    check_limit(limit)
    check_time("since", since)
    if job_id is not None and not is_storable_id(job_id):
        return []  # no document can have this id
    query: Document = {"job": {"$eq": job_id}}
    if since is not None:
        query["time"] = {"$gte": in_utc(since)}
    cursor = connection.runs.find(query, sort=[("time", -1)], limit=limit)  # in the index's order
    return [HistoryRecord.of(document) for document in connection.read(cursor)][::-1]
