"""The collection's indexes: made at start, and again where the collection was made anew."""

import logging
import time

from pymongo.errors import OperationFailure, PyMongoError

from .connection import START_SECONDS, TRANSIENT, UNAUTHORIZED, Connection
from .documents import Document
from .threads import daemon

__all__ = ["Indexes"]

LOOK_SECONDS = 600.0  # between two looks
SOON_SECONDS = 5.0  # before another one, where the collection was dropped and is empty
BUILD_SECONDS = 600.0  # the longest that the server may build them
INDEXES: list[Document] = [
    {"key": {field: 1}, "name": f"{field}_1", "sparse": True}
    for field in ("next_run_time", "quarantine.since")
]


class Indexes:
    """Makes indexes that are missing; a look that finds them all is two quick commands.

    A collection may be dropped, and filled again by `mongorestore`, say, while a scheduler runs.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._next_at = 0.0  # by the monotonic clock
        self._dropped = False
        self.logger = logging.getLogger(__name__)

    def create(self) -> None:
        """Create them, if that is allowed; with the collection, if there is none.

        :raises pymongo.errors.PyMongoError: if the server can't be reached, or refuses them.
        """
        self._dropped = False
        self._next_at = time.monotonic() + LOOK_SECONDS
        try:
            self._create(START_SECONDS)
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            self.logger.warning(
                "No right to create indexes: if those on next_run_time and on quarantine.since "
                "are missing, each cycle reads the whole collection"
            )

    def look_soon(self) -> None:
        """Note that the collection may have been dropped."""
        self._dropped = True
        self._next_at = 0.0

    def look(self) -> None:
        """Create missing indexes if it is time to look, in a thread: to build them may take long.

        Not in an empty collection: whoever has dropped it may be about to rename another one to
        its name.
        """
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + LOOK_SECONDS
        daemon(self._look, "jobstore-indexes").start()

    def _look(self) -> None:
        jobs = self._connection.jobs
        try:
            with self._connection.limit():
                is_empty = jobs.find_one({}, ["_id"]) is None
            if not is_empty:
                if made := self._create(BUILD_SECONDS):
                    self.logger.warning("%d indexes were missing, and are there again", made)
                self._dropped = False
        except OperationFailure as error:
            self._dropped &= error.code in TRANSIENT
            if error.code != UNAUTHORIZED:  # of that the start has told
                self.logger.warning("Unable to create the indexes: %s", error)
        except PyMongoError as error:  # an outage, or a shutdown; others tell of that
            self.logger.debug("Unable to look for the indexes: %s", error)
        if self._dropped:
            self._next_at = time.monotonic() + SOON_SECONDS

    def _create(self, seconds: float) -> int:
        """Create them in one command; returns how many were missing."""
        jobs = self._connection.jobs
        with self._connection.limit(seconds):
            result = jobs.database.command({"createIndexes": jobs.name, "indexes": INDEXES})
        made: int = result.get("numIndexesAfter", 0) - result.get("numIndexesBefore", 0)
        return made  # a router, on a sharded cluster, doesn't tell
