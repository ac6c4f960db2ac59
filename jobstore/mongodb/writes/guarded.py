"""The guarded writes: many documents changed by one command, each only if it is as it was read.

The guard is the `next_run_time` and the `job_state` that were read, and the claim, if there was
one. In the filters of single writes it would cost the server its fast path; here a multi-update
finds each document's place in constant arrays, which costs less than unguarded single writes.
"""

from typing import Any, NamedTuple, Protocol

from bson import encode
from pymongo import DeleteMany, UpdateMany

from ..documents import CountedRecord, Document, Record
from ..slow_line.sizes import id_bytes

__all__ = ["MAX_BYTES", "GuardedWrite", "operation", "size"]

MAX_BYTES = 12_000_000  # of states and ids in one statement; the server's limit is 16 MiB


class MayEnd(Protocol):
    """A lease, as a write has to know it."""

    @property
    def ever_expired(self) -> bool:
        """Whether other schedulers may have claimed the job, now or at any time before."""


class GuardedWrite(NamedTuple):
    """What a document is to become, if it still is as it was seen.

    With a `quarantine` it is put there, as it is; with neither that nor a `state` it is removed.
    The `lease` is the one under which the job was fired, if schedulers share the collection.
    """

    record: Record
    run_time: float | None
    state: bytes | None
    quarantine: dict[str, Any] | None = None
    lease: MayEnd | None = None

    @property
    def removes(self) -> bool:
        """Whether the document is to go."""
        return self.state is None and self.quarantine is None

    @property
    def after(self) -> Record | None:
        """The document as it is when this is written; None if it is gone."""
        if self.removes:
            return None
        state = self.record.state if self.state is None else self.state
        return Record(
            self.record.id, self.run_time, state, self.record.claim
        )  # half of _replace's time


def size(write: GuardedWrite) -> int:
    """Count the bytes of a write: states as seen and new, and the id, which is named twice."""
    return _size(write.record.state) + _size(write.state) + 2 * id_bytes(write.record.id)


def _size(state: Any) -> int:
    return len(state) if type(state) is bytes else len(encode({"": state}))


def operation(chunk: list[GuardedWrite]) -> UpdateMany | DeleteMany:
    """Build the statement of some writes, which all are removals, or all updates of one kind."""
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
    if chunk[0].record.claim is not None:
        new["acquired_until"] = None  # released; whose it was stays, to tell by whom it was written
    if isinstance(chunk[0].record, CountedRecord):
        new["attempts"] = None  # it is run, or not to be run
    changed = {"$mergeObjects": ["$$ROOT", new]}
    guarded = {"$cond": [_unchanged(chunk), changed, "$$ROOT"]}
    return UpdateMany(_named(chunk), [{"$replaceWith": _with_place(chunk, guarded)}])


def _named(chunk: list[GuardedWrite]) -> Document:
    return {"_id": {"$in": [write.record.id for write in chunk]}}


def _with_place(chunk: list[GuardedWrite], expression: Any) -> Document:
    ids = {"$literal": [write.record.id for write in chunk]}
    return {"$let": {"vars": {"place": {"$indexOfArray": [ids, "$_id"]}}, "in": expression}}


def _own(values: list[Any]) -> Document:
    """Pick the document's own value out of everyone's."""
    return {"$arrayElemAt": [{"$literal": values}, "$$place"]}


def _unchanged(chunk: list[GuardedWrite]) -> Document:
    run_times = [write.record.run_time for write in chunk]
    state: Any = {"$ifNull": ["$job_state", None]}
    states = [write.record.state for write in chunk]
    if len(chunk) == 1 and _size(states[0]) + _size(chunk[0].state) > MAX_BYTES:
        # Both states would not fit into one statement: here the guard is the state's size.
        state, states = {"$binarySize": "$job_state"}, [len(states[0])]
    guard = [
        {"$eq": [{"$ifNull": ["$next_run_time", None]}, _own(run_times)]},
        {"$eq": [state, _own(states)]},
    ]
    claims = [write.record.claim for write in chunk]
    if claims[0] is not None:
        guard.append({"$eq": ["$acquired_by", _own(claims)]})
    return {"$and": guard}
