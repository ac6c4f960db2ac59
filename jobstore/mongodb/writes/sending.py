"""Sends guarded writes, and tells which of them were refused."""

from collections.abc import Collection, Iterator

from bson.errors import BSONError
from pymongo.errors import BulkWriteError, DocumentTooLarge

from ..connection import TRANSIENT, Connection
from ..documents import CountedRecord
from ..slow_line.paced import limited_and_measured
from .guarded import MAX_BYTES, GuardedWrite, operation, size

__all__ = ["Refused", "send"]

MAX_WRITES = 100  # documents in one statement: the server searches its arrays from the start
UNSENDABLE = DocumentTooLarge, BSONError, OverflowError  # raised by the driver


Refused = list[tuple[GuardedWrite, str]]  # and why


def send(
    connection: Connection, writes: Collection[GuardedWrite], limit: int = MAX_WRITES
) -> tuple[int, Refused]:
    """Write all; 1 command, 2 if some are removed.

    Returns how many documents were changed, and the writes that were refused for their own
    documents' sake. What is neither lost its guard, or got lost.

    :param limit: how many documents share a statement. One that is refused takes those after it
        in its statement along; these are sent again, each by a statement of its own.
    :raises pymongo.errors.PyMongoError: if it is not known what was written.
    """
    kinds: dict[tuple[bool, ...], list[GuardedWrite]] = {}
    for write in writes:
        record = write.record
        is_counted = isinstance(record, CountedRecord)
        kind = write.removes, write.quarantine is None, record.claim is None, is_counted
        kinds.setdefault(kind, []).append(write)
    chunks = [chunk for kind in kinds.values() for chunk in _chunks(kind, limit)]
    changed, refused = _bulk_write(connection, chunks)
    if refused and limit > 1:
        more, refused = send(connection, [write for write, _ in refused], 1)
        changed += more
    return changed, refused


def _chunks(writes: list[GuardedWrite], limit: int) -> Iterator[list[GuardedWrite]]:
    chunk: list[GuardedWrite] = []
    total = 0
    for write in writes:
        bytes_more = size(write)
        if chunk and (len(chunk) == limit or total + bytes_more > MAX_BYTES):
            yield chunk
            chunk, total = [], 0
        chunk.append(write)
        total += bytes_more
    if chunk:
        yield chunk


def _bulk_write(connection: Connection, chunks: list[list[GuardedWrite]]) -> tuple[int, Refused]:
    def bytes_of_all() -> int:
        return sum(size(write) for chunk in chunks for write in chunk)

    try:
        with (
            limited_and_measured(connection, connection.writing, bytes_of_all) as seconds,
            connection.session(seconds) as session,
        ):
            result = connection.jobs.bulk_write(
                list(map(operation, chunks)), ordered=False, session=session
            )
        return result.modified_count + result.deleted_count, []
    except BulkWriteError as error:
        errors = error.details["writeErrors"]
        if error.details["writeConcernErrors"] or any(e["code"] in TRANSIENT for e in errors):
            raise
        refused = [(write, e["errmsg"]) for e in errors for write in chunks[e["index"]]]
        return error.details["nModified"] + error.details["nRemoved"], refused
    except UNSENDABLE as error:
        if len(chunks) == 1:
            return 0, [(write, str(error)) for write in chunks[0]]
        results = [_bulk_write(connection, [chunk]) for chunk in chunks]
        return sum(changed for changed, _ in results), [
            each for _, more in results for each in more
        ]
