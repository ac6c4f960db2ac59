"""The mirror: all records of the collection in memory, kept current by its change stream.

A record is in one of two states:

- *as the stream told it last*: the next event about it replaces it;
- *ahead of the stream*: we have written it, or are about to. The index has it as we wrote it, and
  what the stream tells is noted beside it, until the stream has come to the time of our write:
  from then on it is right, whatever it told. (That it tells what we wrote is no sign: a record
  may have been removed by others, written by us, and removed by us.)

So an older change by others never hides our newer one, and where a guarded write has lost to
theirs, the mirror follows. Times are the server's operation times, as numbers.
"""

from collections import deque
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from typing import Any

from ..._index import JobIndex
from ..documents import (
    Document,
    DocumentId,
    HasTime,
    IdKey,
    Record,
    UnreadableError,
    hashable_id,
    is_included,
    to_datetime,
)
from ..locks import Locks
from ..writes.conflicts import decide
from ..writes.guarded import GuardedWrite
from ..writes.write_behind import WriteBehind

__all__ = ["Mirror", "NotLiveError"]

LAST = datetime.max.replace(tzinfo=timezone.utc)
Found = Record | None


class NotLiveError(Exception):
    """The mirror is not to be asked now; the server is."""


class Ahead:
    """What the stream has told of a record that is ahead of it, and when it will be right."""

    __slots__ = ("told", "until")

    def __init__(self, told: Found) -> None:
        self.told = told
        self.until: int | None = None  # not yet known: our write is not through


class Mirror:
    """The records, and what of them is ahead of the stream; no database here.

    It is not *live*, and is not to be asked, before it was loaded and has caught up, and after
    its stream was lost.

    :param locks: the store's.
    :param write_behind: whose writes it foresees.
    :param follows: whether there is a stream; if not, nobody else writes.
    :ivar live: whether it may be asked now; if it is so no more, it says NotLiveError.
    :ivar invalid: records that can't be jobs anywhere; quarantined, as they would never be due.
    """

    def __init__(self, locks: Locks, write_behind: WriteBehind, follows: bool) -> None:
        self._locks = locks
        self._write_behind = write_behind
        self._follows = follows
        self.invalid: list[Record] = []
        self.reset()

    def reset(self) -> None:
        """Forget all; it is to be loaded."""
        with self._locks.memory_lock:
            self._index: JobIndex[Record] = JobIndex()
            self._marks: dict[IdKey, Any] = {}  # of documents in quarantine
            self._ahead: dict[str, Ahead] = {}
            self._settled: deque[tuple[int, list[str]]] = deque()
            self._time = 0
            self._loaded_at: int | None = None
            self.live = False

    # From not live to live

    @property
    def needs_written_records(self) -> bool:
        """Whether it is to know what we write; before it is live the stream will tell it."""
        return self.live or (not self._follows and self._loaded_at is not None)

    def load(self, documents: Collection[Document]) -> None:
        """Take n records that were read; O(n log n)."""
        records = [Record.of(each) for each in documents]
        marks = {
            hashable_id(each["_id"]): each["quarantine"]
            for each in documents
            if "quarantine" in each
        }
        try:
            self._index.put_many(records)
        except (TypeError, UnreadableError):  # it has taken none of them
            validated = (
                self._validated(record, marks.get(hashable_id(record.id))) for record in records
            )
            self._index.put_many(
                [record for record in validated if record and type(record.id) is str]
            )
        self._marks |= marks

    def loaded(self, time: int) -> None:
        """Note that all records were read, and when."""
        with self._locks.memory_lock:
            self._loaded_at = time

    def caught_up(self, time: int) -> bool:
        """Whether all is here that happened until then, or until it was loaded."""
        if self._loaded_at is None:
            return False
        return not self._follows or self._time >= max(self._loaded_at, time)

    def go_live(self, time: int) -> bool:
        """Go live, if all is here that happened until then; nothing may be deferred."""
        with self._locks.memory_lock:
            self.live |= self.caught_up(time) and not self._write_behind.has_pending
            return self.live

    # The stream

    def apply(self, event: Mapping[str, Any]) -> Found:
        """Take a change; returns the record, if it now is in the index as the stream told it."""
        job_id = event["documentKey"]["_id"]
        with self._locks.memory_lock:
            ahead = self._ahead.get(job_id) if type(job_id) is str else None
            told = self._changed(job_id, ahead.told if ahead else self._get(job_id), event)
            if ahead is None:
                self._put(job_id, told)
                return told
            ahead.told = told
            return None

    def passed(self, time: int) -> list[Record]:
        """Note how far the stream is; returns the records that are as it told only from now on."""
        corrected = []
        with self._locks.memory_lock:
            self._time = max(time, self._time)
            while self._settled and self._settled[0][0] <= self._time:
                for job_id in self._settled.popleft()[1]:
                    ahead = self._ahead.get(job_id)
                    if ahead and ahead.until is not None and ahead.until <= self._time:
                        del self._ahead[job_id]
                        self._put(job_id, ahead.told)
                        if ahead.told:
                            corrected.append(ahead.told)
        return corrected

    def _changed(self, job_id: DocumentId, before: Found, event: Mapping[str, Any]) -> Found:
        """Apply a change to a record; a field that it doesn't name is as before."""
        document = event.get("fullDocument")
        if event["operationType"] == "update" and before is not None:
            changes = event["updateDescription"]
            document = _document(before, self._marks) | changes["updatedFields"]
            for name in changes["removedFields"]:
                document.pop(name, None)
        mark = document.get("quarantine") if document else None
        record = self._validated(Record.of(document), mark) if document else None
        if type(job_id) is not str:
            return None
        if mark is None:
            self._marks.pop(job_id, None)
        else:
            self._marks[job_id] = mark
        return record

    # Our own writes

    def apply_optimistically(self, write: GuardedWrite) -> GuardedWrite | None:
        """Take what will be written as written; None if it would lose to a change by others.

        The lock is held until the write is deferred, as the mirror may be reset at any time.
        """
        if not self.needs_written_records:
            return write
        theirs = self._get(write.record.id)
        if theirs is not write.record:
            left = decide(write, theirs, self._write_behind.lines)
            if left is None:
                return None
            write = left
        self._write(write.record.id, write.after, None)
        if write.quarantine:
            self._marks[write.record.id] = write.quarantine
        return write

    def acknowledged(self, ids: list[str], found: Mapping[DocumentId, Found], time: int) -> None:
        """Note that the foreseen writes of some records are through, by a command of that time.

        :param found: what records are that others have changed meanwhile. It is not left to the
            stream to tell: a job that is due all the time would be ahead of it all the time.
        """
        with self._locks.memory_lock:
            ahead = [job_id for job_id in ids if job_id in self._ahead]
            for job_id in ahead:
                self._ahead[job_id].until = time
            if self._settled and self._settled[-1][0] == time:
                self._settled[-1][1].extend(ahead)  # while the majority has nothing new
            elif ahead:
                self._settled.append((time, ahead))
            for job_id, record in found.items():
                if job_id in self._ahead or (self.needs_written_records and not self._follows):
                    self._put(job_id, self._validated(record, self._marks.get(job_id)))

    def take_invalid(self) -> list[Record]:
        """Return the documents that can't be jobs anywhere, and were not yet returned."""
        with self._locks.memory_lock:
            invalid, self.invalid = self.invalid, []
            return invalid

    def cleared(self, time: int) -> None:
        """Take that all was removed by a command of that time."""
        with self._locks.memory_lock:
            self.wrote({record.id: None for record in self._index}, time)

    def wrote(self, records: Mapping[DocumentId, Found], time: int) -> None:
        """Take what was written by a command of that time; None is a document removed."""
        with self._locks.memory_lock:
            if self.needs_written_records and not (self._follows and self._time >= time):
                for job_id, record in records.items():
                    self._write(job_id, record, time)
                    self._marks.pop(job_id, None)
                self._settled.append((time, list(records)))

    def _write(self, job_id: str, record: Found, until: int | None) -> None:
        before = self._get(job_id)
        self._put(job_id, record)
        if self._follows:
            self._ahead.setdefault(job_id, Ahead(before)).until = until

    # What the store asks

    def due(self, now: float, limit: int) -> list[Record]:
        """Return the first records that are due; O(log n + k).

        :raises NotLiveError: as all that is asked here, if it is not live (any more).
        """
        with self._locks.memory_lock:
            self._must_be_live()
            return self._index.due(to_datetime(now), limit)

    def next_run_time(self, now: float, exclude: Mapping[IdKey, HasTime]) -> float | None:
        """Return the earliest run time of a job that `is_included`."""
        with self._locks.memory_lock:
            self._must_be_live()
            for record in self._index.due(LAST, len(exclude) + 1):
                if is_included(record.id, record.run_time, exclude):
                    earliest: float = record.run_time
                    return earliest
        return None

    def find(self, job_id: str) -> Document | None:
        """Return a record as a document; O(1)."""
        with self._locks.memory_lock:
            self._must_be_live()
            record = self._get(job_id)
            return _document(record, self._marks) if record else None

    def all(self) -> list[Document]:
        """Return all records as documents; O(n)."""
        with self._locks.memory_lock:
            self._must_be_live()
            records, marks = list(self._index), self._marks.copy()
        return [_document(record, marks) for record in records]

    def count(self) -> int:
        """Count the records; O(1)."""
        with self._locks.memory_lock:
            self._must_be_live()
            return len(self._index)

    def _must_be_live(self) -> None:
        if not self.live:
            raise NotLiveError

    def _get(self, job_id: DocumentId) -> Found:
        return self._index.get(job_id) if type(job_id) is str else None

    def _put(self, job_id: DocumentId, record: Found) -> None:
        there = self._get(job_id) is not None
        if record is not None:
            (self._index.replace if there else self._index.add)(record)
        elif there:
            self._index.remove(job_id)

    def _validated(self, record: Found, mark: Any) -> Found:
        """Note a document that can't be a job anywhere, to be put into quarantine.

        Until then it is here without its run time, if its id may be a job's: what the stream tells
        next of it may be only what has changed.
        """
        if record is None:
            return None
        try:
            to_datetime(record.run_time)
            invalid = type(record.id) is not str and mark is None
        except UnreadableError:
            invalid = True
        if not invalid:
            return record
        self.invalid.append(record)
        return record._replace(run_time=None) if type(record.id) is str else None


def _document(record: Record, marks: Mapping[IdKey, Any]) -> Document:
    document = {"_id": record.id, "next_run_time": record.run_time, "job_state": record.state}
    if record.claim is not None:  # left by schedulers that shared the collection
        document["acquired_by"] = record.claim
    if record.id in marks:
        document["quarantine"] = marks[record.id]
    return document
