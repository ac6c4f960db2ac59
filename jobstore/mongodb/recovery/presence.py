"""The presence of a scheduler: a document from its start to its shutdown.

It is ``{_id: "scheduler:<host>:<pid>:<token>", started: ...}``, in the collection ``<jobs>_meta``.
A start that finds another one knows that a scheduler ended without a shutdown. Or one still runs,
as in a rolling deploy. Those of this process don't count: it has not ended.
"""

import logging
import os
import re
import socket

from bson import ObjectId
from pymongo.errors import OperationFailure, PyMongoError

from ..connection import START_SECONDS, UNAUTHORIZED, Connection
from ..documents import Document

__all__ = ["Presence", "process"]

SCHEDULERS: Document = {"_id": re.compile("^scheduler:")}


def process(token: ObjectId | None = None) -> bytes:
    """Return the part of an `ObjectId` that only its process has: by default of this process's.

    A forked process has another one. The layout is that of the specification:
    https://github.com/mongodb/specifications/blob/master/source/bson-objectid/objectid.md
    """
    return (token or ObjectId()).binary[4:9]


class Presence:
    """The document of one store, and the documents that others left behind."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._name: str | None = None
        self._of_parent: str | None = None
        self._left: list[str] = []

    def begin(self, logger: logging.Logger) -> bool:
        """Say that a scheduler runs; returns whether one of another process has not ended well.

        2 commands. Where that is not allowed, it is unknown.
        """
        meta = self._connection.meta
        name = self._name or f"scheduler:{socket.gethostname()}:{os.getpid()}:{ObjectId()}"
        try:
            with self._connection.limit(START_SECONDS):
                now = [{"$set": {"started": "$$NOW"}}]
                meta.update_one({"_id": name}, now, upsert=True)
                self._name = name
                found = [each["_id"] for each in meta.find(SCHEDULERS, ["_id"])]
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            logger.warning(
                "No right to write to %s: a job that ends its process will run at each start, as "
                "a start can't tell how the last process ended",
                meta.full_name,
            )
            return False
        known = self._of_parent, name
        self._left = [each for each in found if each not in known and not _is_of_this_process(each)]
        return bool(self._left)

    def forget_others(self) -> None:
        """Remove what `begin` has found; 1 command. If that fails, the next start finds it."""
        try:
            with self._connection.limit():
                self._connection.meta.delete_many({"_id": {"$in": self._left}})
        except PyMongoError:
            pass

    def end(self) -> None:
        """Say that the scheduler has ended as it should; 1 command. Never raises."""
        name, self._name = self._name, None
        if name is None:
            return
        try:
            with self._connection.limit():
                self._connection.meta.delete_one({"_id": name})
        except PyMongoError:
            pass  # the next start is a slow one

    def forked(self) -> None:
        """In a forked process: it is the parent that runs, and has not ended."""
        self._of_parent = self._name or self._of_parent
        self._name = None


def _is_of_this_process(name: str) -> bool:
    token = name.rpartition(":")[2]
    return ObjectId.is_valid(token) and process(ObjectId(token)) == process()
