"""The indexes of the history's records: by time, which removes old ones, and by job and time."""

import logging
from collections.abc import Collection

from pymongo.errors import OperationFailure

from ..connection import TRANSIENT, UNAUTHORIZED, Connection
from ..documents import Document
from ..indexes import BUILD_SECONDS

__all__ = ["Indexes"]

OTHER_OPTIONS = 85  # an index has the same keys, and another name or other options
SAME_NAME = 86  # an index has the same name, and perhaps the same keys


class Indexes:
    """Creates the indexes; also if the server refuses one for good, the other one is created.

    :param keep: the store's argument.
    """

    def __init__(self, connection: Connection, keep: int, logger: logging.Logger) -> None:
        self._connection, self._keep, self._logger = connection, keep, logger
        self._has_warned = False

    def create(self) -> None:
        """Create missing indexes, and give the present one the store's `keep`; 2 or 3 commands.

        :raises pymongo.errors.PyMongoError: if the server can't be reached, or the user lacks the
            rights.
        """
        level = logging.DEBUG if self._has_warned else logging.WARNING
        for create, effect in (
            (self._create_by_time, "the server keeps old records for ever"),
            (self._create_by_job, "reading the history takes long"),
        ):
            try:
                create()
            except OperationFailure as error:
                if error.code == UNAUTHORIZED or error.code in TRANSIENT:
                    raise
                name, reason = self._connection.runs.full_name, (error.details or {}).get("errmsg")
                self._logger.log(
                    level, "An index of %s is missing, so %s: %s", name, effect, reason
                )
                self._has_warned = True

    def _create_by_time(self) -> None:
        runs = self._connection.runs
        index = {"key": {"time": 1}, "name": "time_1", "expireAfterSeconds": self._keep}
        if not self._create(index, (OTHER_OPTIONS, SAME_NAME)):
            change = {"keyPattern": {"time": 1}, "expireAfterSeconds": self._keep}
            with self._connection.limit():
                runs.database.command({"collMod": runs.name, "index": change})

    def _create_by_job(self) -> None:
        index = {"key": {"job": 1, "time": 1}, "name": "job_1_time_1"}
        self._create(index, (OTHER_OPTIONS,))

    def _create(self, index: Document, codes_of_others: Collection[int]) -> bool:
        """Create an index; return False if another one is in its place."""
        runs = self._connection.runs
        try:
            with self._connection.limit(BUILD_SECONDS):
                runs.database.command({"createIndexes": runs.name, "indexes": [index]})
        except OperationFailure as error:
            if error.code not in codes_of_others:
                raise
            return False
        return True
