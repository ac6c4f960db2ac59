"""Writes the history's records into the collection ``<jobs>_runs``."""

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timezone

from bson import ObjectId
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from ..connection import TRANSIENT, UNAUTHORIZED, Connection
from ..documents import Document
from ..host import Host
from ..presence.presence import Presence
from ..slow_line.paced import in_parts
from ..slow_line.sizes import id_bytes
from .incidents import Incidents
from .indexes import Indexes
from .record import HistoryRecord
from .recording import Runs
from .run_end import RunEnd

__all__ = ["Writer"]

CHECK_SECONDS = 600.0  # between two checks of the indexes
DUPLICATE_KEY = 11000
OVERHEAD = 200  # bytes of a record without its texts and the job's id


class Writer:
    """Makes documents of the records that wait, and writes them; one thread at a time uses it.

    Each record has its `_id` before the first try to write it. So the writer repeats a command
    whose answer was lost: the server refuses the records that it has.

    :param keep: the store's argument.
    :ivar is_failing: whether the last try failed.
    :ivar unwritten: the documents of a failed try.
    :ivar is_over: set to write nothing more.
    """

    def __init__(
        self,
        connection: Connection,
        host: Host,
        incidents: Incidents,
        presence: Presence,
        keep: float,
        logger: logging.Logger,
    ) -> None:
        self._connection, self._host = connection, host
        self._incidents, self._presence = incidents, presence
        self._logger = logger
        self._runs = Runs()
        self._by = ""
        self._check_at = 0.0  # by the monotonic clock
        self._indexes = Indexes(connection, int(keep), logger)
        self.unwritten: list[Document] = []
        self.is_failing = self.is_over = False

    def step(self) -> None:
        """Create missing indexes, and write all records that wait; raises no error.

        Without the rights for that, it logs a warning, and the store records no more.
        """
        if self.is_over:
            return
        try:
            if time.monotonic() >= self._check_at:
                self._indexes.create()
                self._check_at = time.monotonic() + CHECK_SECONDS
            self.write_all()
        except PyMongoError as error:
            if isinstance(error, OperationFailure) and error.code == UNAUTHORIZED:
                self._give_up()
            else:
                level = logging.DEBUG if self.is_failing else logging.WARNING
                self._logger.log(level, "Records of the history wait to be written: %s", error)
                self.is_failing = True
        except Exception as error:  # of a record that can't be encoded, for one
            self._logger.warning(
                "%d records of the history are lost: %s", len(self.unwritten), error
            )
            self.unwritten = []
        else:
            self.is_failing = False

    def _give_up(self) -> None:
        self._logger.warning(
            "No right to write to %s, or to create its indexes: no history is recorded",
            self._connection.runs.full_name,
        )
        self.unwritten = []
        self._incidents.stop()

    def write_all(self) -> None:
        """Write all records that wait, a batch in a command.

        :raises pymongo.errors.PyMongoError: if the server can't be reached, or refuses.
        """
        writing = self._connection.writing
        while not self.is_over and (self.unwritten or self._take()):
            for _ in in_parts(self._connection, writing, self.unwritten, _size, self._insert):
                pass
            self.unwritten = [self._document(record) for record in self._dropped()]

    def _take(self) -> bool:
        """Make documents of the next records; return whether there are some."""
        has_more = True
        while has_more and not self.unwritten:
            entries = self._incidents.entries.take()
            has_more = bool(entries)
            # Taken after the ends, so that the hand-outs of these runs are among them.
            self._runs.note_handed_out(self._incidents.take_handed_out(), self._host.scheduler)
            self._by = self._presence.name or self._by
            kinds = self._incidents.kinds
            self.unwritten = [
                self._document(record)
                for entry in entries
                for record in self._records(entry)
                if record.kind in kinds
            ]
        return bool(self.unwritten)

    def _records(self, entry: HistoryRecord | RunEnd) -> list[HistoryRecord]:
        return self._runs.records(entry) if isinstance(entry, RunEnd) else [entry]

    def _document(self, record: HistoryRecord) -> Document:
        document = record.to_document()
        document["_id"], document["by"] = ObjectId(), record.by or self._by
        return document

    def _insert(self, documents: list[Document], in_doubt: bool) -> None:
        try:
            with self._connection.limit():
                self._connection.runs.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            errors = [
                each for each in error.details["writeErrors"] if each["code"] != DUPLICATE_KEY
            ]
            if any(each["code"] in TRANSIENT for each in errors):
                raise
            if errors:
                reason = errors[0]["errmsg"]
                self._logger.warning("%d records of the history are lost: %s", len(errors), reason)

    def _dropped(self) -> Iterator[HistoryRecord]:
        """Yield a record of the records that were dropped since the last call, if there are any."""
        number, since = self._incidents.entries.take_dropped()
        if number:
            now = datetime.now(timezone.utc)
            first = now if since is None else datetime.fromtimestamp(since, timezone.utc)
            yield HistoryRecord(None, "dropped", first, None, None, number, now)


def _size(document: Document) -> int:
    """Return an upper bound of a record's bytes; to encode it here would double its price."""
    texts = len(document["by"]) + len(document.get("detail", ""))
    return OVERHEAD + 4 * texts + id_bytes(document["job"])
