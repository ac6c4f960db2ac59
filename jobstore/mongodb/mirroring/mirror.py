"""The mirror: all records of the collection in memory, kept current by a change stream.

A record is in one of two states:

- *Confirmed*: the index has the record as the stream reported it last. The next event about it
  replaces it.
- *Unconfirmed*, or ahead of the stream: we have written it, or are about to. The index has the
  record as we wrote it. Events about it are noted beside it, until the stream has reached the time
  of our write. From then on the record as the stream reported it is right.

So an older change by others never hides our newer write. And if others' change won over a guarded
write of ours, the mirror shows their change. An event equal to our write does not confirm it. For
example, others remove a job, we add it again, and we remove it. Then the first event already equals
our last write. Times are the server's operation times, as numbers.
"""

from collections import deque
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from typing import Any

from apscheduler.jobstores.base import JobLookupError

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
from ..trust.signatures import TRUSTED
from ..writes.guarded import GuardedWrite
from ..writes.write_behind import WriteBehind
from .records import document_of, record_of, with_changes

__all__ = ["Mirror", "NotLiveError"]

MAX_DATETIME = datetime.max.replace(tzinfo=timezone.utc)
MaybeRecord = Record | None


class NotLiveError(Exception):
    """The mirror can't answer now, so ask the server."""


class Unconfirmed:
    """A record that we wrote, and that the stream has not yet confirmed.

    :ivar streamed: the record as the stream reported it last; None if it reported a removal.
    :ivar written_at: the operation time of our write; None until the server has acknowledged it.
    """

    __slots__ = ("streamed", "written_at")

    def __init__(self, streamed: MaybeRecord) -> None:
        self.streamed = streamed
        self.written_at: int | None = None


class Mirror:
    """The records, and those that the stream has not yet confirmed; no database here.

    The mirror is *live* while it may answer. It goes live when it was loaded and has caught up
    with the stream, and is not live any more when the stream is lost.

    :param locks: the store's locks.
    :param write_behind: the deferred writes, which the mirror shows at once.
    :param follows: whether a stream reports changes; if not, nobody else writes.
    :ivar live: whether the mirror may answer now; if not, its queries raise NotLiveError.
    :ivar invalid: documents that can't be jobs anywhere, still to be put into quarantine. They
        would never be due.
    """

    def __init__(self, locks: Locks, write_behind: WriteBehind, follows: bool) -> None:
        self._locks = locks
        self._write_behind = write_behind
        self._follows = follows
        self.invalid: list[Record] = []
        self.reset()

    def reset(self) -> None:
        """Drop all records; the mirror is not live until it is loaded again."""
        with self._locks.memory_lock:
            self._index: JobIndex[Record] = JobIndex()
            self._marks: dict[IdKey, Any] = {}  # of documents in quarantine
            self._unconfirmed: dict[str, Unconfirmed] = {}
            self._acknowledged: deque[tuple[int, list[str]]] = deque()  # time of writes, their ids
            self._time = 0
            self._loaded_at: int | None = None
            self.live = False

    # From not live to live

    @property
    def needs_written_records(self) -> bool:
        """Whether the mirror takes our writes; before it is live, the stream reports them."""
        return self.live or (not self._follows and self._loaded_at is not None)

    def load(self, documents: Collection[Document]) -> None:
        """Add n documents that were read; O(n log n)."""
        records = [record_of(each) for each in documents]
        marks = {
            hashable_id(each["_id"]): each["quarantine"]
            for each in documents
            if "quarantine" in each
        }
        with self._locks.memory_lock:
            try:
                self._index.put_many(records)
            except (TypeError, UnreadableError):  # the index has taken none of them
                validated = (
                    self._validated(record, marks.get(hashable_id(record.id))) for record in records
                )
                self._index.put_many(
                    [record for record in validated if record and type(record.id) is str]
                )
            self._marks |= marks

    def loaded(self, time: int) -> None:
        """Note that all records were read, and at which operation time."""
        with self._locks.memory_lock:
            self._loaded_at = time

    def caught_up(self, time: int) -> bool:
        """Whether the mirror has all changes until the load, and until an operation time."""
        if self._loaded_at is None:
            return False
        return not self._follows or self._time >= max(self._loaded_at, time)

    def go_live(self, time: int) -> bool:
        """Go live, if the mirror has all changes until then and no write is deferred."""
        with self._locks.memory_lock:
            self.live |= self.caught_up(time) and not self._write_behind.has_pending
            return self.live

    def pause(self) -> None:
        """Be not live until `go_live` is called again; the stream is followed meanwhile."""
        with self._locks.memory_lock:
            self.live = False

    # The stream

    def apply(self, event: Mapping[str, Any]) -> MaybeRecord:
        """Apply an event; returns the record, unless it was removed or is unconfirmed."""
        job_id = event["documentKey"]["_id"]
        with self._locks.memory_lock:
            unconfirmed = self._unconfirmed.get(job_id) if type(job_id) is str else None
            before = unconfirmed.streamed if unconfirmed else self._get(job_id)
            record = self._after_event(job_id, before, event)
            if unconfirmed is None:
                self._put(job_id, before, record)
                return record
            unconfirmed.streamed = record
            return None

    def stream_reached(self, time: int) -> list[Record]:
        """Confirm the records that were written until a time, which the stream has reached.

        From now on they are as the stream reported them. Returns them, but for removed ones.
        """
        confirmed = []
        with self._locks.memory_lock:
            self._time = max(time, self._time)
            while self._acknowledged and self._acknowledged[0][0] <= self._time:
                for job_id in self._acknowledged.popleft()[1]:
                    unconfirmed = self._unconfirmed.get(job_id)
                    if unconfirmed is None or unconfirmed.written_at is None:
                        continue
                    if unconfirmed.written_at <= self._time:
                        del self._unconfirmed[job_id]
                        self._put(job_id, self._get(job_id), unconfirmed.streamed)
                        if unconfirmed.streamed:
                            confirmed.append(unconfirmed.streamed)
        return confirmed

    def _after_event(
        self, job_id: DocumentId, before: MaybeRecord, event: Mapping[str, Any]
    ) -> MaybeRecord:
        """Return the record after an event; an update leaves the fields that it doesn't name."""
        document = event.get("fullDocument")
        if event["operationType"] == "update" and before is not None:
            if before.signature is TRUSTED:  # that holds for our own state only
                before = before._replace(signature=None)
            document = with_changes(document_of(before, self._marks), event["updateDescription"])
        mark = document.get("quarantine") if document else None
        record = self._validated(record_of(document), mark) if document else None
        if type(job_id) is not str:
            return None
        if mark is None:
            self._marks.pop(job_id, None)
        else:
            self._marks[job_id] = mark
        return record

    # Our own writes

    def apply_optimistically(self, write: GuardedWrite) -> GuardedWrite | None:
        """Show a write before it is flushed; returns None if a change by others wins over it.

        The caller holds `memory_lock` until the write is deferred, because the mirror may be reset
        at any time.
        """
        if not self.live and not self.needs_written_records:  # most are live, and ask nothing else
            return write
        job_id = write.record.id
        theirs = self._get(job_id)
        if theirs is not write.record:
            remaining = self._write_behind.decide(write, theirs)
            if remaining is None:
                return None
            write = remaining
        self._put_own(job_id, theirs, write.after, None)
        if write.quarantine:
            self._marks[job_id] = write.quarantine
        return write

    def acknowledged(
        self, ids: list[str], changed: Mapping[DocumentId, MaybeRecord], time: int
    ) -> None:
        """Note the ids whose deferred writes are settled, by a command of that operation time.

        :param changed: the current records that others have changed. The mirror shows them at once,
            and doesn't wait for the stream. A job that is due all the time is unconfirmed all the
            time, and would never show them.
        """
        with self._locks.memory_lock:
            written = [job_id for job_id in ids if job_id in self._unconfirmed]
            for job_id in written:
                self._unconfirmed[job_id].written_at = time
            if self._acknowledged and self._acknowledged[-1][0] == time:
                # The time stays the same while the majority has no new write.
                self._acknowledged[-1][1].extend(written)
            elif written:
                self._acknowledged.append((time, written))
            for job_id, record in changed.items():
                if job_id in self._unconfirmed or (
                    self.needs_written_records and not self._follows
                ):
                    record = self._validated(record, self._marks.get(job_id))
                    self._put(job_id, self._get(job_id), record)

    def take_invalid(self) -> list[Record]:
        """Return the documents that can't be jobs anywhere, each once."""
        with self._locks.memory_lock:
            invalid, self.invalid = self.invalid, []
            return invalid

    def cleared(self, time: int) -> None:
        """Note that a command of that operation time removed all documents."""
        with self._locks.memory_lock:
            self.wrote({record.id: None for record in self._index}, time)

    def wrote(self, records: Mapping[DocumentId, MaybeRecord], time: int) -> None:
        """Note records that a command of that operation time wrote; None is a removed document.

        The stream may have shown a record before, and a cycle may have run the job since. Then the
        deferred write of that cycle is newer.
        """
        with self._locks.memory_lock:
            if self.needs_written_records and not (self._follows and self._time >= time):
                deferred = self._write_behind.writes
                for job_id, record in records.items():
                    if job_id in deferred and deferred[job_id].record.equals(record):
                        continue
                    self._put_own(job_id, self._get(job_id), record, time)
                    self._marks.pop(job_id, None)
                self._acknowledged.append((time, list(records)))

    def _put_own(
        self, job_id: str, before: MaybeRecord, record: MaybeRecord, written_at: int | None
    ) -> None:
        self._put(job_id, before, record)
        if self._follows:
            unconfirmed = self._unconfirmed.get(job_id)
            if unconfirmed is None:
                unconfirmed = self._unconfirmed[job_id] = Unconfirmed(before)
            unconfirmed.written_at = written_at

    # Queries

    def due(self, now: float, limit: int, exclude: Mapping[IdKey, HasTime]) -> list[Record]:
        """Return the first k due records, at most `limit`; O(log n + k + excluded jobs).

        :param now: in seconds since the epoch.
        :param exclude: jobs to leave out, as long as they have these run times.
        :raises NotLiveError: if the mirror is not live, as do all queries.
        """
        with self._locks.memory_lock:
            self._must_be_live()
            due = self._index.due(to_datetime(now), limit + len(exclude))
        if not exclude:
            return due
        return [each for each in due if is_included(each.id, each.run_time, exclude)][:limit]

    def next_run_time(self, now: float, exclude: Mapping[IdKey, HasTime]) -> float | None:
        """Return the earliest run time, without k excluded jobs; O(log n + k)."""
        with self._locks.memory_lock:
            self._must_be_live()
            for record in self._index.due(MAX_DATETIME, len(exclude) + 1):
                if is_included(record.id, record.run_time, exclude):
                    earliest: float = record.run_time
                    return earliest
        return None

    def find(self, job_id: str) -> Document | None:
        """Return the document with that id, None if there is none; O(1)."""
        with self._locks.memory_lock:
            self._must_be_live()
            record = self._get(job_id)
            return document_of(record, self._marks) if record else None

    def all(self) -> list[Document]:
        """Return all records as documents; O(n)."""
        with self._locks.memory_lock:
            self._must_be_live()
            records, marks = list(self._index), self._marks.copy()
        return [document_of(record, marks) for record in records]

    def count(self) -> int:
        """Count the records; O(1)."""
        with self._locks.memory_lock:
            self._must_be_live()
            return len(self._index)

    def _must_be_live(self) -> None:
        if not self.live:
            raise NotLiveError

    def _get(self, job_id: DocumentId) -> MaybeRecord:
        return self._index.get(job_id) if type(job_id) is str else None

    def _put(self, job_id: DocumentId, before: MaybeRecord, record: MaybeRecord) -> None:
        """Put a record into the index in place of the one before; None stands for no record."""
        try:
            if record is None:
                if before is not None:
                    self._index.remove(job_id)
            elif before is None:
                self._index.add(record)
            else:
                self._index.replace(record)
        except JobLookupError:
            if self.live:
                raise
            # A signal's handler has shut the store down since the record before was read.

    def _validated(self, record: MaybeRecord, mark: Any) -> MaybeRecord:
        """Return the record; note a document that can't be a job anywhere, for the quarantine.

        Such a document stays in the mirror without its run time, if its id is a string. The next
        event about it may name only changed fields.
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
