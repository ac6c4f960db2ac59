"""Counts the bytes of documents and ids in a command; no database here."""

from collections.abc import Mapping, Sequence
from typing import Any

from bson import encode

from ..documents import DocumentId

__all__ = ["SIZE", "bytes_of", "id_bytes", "size_of"]

SIZE = {"$bsonSize": "$$ROOT"}  # the server's expression for a document's size
OVERHEAD = 100  # bytes of a document without its state and its id


def id_bytes(job_id: DocumentId) -> int:
    """Return an upper bound of the bytes of an id."""
    return 4 * len(job_id) if type(job_id) is str else len(encode({"": job_id}))


def size_of(document: Mapping[str, Any]) -> int:
    """Return the size of a document that was read with the field `SIZE`, as `size`."""
    size: int = document["size"]
    return size


def bytes_of(documents: Sequence[Mapping[str, Any]]) -> int:
    """Estimate the bytes of documents that were read."""
    total = 0
    for document in documents:
        state = document.get("job_state")
        total += OVERHEAD + (len(state) if isinstance(state, bytes) else 0)
        total += id_bytes(document["_id"])
    return total
