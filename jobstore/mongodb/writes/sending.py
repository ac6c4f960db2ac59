"""Sends guarded writes in as few statements as fit, and reports the writes that were refused."""

from collections.abc import Collection, Iterator

from bson.errors import BSONError
from pymongo.errors import BulkWriteError, DocumentTooLarge

from ..codec import Codec
from ..connection import TRANSIENT, Connection
from ..documents import CountedRecord
from ..slow_line.paced import limited_and_measured
from ..trust.signatures import TRUSTED
from .guarded import MAX_STATEMENT_BYTES, GuardedWrite, operation, size

__all__ = ["Refused", "send"]

MAX_WRITES = 100  # in one statement: the server searches the statement's arrays linearly
UNSENDABLE = DocumentTooLarge, BSONError, OverflowError  # raised by the driver

Refused = list[tuple[GuardedWrite, str]]  # writes, each with the reason


def send(
    connection: Connection,
    codec: Codec,
    writes: Collection[GuardedWrite],
    limit: int = MAX_WRITES,
) -> tuple[int, Refused]:
    """Send all writes; 1 command, 2 if some remove documents, and as many again after a refusal.

    Returns the number of documents changed, and the writes that were refused: by the driver, or by
    the server, whose validator may reject a document. The other writes met a conflict, or had
    been applied before.

    If the server refuses one document, it does not apply the rest of that statement. So all writes
    of such a statement are sent again, each in its own.

    :param codec: signs the new states.
    :param limit: the number of writes in one statement, at most.
    :raises pymongo.errors.PyMongoError: if the outcome is not known; any write may have applied.
    """
    kinds: dict[tuple[bool, ...], list[GuardedWrite]] = {}
    for write in writes:
        record, _, state, quarantine, _, held, is_outside_lease, signature = write
        kind = (
            state is None,  # with a quarantine the state stays, else the write is a removal
            quarantine is None,
            record.claim is None,
            isinstance(record, CountedRecord),
            held is None,
            is_outside_lease,
            signature is TRUSTED,
            signature is None and record.signature is not None,
        )
        kinds.setdefault(kind, []).append(write)
    chunks = [chunk for kind in kinds.values() for chunk in _chunks(kind, limit)]
    changed, refused = _bulk_write(connection, codec, chunks)
    if refused and limit > 1:
        changed_alone, refused = send(connection, codec, [write for write, _ in refused], 1)
        changed += changed_alone
    return changed, refused


def _chunks(writes: list[GuardedWrite], limit: int) -> Iterator[list[GuardedWrite]]:
    chunk: list[GuardedWrite] = []
    total = 0
    for write in writes:
        write_bytes = size(write)
        if chunk and (len(chunk) == limit or total + write_bytes > MAX_STATEMENT_BYTES):
            yield chunk
            chunk, total = [], 0
        chunk.append(write)
        total += write_bytes
    if chunk:
        yield chunk


def _bulk_write(
    connection: Connection, codec: Codec, chunks: list[list[GuardedWrite]]
) -> tuple[int, Refused]:
    def total_bytes() -> int:
        return sum(size(write) for chunk in chunks for write in chunk)

    try:
        with (
            limited_and_measured(connection, connection.writing, total_bytes) as seconds,
            connection.session(seconds) as session,
        ):
            result = connection.jobs.bulk_write(
                [operation(chunk, codec) for chunk in chunks], ordered=False, session=session
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
        results = [_bulk_write(connection, codec, [chunk]) for chunk in chunks]
        return sum(changed for changed, _ in results), [
            pair for _, refused in results for pair in refused
        ]
