"""A job's place in the two orders, and the filters for the documents that follow it.

The server compares ids of one type only. So the ids of the types that follow come in a second
filter.
"""

import math
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from bson import (
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    MaxKey,
    MinKey,
    ObjectId,
    Timestamp,
    encode,
    json_util,
)
from bson.errors import BSONError

from ...describe import JobInfo
from ...looking import no_place
from ..documents import Document, DocumentId

__all__ = ["Place", "following", "is_storable_id", "place_of"]

# The order of types in the server: the name of each, and its classes here. Subclasses come first.
CLASSES: list[tuple[str, tuple[type, ...]]] = [
    ("bool", (bool,)),
    ("javascript", (Code,)),
    ("string", (str,)),
    ("number", (int, float, Decimal128)),
    ("binData", (bytes, UUID)),
    ("object", (dict, DBRef)),
    ("objectId", (ObjectId,)),
    ("date", (datetime, DatetimeMS)),
    ("timestamp", (Timestamp,)),
    ("null", (type(None),)),
    ("minKey", (MinKey,)),
    ("maxKey", (MaxKey,)),
]
# A symbol sorts as a string, and is read as one.
ORDER = ["minKey", "null", "number", "symbol", "string", "object", "binData", "objectId", "bool"]
ORDER += ["date", "timestamp", "dbPointer", "javascript", "javascriptWithScope", "maxKey"]


class Place(NamedTuple):
    """The place of a job: its run time in seconds, None if it has none; and its id."""

    run_time: float | None
    id: DocumentId


def place_of(after: JobInfo | str) -> Place:
    """Return the place of the last job of a page.

    :raises ValueError: names a value that is neither a job that `find` returned nor its key.
    """
    try:
        key = after.key if isinstance(after, JobInfo) else after
        run_time, job_id = json_util.loads(key)
        if type(run_time) in (int, float):
            run_time = float(run_time)
            if not math.isfinite(run_time):
                raise ValueError
        elif run_time is not None:
            raise TypeError
        type_of(job_id)
        if not is_storable_id(job_id):
            raise ValueError
    except Exception:  # of hostile JSON: of many types
        raise no_place(after) from None
    return Place(run_time, job_id)


def is_storable_id(job_id: DocumentId) -> bool:
    """Whether BSON can have this id: some numbers are too large, and some texts not UTF-8."""
    try:
        encode({"_id": job_id})
    except (BSONError, OverflowError, UnicodeError):
        return False
    return True


def type_of(job_id: DocumentId) -> str:
    """Return the name of an id's type.

    :raises TypeError: if no id has this type.
    """
    if isinstance(job_id, Code) and job_id.scope is not None:
        return "javascriptWithScope"
    for name, classes in CLASSES:
        if isinstance(job_id, classes):
            return name
    raise TypeError(f"{job_id!r} is no id")


def following(job_id: DocumentId) -> Iterator[Document]:
    """Yield the filters for all ids after this one, in order."""
    name = type_of(job_id)
    if isinstance(job_id, float) and math.isnan(job_id):  # the first number; compares with none
        yield {"_id": {"$type": "number", "$ne": job_id}}
    elif name not in ("null", "minKey", "maxKey"):  # there is only one of each
        yield {"_id": {"$gt": job_id}}
    if later := ORDER[ORDER.index(name) + 1 :]:
        yield {"_id": {"$type": later}}
