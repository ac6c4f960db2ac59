"""Reads all documents in order of id, in pages whose bytes are bounded."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from pymongo.errors import PyMongoError

from ..connection import Connection
from ..documents import Document, DocumentId, IdKey, hashable_id
from ..slow_line.paced import measured, timed_out
from ..slow_line.sizes import bytes_of
from .pages import Reader
from .places import Place

__all__ = ["BATCH", "BATCH_BYTES", "walk"]

BATCH = 1000  # documents in a read
BATCH_BYTES = 8_000_000
FIRST_BATCH = 10  # before it is known how large the documents are
TRIES = 3  # of a page; a time-out makes it smaller
SHRINK_FACTOR = 8
Item = TypeVar("Item")


def walk(
    connection: Connection,
    convert: Callable[[Document], Item],
    place: Place | None = None,
    most: int | None = None,
) -> Iterator[list[Item]]:
    """Yield all documents after a place, converted, in pages; 1 command for each 1,000; O(n).

    Documents that are added or removed meanwhile may be among them or not.

    :param convert: called with each document when it is read; its result is kept.
    :param most: the maximum number of documents in a page; None is 1,000.
    :raises ValueError: if a page can't begin after an id, as the id is read as another one.
    :raises pymongo.errors.PyMongoError: if the server can't be reached, or small pages time out,
        too.
    """

    def converted(document: Document) -> Document:
        item = convert(document)
        return {"_id": document["_id"], "bytes": bytes_of([document]), "item": item}

    most = BATCH if most is None else most
    ends: set[IdKey] = set()
    reader, size, tries = Reader(connection, converted), min(FIRST_BATCH, most), TRIES
    while True:
        page: list[Document] = []
        try:
            with measured(connection, connection.reading, lambda: total_bytes(page)):  # noqa: B023
                page += reader.by_id({}, size, place)
        except PyMongoError as error:
            tries -= 1
            if not tries or size == 1 or not timed_out(error):
                raise
            connection.now()  # raises in an outage
            connection.reading.note_timeout()
            size = max(1, size // SHRINK_FACTOR)
            continue
        if not page:
            return
        tries = TRIES
        place = Place(None, page[-1]["_id"])
        check_end(place.id, ends)
        yield [each["item"] for each in page]
        budget = min(BATCH_BYTES, connection.reading.budget)
        size = max(1, min(most, int(budget * len(page) / total_bytes(page))))


def check_end(job_id: DocumentId, ends: set[IdKey]) -> None:
    """Refuse a second page that ends with the same id: then the pages would never end.

    BSON that no driver writes may be read as another id, such as a document with the same name
    twice.
    """
    key = hashable_id(job_id)
    if key in ends:
        raise ValueError(f"no query can name the document with the _id {job_id!r}: remove it")
    ends.add(key)


def total_bytes(page: list[Document]) -> int:
    total: int = sum(each["bytes"] for each in page)
    return total
