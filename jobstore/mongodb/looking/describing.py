"""Fills in the texts of documents that have none, or stale ones, and creates indexes on them.

Each write requires that the state is still as it was read, and sets the field `about` alone. So
schedulers may run meanwhile: their writes compare other fields.
"""

from collections.abc import Callable
from typing import Any

from apscheduler.schedulers.base import BaseScheduler
from pymongo import UpdateOne

from ...about import tags_of
from ...describe import JobInfo, about_state, describe, stored_tags
from ...run_times import UnreadableError
from ..about_field import make_field
from ..codec import Codec
from ..connection import Connection
from ..documents import REPLACEMENT, Document, Record
from ..indexes import BUILD_SECONDS
from ..overdue.held import same_state
from ..queries import id_filter
from ..slow_line.paced import in_parts
from ..slow_line.sizes import bytes_of
from .places import place_of
from .walk import walk

__all__ = ["Progress", "create_indexes", "describe_all"]

Progress = Callable[[int, str], object]
# Not sparse, so that a search also finds the documents without texts, whose states it reads.
INDEXES: list[Document] = [
    {"key": {f"about.{field}": 1, "_id": 1}, "name": f"about.{field}_1__id_1"}
    for field in ("func", "tags", "executor")
]


def create_indexes(connection: Connection) -> None:
    """Create the indexes on function, tags and executor, if they are missing; 1 command."""
    jobs = connection.jobs
    with connection.limit(BUILD_SECONDS):
        jobs.database.command({"createIndexes": jobs.name, "indexes": INDEXES})


def describe_all(
    connection: Connection,
    codec: Codec,
    scheduler: BaseScheduler | None,
    after: JobInfo | str | None,
    progress: Progress | None,
) -> int:
    """Write the texts of all documents where they are missing or stale; returns their number.

    :param codec: has the callable that returns a job's tags; None keeps the tags.
    :param scheduler: the scheduler of the jobs that are restored for `tags`.
    :param after: the job after which to begin, or its key.
    :param progress: called after each batch with the number of documents looked at, and the key of
        the last one.
    """
    place = None if after is None else place_of(after)
    looked_at = written = 0
    for documents in walk(connection, dict, place):
        writes = [_write_for(document, codec, scheduler) for document in documents]
        written += _write(connection, [write for write in writes if write])
        looked_at += len(documents)
        if progress:
            progress(looked_at, describe(documents[-1]).key)
    return written


Write = tuple[UpdateOne, int]  # with its bytes


def _write_for(document: Document, codec: Codec, scheduler: BaseScheduler | None) -> Write | None:
    """Return the write of a document's texts; None if they are right, or can't be read."""
    job_id, state = document["_id"], document.get("job_state")
    if not isinstance(state, bytes) or REPLACEMENT in str(job_id):  # no write finds such an id
        return None
    try:
        about = about_state(state)
    except UnreadableError:
        return None
    field = make_field(about._replace(tags=_tags_of(document, codec, scheduler)), state)
    if field == document.get("about"):
        return None
    query = id_filter(job_id) | same_state(state) | same_tags(document.get("about"))
    return UpdateOne(query, {"$set": {"about": field}}), bytes_of([document])


def same_tags(about: Any) -> Document:
    """Build the condition that the tags are unchanged: an equal state may have got others."""
    tags = about.get("tags") if isinstance(about, dict) else None
    return {} if REPLACEMENT in str(tags) else {"about.tags": {"$eq": tags}}


def _tags_of(document: Document, codec: Codec, scheduler: BaseScheduler | None) -> tuple[str, ...]:
    """Ask for a job's tags; a job that can't be restored keeps those that it has.

    So does one in quarantine: to restore it may have ended processes.
    """
    if codec.tags is not None and "quarantine" not in document:
        try:
            job = codec.restore(Record.of(document), scheduler, None)
        except UnreadableError:
            pass
        else:
            return tags_of(job, codec.tags)
    return stored_tags(document.get("about"))


def _write(connection: Connection, writes: list[Write]) -> int:
    """Write, and return the number of documents that were still as they were read."""

    def act(part: list[Write], in_doubt: bool) -> int:
        with connection.session() as session:
            result = connection.jobs.bulk_write(
                [write for write, _ in part], ordered=False, session=session
            )
        return result.matched_count

    return sum(in_parts(connection, connection.writing, writes, lambda write: write[1], act))
