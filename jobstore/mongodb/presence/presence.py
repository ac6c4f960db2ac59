"""The presence of a scheduler: a document that exists from its start to its shutdown.

The document is ``{_id: "scheduler:<host>:<pid>:<token>", started: ...}``, in the collection
``<jobs>_meta``. A start that finds the document of another process knows that a scheduler ended
without a shutdown. Or that scheduler still runs, as in a rolling deploy. Documents of the same
process don't count: it has not ended.
"""

import logging
import os
import re
import socket

from bson import ObjectId
from pymongo.errors import OperationFailure, PyMongoError

from ..connection import START_SECONDS, UNAUTHORIZED, Connection
from ..documents import Document

__all__ = ["Presence", "process_identity"]

SCHEDULERS: Document = {"_id": re.compile("^scheduler:")}


def process_identity(object_id: ObjectId | None = None) -> bytes:
    """Return the 5 random bytes that identify the process that made an `ObjectId`.

    A forked process has other bytes than its parent. The layout is specified in
    https://github.com/mongodb/specifications/blob/master/source/bson-objectid/objectid.md

    :param object_id: None for the identity of this process.
    """
    return (object_id or ObjectId()).binary[4:9]


class Presence:
    """Writes and removes one store's presence, and finds the ones left by other processes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._name: str | None = None
        self._parent_name: str | None = None
        self._leftovers: list[str] = []

    def begin(self, logger: logging.Logger) -> bool:
        """Announce that a scheduler runs; return whether another process left its presence.

        2 commands. Without the right to write, a warning is logged, and the answer is False.

        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        meta = self._connection.meta
        name = self._name or f"scheduler:{socket.gethostname()}:{os.getpid()}:{ObjectId()}"
        try:
            with self._connection.limit(START_SECONDS):
                now = [{"$set": {"started": "$$NOW"}}]
                meta.update_one({"_id": name}, now, upsert=True)
                self._name = name
                stored = [document["_id"] for document in meta.find(SCHEDULERS, ["_id"])]
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            logger.warning(
                "No right to write to %s: a start can't tell how the last process ended, so a job "
                "that ends its process runs again at each start",
                meta.full_name,
            )
            return False
        own = self._parent_name, name
        self._leftovers = [
            other for other in stored if other not in own and not _is_of_this_process(other)
        ]
        return bool(self._leftovers)

    def remove_leftovers(self) -> None:
        """Remove the documents that `begin` has found; 1 command.

        Never raises an error of the database. If the removal fails, the next start finds the
        documents again.
        """
        try:
            with self._connection.limit():
                self._connection.meta.delete_many({"_id": {"$in": self._leftovers}})
        except PyMongoError:
            pass

    def end(self) -> None:
        """Announce a clean shutdown; 1 command. Never raises an error of the database."""
        name, self._name = self._name, None
        if name is None:
            return
        try:
            with self._connection.limit():
                self._connection.meta.delete_one({"_id": name})
        except PyMongoError:
            pass  # the next start begins a recovery

    def forked(self) -> None:
        """In a forked process: leave the document to the parent, which still runs."""
        self._parent_name = self._name or self._parent_name
        self._name = None


def _is_of_this_process(name: str) -> bool:
    token = name.rpartition(":")[2]
    return ObjectId.is_valid(token) and process_identity(ObjectId(token)) == process_identity()
