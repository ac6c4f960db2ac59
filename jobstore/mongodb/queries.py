"""Reads, writes and removes many documents, one batch at a time.

`add`, `update` and `remove` return the ids that were refused, in the order given.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from itertools import chain, islice
from typing import Any, TypeVar

from apscheduler.job import Job
from bson import MinKey
from pymongo import ASCENDING, UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from .connection import Connection
from .documents import Document, DocumentId
from .slow_line.pace import ID_BYTES
from .slow_line.paced import in_parts, timed_out
from .slow_line.sizes import bytes_of, id_bytes
from .to_documents import to_documents

__all__ = [
    "NO_LEASE",
    "add",
    "all_ids",
    "batched",
    "delete",
    "document_batches",
    "id_filter",
    "is_conflict",
    "put",
    "remove",
    "remove_all",
    "replacement",
    "stored_ids",
    "update",
    "write_by_ids",
]

DUPLICATE_KEY = 11000
NO_LEASE = {"acquired_by": "", "acquired_until": "", "attempts": ""}
OWN_PARTS = "about", "signature"  # fields that belong to the state, and have parts
IS_HELD: Document = {  # else a field `held` is stale: a stock store has resumed the job
    "$and": [
        {"$eq": ["$next_run_time", None]},
        {"$eq": [{"$type": "$quarantine"}, "missing"]},
        {"$eq": [{"$type": "$held"}, "object"]},
    ]
}
MAX_IDS = 10_000  # in one statement, so that it ends within its time limit
Item = TypeVar("Item")


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Split items into lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def document_batches(
    jobs: Iterable[Job], to_document: Callable[[Job], Document], size: int
) -> Iterator[list[Document]]:
    """Make the jobs' documents, in batches.

    A sized collection is converted at once, so a bad job is found before any write. An iterator is
    converted batch by batch.

    :raises Exception: as `to_documents` and `to_document` do, for a bad job.
    """
    if isinstance(jobs, Sized):
        return batched(to_documents(jobs, to_document), size)
    return batched(map(to_document, jobs), size)


def id_filter(job_id: DocumentId) -> Document:
    """Build the filter for one id; a dict or a pattern stands for itself, too."""
    return {"_id": {"$eq": job_id}}


def replacement(document: Document) -> tuple[Document, Document | list[Document]]:
    """Build the filter and the update that replace a job; quarantine and lease are removed.

    A run time releases a held job. Without one, a held job stays held. The texts in `about` are
    replaced, too, or removed. So is the signature.
    """
    query, removed = id_filter(document["_id"]), {"quarantine": "", **NO_LEASE}
    removed |= {name: "" for name in OWN_PARTS if name not in document}
    fields = {name: value for name, value in document.items() if name != "_id"}
    if document["next_run_time"] is not None:
        return query, {"$set": fields, "$unset": {"held": "", **removed}}
    still_held = {"$cond": [IS_HELD, "$held", "$$REMOVE"]}
    literal = {name: {"$literal": value} for name, value in fields.items()}
    removed |= dict.fromkeys(OWN_PARTS, "")  # else their parts would be merged
    return query, [
        {"$set": {"held": still_held}},
        {"$unset": list(removed)},
        {"$set": literal},
    ]


def is_conflict(error: Mapping[str, Any]) -> bool:
    """Whether the error says that the `_id` is taken; False for a user's own unique index."""
    return error.get("code") == DUPLICATE_KEY and list(error.get("keyPattern", ["_id"])) == ["_id"]


def add(connection: Connection, documents: list[Document]) -> list[str]:
    """Insert a batch, return the ids taken; 1 command, more on a slow line.

    :raises pymongo.errors.PyMongoError: for all other failures; some documents may be stored.
    """

    def insert(batch: list[Document], in_doubt: bool) -> list[str]:
        try:
            with connection.session() as session:
                connection.jobs.insert_many(batch, ordered=False, session=session)
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or not all(map(is_conflict, failed)):
                raise
            taken = [batch[place] for place in sorted(each["index"] for each in failed)]
            return (
                _ids_not_stored(connection, taken) if in_doubt else [each["_id"] for each in taken]
            )
        return []

    return list(chain.from_iterable(_write(connection, documents, insert)))


def put(connection: Connection, documents: list[Document]) -> set[DocumentId]:
    """Insert a batch, or replace documents; return the replaced ids; 1 command, or more as `add`.

    An id that an unanswered command has perhaps inserted counts as replaced.

    :raises pymongo.errors.PyMongoError: for all failures; some documents may be stored.
    """

    def replace(batch: list[Document], in_doubt: bool) -> set[DocumentId]:
        changes = [UpdateOne(*replacement(document), upsert=True) for document in batch]
        with connection.session() as session:
            result = connection.jobs.bulk_write(changes, session=session)
        inserted = (result.upserted_ids or {}).values()
        return {document["_id"] for document in batch} - set(inserted)

    return set().union(*_write(connection, documents, replace))


def _write(
    connection: Connection,
    documents: list[Document],
    act: Callable[[list[Document], bool], Item],
) -> Iterator[Item]:
    return in_parts(connection, connection.writing, documents, lambda each: bytes_of([each]), act)


def _ids_not_stored(connection: Connection, documents: list[Document]) -> list[str]:
    """Return the ids whose documents an earlier, unanswered insert did not store."""
    return [
        document["_id"]
        for document in documents
        if not stored_ids(connection, [document["_id"]], {"job_state": document["job_state"]})
    ]


def update(connection: Connection, documents: list[Document]) -> list[str]:
    """Update the stored documents, return the ids not found; 2 commands, more on a slow line.

    The ids are read first, as the result of a bulk write doesn't name the missing ones. If some
    are removed in between, both commands are repeated.
    """

    def act(batch: list[Document], in_doubt: bool) -> int:
        changes = [UpdateOne(*replacement(document)) for document in batch]
        with connection.session() as session:
            return connection.jobs.bulk_write(changes, session=session).matched_count

    while True:
        stored = set(stored_ids(connection, [document["_id"] for document in documents]))
        present = [document for document in documents if document["_id"] in stored]
        if sum(_write(connection, present, act)) == len(present):
            return [document["_id"] for document in documents if document["_id"] not in stored]


def remove(connection: Connection, job_ids: list[DocumentId]) -> list[DocumentId]:
    """Remove the stored documents, return the ids not found; 2 commands, more for long ids."""
    stored = set(stored_ids(connection, job_ids))
    delete(connection, list(stored))
    refused = []
    for job_id in job_ids:
        if job_id in stored:
            stored.remove(job_id)  # the same id again is refused
        else:
            refused.append(job_id)
    return refused


def delete(connection: Connection, job_ids: list[DocumentId]) -> None:
    """Remove the documents with these ids; 1 command, more for long ids."""

    def act(batch: list[DocumentId], in_doubt: bool) -> None:
        with connection.session() as session:
            connection.jobs.delete_many({"_id": {"$in": batch}}, session=session)

    write_by_ids(connection, job_ids, act)


def write_by_ids(
    connection: Connection,
    job_ids: list[DocumentId],
    act: Callable[[list[DocumentId], bool], object],
) -> None:
    """Call `act` on the ids, in parts that fit into one command; see `in_parts`."""
    for _ in in_parts(connection, connection.writing, job_ids, id_bytes, act, ID_BYTES):
        pass


def stored_ids(
    connection: Connection, job_ids: list[DocumentId], extra_query: Mapping[str, Any] | None = None
) -> list[DocumentId]:
    """Return the ids that are stored; 1 command, more for long ids.

    :param extra_query: a condition that the documents have to meet, too.
    """

    def act(batch: list[DocumentId], in_doubt: bool) -> list[DocumentId]:
        with connection.limit():
            query = {"_id": {"$in": batch}, **(extra_query or {})}
            documents = connection.jobs.find(query, ["_id"], batch_size=len(batch) + 1)
            return [document["_id"] for document in documents]

    ids = in_parts(connection, connection.reading, job_ids, id_bytes, act, ID_BYTES)
    return list(chain.from_iterable(ids))


def remove_all(connection: Connection) -> None:
    """Remove all n documents; O(n), 2 commands for each 10,000."""
    for ids in all_ids(connection, {}):
        delete(connection, ids)


def all_ids(connection: Connection, query: Document) -> Iterator[list[DocumentId]]:
    """Yield the ids of the query's documents; 1 command for each 10,000.

    A list begins with the last id of the list before, if the query still finds it.
    """
    first, failed = MinKey(), False
    while True:
        try:
            ids = _ids_from(connection, first, query)
        except PyMongoError as error:
            if failed or not timed_out(error) or not connection.reading.note_timeout():
                raise
            failed = True
            continue
        if not ids or ids[-1] == first:  # no write finds an id that isn't UTF-8
            return
        yield ids
        first, failed = ids[-1], False


def _ids_from(connection: Connection, first: Any, query: Document) -> list[DocumentId]:
    size = min(MAX_IDS, connection.reading.max_ids)
    with connection.limit():
        cursor = connection.jobs.find(query, ["_id"], limit=size, batch_size=size)
        documents = cursor.min([("_id", first)]).hint([("_id", ASCENDING)]).sort("_id")
        return [document["_id"] for document in documents]
