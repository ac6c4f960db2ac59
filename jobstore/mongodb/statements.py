"""The guarded writes: one statement that changes many documents, each only if it is as it was read.

The guard is the `next_run_time` and the `job_state` that were read. In the filters of single
writes it would cost the server its fast path; here one multi-update finds each document's place
in constant arrays, which costs no more than unguarded single writes.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from bson import encode

from .documents import Seen

__all__ = ["MAX_BYTES", "Write", "chunks", "guarded_delete", "guarded_update"]

MAX_BYTES = 12_000_000  # of states in one statement; the server's limit is 16 MiB


class Write(NamedTuple):
    """What a document is to become, if it still is as it was seen; no `state`: it is removed."""

    seen: Seen
    run_time: float | None
    state: Any
    quarantine: dict[str, Any] | None = None

    @property
    def size(self) -> int:
        """Bytes of state in its statement."""
        return sum(
            len(state) if isinstance(state, bytes) else len(encode({"": state}))
            for state in (self.seen.state, self.state)
        )


def chunks(writes: Iterable[Write], most: int) -> Iterator[list[Write]]:
    """Part writes into statements of at most so many, and of at most `MAX_BYTES`."""
    chunk: list[Write] = []
    size = 0
    for write in writes:
        if chunk and (len(chunk) == most or size + write.size > MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(write)
        size += write.size
    if chunk:
        yield chunk


def guarded_update(writes: list[Write]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Build the filter and the pipeline of one `update_many`."""
    new = {
        "next_run_time": _own([write.run_time for write in writes]),
        "job_state": _own([write.state for write in writes]),
    }
    if writes[0].quarantine is not None:
        new["quarantine"] = {
            "$mergeObjects": [{"since": "$$NOW"}, _own([write.quarantine for write in writes])]
        }
        del new["job_state"]
    changed = {"$mergeObjects": ["$$ROOT", new]}
    guarded = {"$cond": [_unchanged(writes), changed, "$$ROOT"]}
    return _named(writes), [{"$replaceWith": _with_place(writes, guarded)}]


def guarded_delete(writes: list[Write]) -> dict[str, Any]:
    """Build the filter of one `delete_many`."""
    return _named(writes) | {"$expr": _with_place(writes, _unchanged(writes))}


def _named(writes: list[Write]) -> dict[str, Any]:
    return {"_id": {"$in": [write.seen.id for write in writes]}}


def _with_place(writes: list[Write], expression: Any) -> dict[str, Any]:
    ids = {"$literal": [write.seen.id for write in writes]}
    return {"$let": {"vars": {"place": {"$indexOfArray": [ids, "$_id"]}}, "in": expression}}


def _own(values: list[Any]) -> dict[str, Any]:
    """Pick the document's own value out of everyone's."""
    return {"$arrayElemAt": [{"$literal": values}, "$$place"]}


def _unchanged(writes: list[Write]) -> dict[str, Any]:
    run_times = [write.seen.run_time for write in writes]
    state: Any = {"$ifNull": ["$job_state", None]}
    states = [write.seen.state for write in writes]
    if len(writes) == 1 and writes[0].size > MAX_BYTES:
        # Both states would not fit into one statement: here the guard is the state's size.
        state, states = {"$binarySize": "$job_state"}, [len(writes[0].seen.state)]
    return {
        "$and": [
            {"$eq": [{"$ifNull": ["$next_run_time", None]}, _own(run_times)]},
            {"$eq": [state, _own(states)]},
        ]
    }
