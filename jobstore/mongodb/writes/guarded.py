"""Guarded writes: one command changes many documents, each only if it is still as it was read.

The guard compares `next_run_time`, `job_state`, and the claim's token, if there is one. A guard
in the filter of a single write would cost the server its fast path. Here one multi-update looks
up each document's values in constant arrays. That costs less than unguarded single writes.
"""

from typing import Any, NamedTuple, Protocol

from bson import encode
from pymongo import DeleteMany, UpdateMany

from ..codec import Codec
from ..documents import CountedRecord, Document, Record
from ..slow_line.sizes import id_bytes
from ..trust.signatures import TRUSTED, Signatures

__all__ = ["EXPIRED", "MAX_STATEMENT_BYTES", "GuardedWrite", "operation", "size"]

MAX_STATEMENT_BYTES = 12_000_000  # of states and ids in one statement; the server's limit is 16 MiB
EXPIRED: Document = {"$lte": ["$acquired_until", "$$NOW"]}  # in the server, null sorts first


class CanExpire(Protocol):
    """A lease, as far as a write has to know it."""

    @property
    def ever_expired(self) -> bool:
        """Whether the lease has ever expired, so that other schedulers may have claimed the job."""


class GuardedWrite(NamedTuple):
    """A change of one document, which applies only if the document is still as it was read.

    A write with neither a `state` nor a `quarantine` removes the document.

    :ivar record: the document as it was read.
    :ivar run_time: the new run time, in seconds since the epoch.
    :ivar state: the new pickled state.
    :ivar quarantine: the mark that puts the document into quarantine; its state stays.
    :ivar lease: the lease under which the job was fired, if schedulers share the collection.
    :ivar held: the mark that holds the job; the server adds the time.
    :ivar signature: `TRUSTED` if the new state is to be signed. None takes a signature away. Any
        other value stands in the document, and stays.
    :ivar is_outside_lease: whether the job was not fired. Then the write applies only if no
        scheduler has claimed the job since it was read, and leaves the fields of old claims.
    """

    record: Record
    run_time: float | None
    state: bytes | None
    quarantine: dict[str, Any] | None = None
    lease: CanExpire | None = None
    held: dict[str, Any] | None = None
    is_outside_lease: bool = False
    signature: Any = None

    @property
    def removes(self) -> bool:
        """Whether the write removes the document."""
        return self.state is None and self.quarantine is None

    @property
    def after(self) -> Record | None:
        """The record after the write; None if the write removes the document."""
        job_id, _, state, claim, signature = self.record
        if self.state is not None:
            state, signature = self.state, self.signature
        elif self.quarantine is None:
            return None
        fields = job_id, self.run_time, state, claim, signature
        return tuple.__new__(Record, fields)  # as `Record.of` does


def size(write: GuardedWrite) -> int:
    """Return the bytes of a write: the state as read, the new state, and twice the id."""
    return _size(write.record.state) + _size(write.state) + 2 * id_bytes(write.record.id)


def _size(state: Any) -> int:
    return len(state) if type(state) is bytes else len(encode({"": state}))


def operation(chunk: list[GuardedWrite], codec: Codec) -> UpdateMany | DeleteMany:
    """Build one statement for several writes; all must be removals, or updates of one kind.

    :param codec: signs the new states.
    """
    if chunk[0].removes:
        return DeleteMany(_id_filter(chunk) | {"$expr": _with_index(chunk, _is_unchanged(chunk))})
    new: Document = {"next_run_time": _value_at_index([write.run_time for write in chunk])}
    if chunk[0].quarantine is not None:
        new["quarantine"] = _mark("since", [write.quarantine for write in chunk])
    else:
        new["job_state"] = _value_at_index([write.state for write in chunk])
        if codec.signatures and chunk[0].signature is TRUSTED:
            new["signature"] = _signature(chunk, codec.signatures)
        elif chunk[0].signature is None and chunk[0].record.signature is not None:
            new["signature"] = None  # as if the state had never had one
    if chunk[0].held is not None:
        new["held"] = _mark("at", [write.held for write in chunk])
    if chunk[0].record.claim is not None and not chunk[0].is_outside_lease:
        new["acquired_until"] = None  # releases the claim; the token stays, to tell who wrote
    if isinstance(chunk[0].record, CountedRecord):
        new["attempts"] = None  # the job was run, or goes into quarantine
    changed = {"$mergeObjects": ["$$ROOT", new]}
    guarded = {"$cond": [_is_unchanged(chunk), changed, "$$ROOT"]}
    return UpdateMany(_id_filter(chunk), [{"$replaceWith": _with_index(chunk, guarded)}])


def _id_filter(chunk: list[GuardedWrite]) -> Document:
    return {"_id": {"$in": [write.record.id for write in chunk]}}


def _with_index(chunk: list[GuardedWrite], expression: Any) -> Document:
    ids = {"$literal": [write.record.id for write in chunk]}
    return {"$let": {"vars": {"index": {"$indexOfArray": [ids, "$_id"]}}, "in": expression}}


def _value_at_index(values: list[Any]) -> Document:
    """Build the expression that picks the document's own value from those of all writes."""
    return {"$arrayElemAt": [{"$literal": values}, "$$index"]}


def _mark(time_field: str, marks: list[Any]) -> Document:
    """Build the expression for the document's own mark, with the server's time."""
    return {"$mergeObjects": [{time_field: "$$NOW"}, _value_at_index(marks)]}


def _signature(chunk: list[GuardedWrite], signatures: Signatures) -> Document:
    """Build the expression for the signature of the document's own new state."""
    key = signatures.keys.first
    made = [key.sign(write.record.id, write.state) for write in chunk if write.state is not None]
    return {"by": {"$literal": key.id}, "of": _value_at_index(made)}


def _is_unchanged(chunk: list[GuardedWrite]) -> Document:
    run_times = [write.record.run_time for write in chunk]
    state: Any = {"$ifNull": ["$job_state", None]}
    states = [write.record.state for write in chunk]
    if len(chunk) == 1 and _size(states[0]) + _size(chunk[0].state) > MAX_STATEMENT_BYTES:
        # Both states don't fit into one statement, so the guard compares the state's size.
        state, states = {"$binarySize": "$job_state"}, [len(states[0])]
    guard = [
        {"$eq": [{"$ifNull": ["$next_run_time", None]}, _value_at_index(run_times)]},
        {"$eq": [state, _value_at_index(states)]},
    ]
    claims = [write.record.claim for write in chunk]
    if chunk[0].is_outside_lease:
        claim = {"$ifNull": ["$acquired_by", None]}
        guard += {"$eq": [claim, _value_at_index(claims)]}, EXPIRED
    elif claims[0] is not None:
        guard.append({"$eq": ["$acquired_by", _value_at_index(claims)]})
    return {"$and": guard}
