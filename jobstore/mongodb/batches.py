"""Operations on many jobs, one batch at a time; each returns the ids refused, in order."""

from collections.abc import Iterable, Iterator, Mapping, Sized
from itertools import islice
from typing import Any, TypeVar

from apscheduler.job import Job
from bson import MinKey
from pymongo import ASCENDING, UpdateOne
from pymongo.errors import BulkWriteError

from .connection import Connection, Document
from .documents import to_document

__all__ = [
    "NO_LEASE",
    "add",
    "change",
    "ids_from",
    "is_conflict",
    "named",
    "of",
    "of_documents",
    "remove",
    "remove_all",
    "stored",
    "update",
]

DUPLICATE_KEY = 11000
NO_LEASE = {"acquired_by": "", "acquired_until": ""}
AT_ONCE = 10_000  # documents: a statement stays within its time limit
Item = TypeVar("Item")


def of(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Part items into batches."""
    iterator = iter(items)
    while batch := list(islice(iterator, most)):
        yield batch


def of_documents(jobs: Iterable[Job], protocol: int, most: int) -> Iterator[list[Document]]:
    """Make the jobs' documents: of a collection all, before the first is used; else by batches."""
    documents: Iterable[Document] = (to_document(job, protocol) for job in jobs)
    return of(list(documents) if isinstance(jobs, Sized) else documents, most)


def named(job_id: Any) -> Document:
    """Build the filter for one id, whatever it is."""
    return {"_id": {"$eq": job_id}}


def change(document: Document) -> tuple[Document, Document]:
    """Build filter and update that make a stored document this one; quarantine and lease end."""
    fields = {name: value for name, value in document.items() if name != "_id"}
    return named(document["_id"]), {"$set": fields, "$unset": {"quarantine": "", **NO_LEASE}}


def is_conflict(error: Mapping[str, Any]) -> bool:
    """Whether an error says that the `_id` is taken, and not what a user's own index demands."""
    return error.get("code") == DUPLICATE_KEY and list(error.get("keyPattern", ["_id"])) == ["_id"]


def add(connection: Connection, documents: list[Document], replace_existing: bool) -> list[str]:
    """Insert a batch; 1 command."""
    with connection.session() as session:
        if replace_existing:
            connection.jobs.bulk_write(
                [UpdateOne(*change(document), upsert=True) for document in documents],
                session=session,
            )
            return []
        try:
            connection.jobs.insert_many(documents, ordered=False, session=session)
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or not all(map(is_conflict, failed)):
                raise
            return [documents[place]["_id"] for place in sorted(each["index"] for each in failed)]
    return []


def update(connection: Connection, documents: list[Document]) -> list[str]:
    """Update the stored ones of a batch; 2 commands.

    The ids are read first, as a bulk's result doesn't name what it missed. Whoever removes some
    of them in between makes it start again.
    """
    while True:
        found = set(stored(connection, [document["_id"] for document in documents]))
        present = [document for document in documents if document["_id"] in found]
        if present:
            with connection.session() as session:
                result = connection.jobs.bulk_write(
                    [UpdateOne(*change(document)) for document in present], session=session
                )
        if not present or result.matched_count == len(present):
            return [document["_id"] for document in documents if document["_id"] not in found]


def remove(connection: Connection, job_ids: list[Any]) -> list[Any]:
    """Remove the stored ones of a batch; 2 commands."""
    found = set(stored(connection, job_ids))
    if found:
        with connection.session() as session:
            connection.jobs.delete_many({"_id": {"$in": list(found)}}, session=session)
    refused = []
    for job_id in job_ids:
        if job_id in found:
            found.remove(job_id)  # a second time it is not there
        else:
            refused.append(job_id)
    return refused


def stored(
    connection: Connection, job_ids: list[Any], also: Mapping[str, Any] | None = None
) -> list[Any]:
    """Return those ids that are stored, in documents that have `also` this; 1 command."""
    with connection.limit():
        query = {"_id": {"$in": job_ids}, **(also or {})}
        found = connection.jobs.find(query, ["_id"], batch_size=len(job_ids) + 1)
        return [document["_id"] for document in found]


def remove_all(connection: Connection) -> None:
    """Remove all documents, so many at once that each statement is done in time."""
    last = MinKey()
    while ids := ids_from(connection, last, {}):
        last = ids[-1]
        with connection.session() as session:
            connection.jobs.delete_many({"_id": {"$in": ids}}, session=session)


def ids_from(connection: Connection, first: Any, query: Document) -> list[Any]:
    """Return ids from this one on, in order, so many that a statement on them is done in time."""
    with connection.limit():
        found = connection.jobs.find(query, ["_id"], limit=AT_ONCE, batch_size=AT_ONCE)
        by_id = found.min([("_id", first)]).hint([("_id", ASCENDING)]).sort("_id")
        return [document["_id"] for document in by_id]
