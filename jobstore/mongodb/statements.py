"""The guarded writes: many documents changed by one command, each only if it is as it was read.

The guard is the `next_run_time` and the `job_state` that were read, and the claim, if there was
one. In the filters of single writes it would cost the server its fast path; here a multi-update
finds each document's place in constant arrays, which costs less than unguarded single writes.
"""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from bson import encode
from bson.errors import BSONError
from pymongo import DeleteMany, UpdateMany
from pymongo.errors import BulkWriteError, DocumentTooLarge

from .connection import Connection, Document
from .documents import Counted, Seen
from .lease import Lease
from .paced import carried, id_bytes

__all__ = ["Refused", "Write", "send", "size"]

MAX_BYTES = 12_000_000  # of states and ids in one statement; the server's limit is 16 MiB
MOST = 100  # documents in one statement: the server searches its arrays from the start
TRANSIENT = {50, 91, 112, 189, 262, 10107, 11600, 11601, 11602, 13435, 13436, 14031}
UNSENDABLE = DocumentTooLarge, BSONError, OverflowError  # raised by the driver


class Write(NamedTuple):
    """What a document is to become, if it still is as it was seen.

    With a `quarantine` it is put there, as it is; with neither that nor a `state` it is removed.
    The `lease` is the one under which the job was fired, if schedulers share the collection.
    """

    seen: Seen
    run_time: float | None
    state: bytes | None
    quarantine: dict[str, Any] | None = None
    lease: Lease | None = None

    @property
    def removes(self) -> bool:
        """Whether the document is to go."""
        return self.state is None and self.quarantine is None

    @property
    def after(self) -> Seen | None:
        """The document as it is when this is written; None if it is gone."""
        if self.removes:
            return None
        state = self.seen.state if self.state is None else self.state
        return Seen(self.seen.id, self.run_time, state, self.seen.claim)  # half of _replace's time


Refused = list[tuple[Write, str]]  # and why


def send(
    connection: Connection, writes: Collection[Write], most: int = MOST
) -> tuple[int, Refused]:
    """Write all; 1 command, 2 if some are removed.

    Returns how many documents were changed, and the writes that were refused for their own
    documents' sake. What is neither lost its guard, or got lost.

    :param most: how many documents share a statement. One that is refused takes those after it
        in its statement along; these are sent again, each by a statement of its own.
    :raises pymongo.errors.PyMongoError: if it is not known what was written.
    """
    kinds: dict[tuple[bool, ...], list[Write]] = {}
    for write in writes:
        seen = write.seen
        kind = (
            write.removes, write.quarantine is None, seen.claim is None, isinstance(seen, Counted),
        )  # fmt: skip
        kinds.setdefault(kind, []).append(write)
    chunks = [chunk for kind in kinds.values() for chunk in _chunks(kind, most)]
    changed, refused = _bulk_write(connection, chunks)
    if refused and most > 1:
        more, refused = send(connection, [write for write, _ in refused], 1)
        changed += more
    return changed, refused


def _chunks(writes: list[Write], most: int) -> Iterator[list[Write]]:
    chunk: list[Write] = []
    total = 0
    for write in writes:
        bytes_more = size(write)
        if chunk and (len(chunk) == most or total + bytes_more > MAX_BYTES):
            yield chunk
            chunk, total = [], 0
        chunk.append(write)
        total += bytes_more
    if chunk:
        yield chunk


def size(write: Write) -> int:
    """Count the bytes of a write: states as seen and new, and the id, which is named twice."""
    return _size(write.seen.state) + _size(write.state) + 2 * id_bytes(write.seen.id)


def _size(state: Any) -> int:
    return len(state) if type(state) is bytes else len(encode({"": state}))


def _bulk_write(connection: Connection, chunks: list[list[Write]]) -> tuple[int, Refused]:
    def bytes_of_all() -> int:
        return sum(size(write) for chunk in chunks for write in chunk)

    try:
        with (
            carried(connection, connection.writing, bytes_of_all) as seconds,
            connection.session(seconds) as session,
        ):
            result = connection.jobs.bulk_write(
                list(map(_operation, chunks)), ordered=False, session=session
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


def _operation(chunk: list[Write]) -> UpdateMany | DeleteMany:
    if chunk[0].removes:
        return DeleteMany(_named(chunk) | {"$expr": _with_place(chunk, _unchanged(chunk))})
    new: Document = {
        "next_run_time": _own([write.run_time for write in chunk]),
        "job_state": _own([write.state for write in chunk]),
    }
    if chunk[0].quarantine is not None:
        new["quarantine"] = {
            "$mergeObjects": [{"since": "$$NOW"}, _own([write.quarantine for write in chunk])]
        }
        del new["job_state"]
    if chunk[0].seen.claim is not None:
        new["acquired_until"] = None  # released; whose it was stays, to tell by whom it was written
    if isinstance(chunk[0].seen, Counted):
        new["attempts"] = None  # it is run, or not to be run
    changed = {"$mergeObjects": ["$$ROOT", new]}
    guarded = {"$cond": [_unchanged(chunk), changed, "$$ROOT"]}
    return UpdateMany(_named(chunk), [{"$replaceWith": _with_place(chunk, guarded)}])


def _named(chunk: list[Write]) -> Document:
    return {"_id": {"$in": [write.seen.id for write in chunk]}}


def _with_place(chunk: list[Write], expression: Any) -> Document:
    ids = {"$literal": [write.seen.id for write in chunk]}
    return {"$let": {"vars": {"place": {"$indexOfArray": [ids, "$_id"]}}, "in": expression}}


def _own(values: list[Any]) -> Document:
    """Pick the document's own value out of everyone's."""
    return {"$arrayElemAt": [{"$literal": values}, "$$place"]}


def _unchanged(chunk: list[Write]) -> Document:
    run_times = [write.seen.run_time for write in chunk]
    state: Any = {"$ifNull": ["$job_state", None]}
    states = [write.seen.state for write in chunk]
    if len(chunk) == 1 and _size(states[0]) + _size(chunk[0].state) > MAX_BYTES:
        # Both states would not fit into one statement: here the guard is the state's size.
        state, states = {"$binarySize": "$job_state"}, [len(states[0])]
    guard = [
        {"$eq": [{"$ifNull": ["$next_run_time", None]}, _own(run_times)]},
        {"$eq": [state, _own(states)]},
    ]
    claims = [write.seen.claim for write in chunk]
    if claims[0] is not None:
        guard.append({"$eq": ["$acquired_by", _own(claims)]})
    return {"$and": guard}
