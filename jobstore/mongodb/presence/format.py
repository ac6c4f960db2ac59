"""The format of a collection: which versions of this package may read it, and write it.

The format is a document, ``{_id: "format", read: 1, write: 1}``, in the collection ``<jobs>_meta``.
The first start writes it. A version of this package that changes the documents so that older ones
would misread or damage them raises these numbers.
"""

from pymongo import ReturnDocument
from pymongo.errors import OperationFailure

from ..connection import START_SECONDS, UNAUTHORIZED, Connection
from ..documents import Document

__all__ = ["DOCUMENT", "FORMAT", "check_readable", "check_writable"]

FORMAT = 1  # what this version reads and writes
DUPLICATE = 11000  # another start has written the format at this moment
DOCUMENT: Document = {"_id": "format"}


def check_writable(connection: Connection) -> None:
    """Make sure that this version may write to the collection; 1 command, 2 without rights.

    Writes the format of a collection that has none. Without the right to read it, the check is
    left out.

    :raises ValueError: if the collection needs a newer version of this package.
    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    first = {"$setOnInsert": {"read": FORMAT, "write": FORMAT}}
    try:
        with connection.limit(START_SECONDS):
            found = connection.meta.find_one_and_update(
                DOCUMENT, first, upsert=True, return_document=ReturnDocument.AFTER
            )
    except OperationFailure as error:
        if error.code not in (UNAUTHORIZED, DUPLICATE):
            raise
        found = _read(connection)
    _check(connection, found, "write", "write to")


def check_readable(connection: Connection, writes: bool = False) -> None:
    """Make sure that this version understands the collection; 1 command.

    Without the right to read the format, the check is left out.

    :param writes: whether the caller writes to jobs, and so has to know that format, too.
    :raises ValueError: if the collection needs a newer version of this package.
    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    found = _read(connection)
    _check(connection, found, "read", "read")
    if writes:
        _check(connection, found, "write", "write to")


def _read(connection: Connection) -> Document | None:
    try:
        with connection.limit(START_SECONDS):
            return connection.meta.find_one(DOCUMENT)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return None


def _check(connection: Connection, found: Document | None, key: str, verb: str) -> None:
    needed = found.get(key) if found else None
    is_number = isinstance(needed, int | float) and not isinstance(needed, bool)
    if is_number and needed > FORMAT:  # type: ignore[operator]
        raise ValueError(
            f"{connection.jobs.full_name} has format {needed}, and this version of jobstore can "
            f"{verb} format {FORMAT}: install a newer version of jobstore here"
        )
