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

import logging
import os
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from .._index import JobIndex
from .connection import Document
from .deferred import Deferred
from .documents import Seen, UnreadableError, to_datetime
from .flush import decide
from .sources import key
from .statements import Write

__all__ = ["Mirror"]

LAST = datetime.max.replace(tzinfo=timezone.utc)
Found = Seen | None


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

    :param deferred: whose writes it foresees; its lock `short` is the mirror's as well.
    :param follows: whether there is a stream; if not, nobody else writes.
    :ivar odd: documents that can't be jobs anywhere, to be quarantined: they would never be due.
    """

    def __init__(self, deferred: Deferred, follows: bool) -> None:
        self._deferred = deferred
        self._follows = follows
        self.odd: list[Seen] = []
        self.logger = logging.getLogger(__name__)
        self.reset()

    def reset(self) -> None:
        """Forget all; it is to be loaded."""
        with self._deferred.short:
            self._index: Any = JobIndex()  # of `Seen`s, which are jobs enough for it
            self._marks: dict[str, Any] = {}  # of documents in quarantine
            self._ahead: dict[str, Ahead] = {}
            self._settled: deque[tuple[int, list[str]]] = deque()
            self._time = 0
            self._loaded_at: int | None = None
            self._live_in: int | None = None  # which process: a forked one has no stream

    # From not live to live

    @property
    def live(self) -> bool:
        """Whether it may be asked."""
        return self._live_in is not None and self._live_in == os.getpid()

    @property
    def notes_writes(self) -> bool:
        """Whether it is to know what we write; before it is live the stream will tell it."""
        return self.live or (not self._follows and self._loaded_at is not None)

    def load(self, documents: Iterable[Document]) -> None:
        """Take n records that were read; O(n log n)."""
        records, marks = [], {}
        for document in documents:
            records.append(Seen.of(document))
            if "quarantine" in document:
                marks[key(document["_id"])] = document["quarantine"]
        try:
            self._index.put_many(records)
        except (TypeError, UnreadableError):  # it has taken none of them
            good = []
            for seen in records:
                if self._is_odd(seen, marks.get(key(seen.id))):
                    self.odd.append(seen)
                elif type(seen.id) is str:
                    good.append(seen)
            self._index.put_many(good)
        self._marks |= marks

    def loaded(self, time: int) -> None:
        """Note that all records were read, and when."""
        with self._deferred.short:
            self._loaded_at = time

    def caught_up(self, time: int) -> bool:
        """Whether all is here that happened until then, or until it was loaded."""
        if self._loaded_at is None:
            return False
        return not self._follows or self._time >= max(self._loaded_at, time)

    def go_live(self, time: int) -> bool:
        """Go live, if all is here that happened until then; nothing may be deferred."""
        with self._deferred.short:
            if self.caught_up(time):
                self._live_in = os.getpid()
            return self.live

    # The stream

    def apply(self, event: Mapping[str, Any]) -> Found:
        """Take a change; returns the record, if it now is in the index as the stream told it."""
        job_id = event["documentKey"]["_id"]
        with self._deferred.short:
            ahead = self._ahead.get(job_id) if type(job_id) is str else None
            told = self._changed(job_id, ahead.told if ahead else self._get(job_id), event)
            if ahead is None:
                self._put(job_id, told)
                return told
            ahead.told = told
            return None

    def passed(self, time: int) -> list[Seen]:
        """Note how far the stream is; returns the records that are as it told only from now on."""
        corrected = []
        with self._deferred.short:
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

    def _changed(self, job_id: Any, before: Found, event: Mapping[str, Any]) -> Found:
        """Apply a change to a record; a field that it doesn't name is as before."""
        document = event.get("fullDocument")
        if event["operationType"] == "update" and before is not None:
            changes = event["updateDescription"]
            document = self._document(before) | changes["updatedFields"]
            for name in changes["removedFields"]:
                document.pop(name, None)
        seen = Seen.of(document) if document else None
        mark = document.get("quarantine") if document else None
        if seen and self._is_odd(seen, mark):
            self.odd.append(seen)
            return None
        if type(job_id) is not str:
            return None
        if mark is None:
            self._marks.pop(job_id, None)
        else:
            self._marks[job_id] = mark
        return seen

    # Our own writes

    def foresee(self, write: Write) -> Write | None:
        """Take what will be written as written; None if it would lose to a change by others.

        The lock is held until the write is deferred, as the mirror may be reset at any time.
        """
        if not self.notes_writes:
            return write
        theirs = self._get(write.seen.id)
        if theirs is not write.seen:
            left = decide(write, theirs, self.logger)
            if left is None:
                return None
            write = left
        self._write(write.seen.id, write.after, None)
        if write.quarantine:
            self._marks[write.seen.id] = write.quarantine
        return write

    def settled(self, ids: list[str], theirs: Mapping[Any, Found], time: int) -> None:
        """Note that the foreseen writes of some records are through, by a command of that time.

        :param theirs: what was found stored where they were not written. It is not left to the
            stream to tell: a job that is due all the time would be ahead of it all the time.
        """
        with self._deferred.short:
            for job_id in ids:
                ahead = self._ahead.get(job_id)
                if ahead:
                    ahead.until = time
                if job_id in theirs and (ahead or (self.notes_writes and not self._follows)):
                    self._put(job_id, theirs[job_id])
            if self._ahead:
                self._settled.append((time, ids))

    def wrote(self, records: Mapping[Any, Found], time: int) -> None:
        """Take what was written by a command of that time; None is a document removed."""
        with self._deferred.short:
            if self.notes_writes and not (self._follows and self._time >= time):
                for job_id, seen in records.items():
                    self._write(job_id, seen, time)
                    self._marks.pop(job_id, None)
                self._settled.append((time, list(records)))

    def _write(self, job_id: str, seen: Found, until: int | None) -> None:
        if self._follows:
            ahead = self._ahead.get(job_id)
            if ahead is None:
                ahead = self._ahead[job_id] = Ahead(self._get(job_id))
            ahead.until = until
        self._put(job_id, seen)

    # What the store asks

    def due(self, now: float, limit: int) -> list[Seen]:
        """Return the first records that are due; O(log n + k)."""
        with self._deferred.short:
            due: list[Seen] = self._index.due(to_datetime(now), limit)
            return due

    def next_run_time(self, but: Mapping[Any, Any]) -> float | None:
        """Return the earliest run time, but for the jobs in `but` at the run times given there."""
        with self._deferred.short:
            for seen in self._index.due(LAST, len(but) + 1):
                if not but or but.get(key(seen.id)) != seen.run_time:
                    earliest: float = seen.run_time
                    return earliest
        return None

    def find(self, job_id: str) -> Document | None:
        """Return a record as a document; O(1)."""
        with self._deferred.short:
            seen = self._get(job_id)
            return self._document(seen) if seen else None

    def all(self) -> list[Document]:
        """Return all records as documents; O(n)."""
        with self._deferred.short:
            return [self._document(seen) for seen in self._index]

    def __len__(self) -> int:
        return len(self._index)

    def _document(self, seen: Seen) -> Document:
        document = {"_id": seen.id, "next_run_time": seen.run_time, "job_state": seen.state}
        if seen.claim is not None:  # left by schedulers that shared the collection
            document["acquired_by"] = seen.claim
        if seen.id in self._marks:
            document["quarantine"] = self._marks[seen.id]
        return document

    def _get(self, job_id: Any) -> Found:
        found: Found = self._index.get(job_id) if type(job_id) is str else None
        return found

    def _put(self, job_id: Any, seen: Found) -> None:
        there = self._get(job_id) is not None
        if seen is not None:
            (self._index.replace if there else self._index.add)(seen)
        elif there:
            self._index.remove(job_id)

    @staticmethod
    def _is_odd(seen: Seen, mark: Any) -> bool:
        """Whether a document can't be a job anywhere, and is not in quarantine."""
        try:
            to_datetime(seen.run_time)
        except UnreadableError:
            return True
        return type(seen.id) is not str and mark is None
