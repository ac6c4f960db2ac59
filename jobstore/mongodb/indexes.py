"""The collection's indexes: created at start, and again if the collection was dropped meanwhile.

Without them each cycle would read the whole collection.
"""

import logging
import time

from pymongo.errors import OperationFailure, PyMongoError

from .connection import START_SECONDS, TRANSIENT, UNAUTHORIZED, Connection
from .documents import Document
from .threads import daemon

__all__ = ["INDEXES", "Indexes", "missing_indexes"]

CHECK_SECONDS = 600.0  # between two checks
RECHECK_SECONDS = 5.0  # between two checks while a dropped collection is still empty
BUILD_SECONDS = 600.0  # time limit for the server to build missing indexes
BAD_HINT = 2  # the code of the error, which has other causes where a query is wrong
INDEXES: list[Document] = [
    {"key": {field: 1}, "name": f"{field}_1", "sparse": True}
    for field in ("next_run_time", "quarantine.since")
]


def missing_indexes(connection: Connection) -> list[str]:
    """Return the fields whose indexes are missing; 1 quick command for each index.

    A query that must use an index fails if the index is missing. So the right `find` is enough,
    where listing the indexes needs another one. A collection that is missing lacks no index.

    :raises pymongo.errors.PyMongoError: if the server can't be reached, or refuses.
    """
    missing = []
    with connection.limit():
        for index in INDEXES:
            try:
                connection.jobs.find_one({}, ["_id"], hint=list(index["key"].items()))
            except OperationFailure as error:
                if error.code != BAD_HINT:
                    raise
                missing += index["key"]
    return missing


class Indexes:
    """Creates missing indexes; a check that finds them all is two quick commands.

    A collection may be dropped while a scheduler runs, and then filled again without its indexes.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._next_at = 0.0  # by the monotonic clock
        self._dropped = False
        self.logger = logging.getLogger(__name__)

    def create(self) -> None:
        """Create missing indexes, and the collection if there is none; one command.

        Without the right to create indexes, it logs a warning.

        :raises pymongo.errors.PyMongoError: if the server can't be reached, or refuses them.
        """
        self._dropped = False
        self._next_at = time.monotonic() + CHECK_SECONDS
        try:
            self._create(START_SECONDS)
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            self.logger.warning(
                "No right to create indexes: if those on next_run_time and on quarantine.since "
                "are missing, each cycle reads the whole collection"
            )

    def check_soon(self) -> None:
        """Check at the next opportunity: the collection may have been dropped."""
        self._dropped = True
        self._next_at = 0.0

    def check_if_time(self) -> None:
        """Create missing indexes if a check is due.

        The check runs in a thread of its own, because building an index may take minutes. It
        leaves an empty collection alone: somebody may be about to rename another collection to
        its name.
        """
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + CHECK_SECONDS
        daemon(self._check, "jobstore-indexes").start()

    def _check(self) -> None:
        jobs = self._connection.jobs
        try:
            with self._connection.limit():
                is_empty = jobs.find_one({}, ["_id"]) is None
            if not is_empty:
                if created := self._create(BUILD_SECONDS):
                    self.logger.warning("%d indexes were missing, and were created again", created)
                self._dropped = False
        except OperationFailure as error:
            self._dropped &= error.code in TRANSIENT
            if error.code != UNAUTHORIZED:  # `create` has logged that at start
                self.logger.warning("Unable to create the indexes: %s", error)
        except PyMongoError as error:  # an outage or a shutdown, logged elsewhere
            self.logger.debug("Unable to check the indexes: %s", error)
        if self._dropped:
            self._next_at = time.monotonic() + RECHECK_SECONDS

    def _create(self, seconds: float) -> int:
        """Create missing indexes in one command; returns their number, 0 on a sharded cluster."""
        jobs = self._connection.jobs
        with self._connection.limit(seconds):
            result = jobs.database.command({"createIndexes": jobs.name, "indexes": INDEXES})
        created: int = result.get("numIndexesAfter", 0) - result.get("numIndexesBefore", 0)
        return created  # a router's reply has no such numbers
