"""Held jobs: they have no run time, and their field `held` keeps it until they are released.

The field is ``{next_run_time, op, by, at}``: the run time, ``"catch_up"``, the host and the process
that held the job, and when, by the server's clock. A stock store sees a paused job.

A job may have the field and a run time: a stock store has resumed it. Then the field is stale.
"""

import os
import socket
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

from pymongo import UpdateOne

from .. import queries
from ..codec import Codec
from ..connection import START_SECONDS, Connection
from ..documents import (
    FIELDS,
    Document,
    DocumentId,
    Record,
    UnreadableError,
    subdocument,
    to_datetime,
)
from ..slow_line.paced import in_parts
from ..slow_line.paged import read_all
from ..slow_line.sizes import bytes_of
from ..trust.untrusted import UntrustedError
from ..writes.guarded import MAX_STATEMENT_BYTES

__all__ = ["HELD", "Release", "batches", "mark", "release", "remove_stale", "same_state"]

OPERATION = "catch_up"
# The type is a range of the index on run times. A comparison with null is none, as it is sparse.
HELD = {
    "next_run_time": {"$type": "null"},
    "held.op": {"$exists": True},
    "quarantine": {"$exists": False},
}
STALE = {"next_run_time": {"$type": "number"}, "held": {"$exists": True}}


class Release(NamedTuple):
    """The guarded write that gives a held job its run time back.

    :ivar after: the record after the write.
    :ivar size: the bytes of the write.
    """

    write: UpdateOne
    after: Record
    size: int


def mark() -> Document:
    """Make the fields of the mark that are the same for all jobs held together."""
    return {"op": OPERATION, "by": f"{socket.gethostname()}:{os.getpid()}"}


def batches(connection: Connection, codec: Codec) -> Iterator[list[Release]]:
    """Read the held jobs, and yield their releases; 1 command for each 1,000.

    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    # If the reading restarts after a time-out, it does not find jobs that are released already.
    for documents in read_all(connection, HELD, [*FIELDS, "held"], lambda: None, None):
        found = [_release_of(document, codec) for document in documents]
        releases = [each for each in found if each]
        if releases:
            yield releases


def _release_of(document: Document, codec: Codec) -> Release | None:
    """Return a job's release; None if the mark has no valid run time."""
    record, held = Record.of(document), document["held"]
    run_time = subdocument(document, "held").get("next_run_time")
    try:
        if to_datetime(run_time) is None:
            return None
    except UnreadableError:
        return None
    try:
        state, signature = codec.with_run_time(record, run_time)
    except UntrustedError:  # once it is due, it goes into quarantine
        state, signature = record.state, record.signature
    guard = {"next_run_time": None, "held": held, **same_state(record.state)}
    new = {"next_run_time": run_time}
    if state is not record.state:  # a state that others wrote stays as it is
        new["job_state"] = state
        if codec.signatures:
            new["signature"] = codec.signatures.sign(record.id, state)
        elif record.signature is not None:
            new["signature"] = None
    write = UpdateOne(queries.id_filter(record.id) | guard, {"$set": new, "$unset": {"held": ""}})
    after = record._replace(run_time=run_time, state=state, signature=signature)
    return Release(write, after, 2 * bytes_of([document]))


def same_state(state: Any) -> Document:
    """Build the condition that the state is unchanged; of a very large one, its size.

    Two states that are so large don't fit into one statement.
    """
    if isinstance(state, bytes) and 2 * len(state) > MAX_STATEMENT_BYTES:
        return {"$expr": {"$eq": [{"$binarySize": "$job_state"}, len(state)]}}
    return {"job_state": state}


def release(connection: Connection, releases: list[Release]) -> dict[DocumentId, Record]:
    """Release jobs, and return the records of those that are released; 1 command, or 2.

    A job that another process has changed since it was read stays as it is.

    :raises pymongo.errors.PyMongoError: if the server can't be reached; some may be released.
    """

    def act(some: list[Release], in_doubt: bool) -> list[Release]:
        with connection.session() as session:
            writes = [each.write for each in some]
            result = connection.jobs.bulk_write(writes, ordered=False, session=session)
        if result.modified_count == len(some):
            return some
        return _released(connection, some)

    parts = in_parts(connection, connection.writing, releases, lambda each: each.size, act)
    return {each.after.id: each.after for each in chain.from_iterable(parts)}


def _released(connection: Connection, releases: list[Release]) -> list[Release]:
    """Return the releases whose jobs are stored as after the write; 1 command."""
    ids = [each.after.id for each in releases]
    query = {"_id": {"$in": ids}, "held": {"$exists": False}}
    with connection.limit():
        found = connection.jobs.find(query, FIELDS, batch_size=len(ids) + 1)
        stored = {record[:3] for record in map(Record.of, found)}  # others may claim it already
    return [each for each in releases if each.after[:3] in stored]


def remove_stale(connection: Connection) -> None:
    """Remove the marks of jobs that a stock store has resumed; 1 command, O(n) in the server.

    :raises pymongo.errors.PyMongoError: if the server can't be reached, or needs more than 30 s.
    """
    with connection.session(START_SECONDS) as session:
        connection.jobs.update_many(STALE, {"$unset": {"held": ""}}, session=session)
