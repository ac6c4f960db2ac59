"""Incidents: a store's parts report them here, in any thread, for the history and for listeners."""

import time
from collections import deque
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta, timezone

from pymongo.errors import PyMongoError

from ..documents import DocumentId, Record, UnreadableError, to_datetime
from ..host import Host
from ..restored import Restored
from .announcing import Announcer
from .buffer import Buffer, first
from .record import KINDS, PROBLEMS, HistoryRecord, history_text
from .run_end import RunEnd
from .texts import error_text, short_text

__all__ = ["HandedOut", "Incidents"]

TICK = timedelta(milliseconds=1)  # of a time in the database
MAX_HANDED_OUT = 20_000  # jobs handed out, which wait for the history's thread

HandedOut = tuple[float, list[Restored]]  # when, by the monotonic clock; the jobs of a cycle


class Incidents:
    """Takes reports of incidents; those that nobody wants cost nothing.

    The methods of reporting never wait and never raise, and any thread may call them, also in a
    signal handler.

    :ivar history: the store's argument.
    :ivar is_recording: whether the history is on, and the store is started.
    :ivar kinds: the kinds of records to keep; empty if the history is off.
    :ivar entries: the records and the ends of runs that wait to be written.
    """

    def __init__(self, host: Host, history: str | None) -> None:
        self.history, self.is_recording = history, False
        self.kinds = {None: frozenset[str](), "problems": PROBLEMS, "all": KINDS.keys()}[history]
        self._announcer = Announcer(host)
        self._new_buffers()

    def _new_buffers(self) -> None:
        self.entries: Buffer[HistoryRecord | RunEnd] = Buffer()
        self._handed_out: deque[HandedOut] = deque()
        self._given = self._taken = 0  # jobs of `_handed_out`, since the start
        self._away_since: tuple[datetime, str] | None = None

    @property
    def dropped(self) -> int:
        """The number of records that were dropped, as the buffer was full."""
        return self.entries.dropped

    def add(
        self,
        kind: str,
        job_id: DocumentId | None = None,
        run_time: object = None,
        *,
        runs: int = 1,
        at: datetime | None = None,
        until: datetime | None = None,
        detail: object = "",
        by: str = "",
    ) -> None:
        """Report an incident; never waits, and never raises.

        :param kind: one of `record.KINDS`.
        :param run_time: in seconds since the epoch; any other value is no time.
        :param at: when it happened; None for now.
        :param by: the name of another scheduler's presence, if the incident is that one's.
        """
        if kind == "quarantined":
            self._announcer.announce(job_id, short_text(detail))
        if not self.is_recording or kind not in self.kinds:
            return
        at = at or datetime.now(timezone.utc)
        text = short_text(detail)
        record = HistoryRecord(job_id, kind, at, _time(run_time), None, runs, until, text, by)
        self.entries.add(record)

    def started(self) -> None:
        """Report that the scheduler has started, and which runs it records."""
        self.add("started", detail=history_text(self.history))

    def changed(
        self,
        kind: str,
        records: Mapping[DocumentId, Record | None],
        replaced: Collection[DocumentId] = (),
    ) -> None:
        """Report that a caller added, changed or removed jobs; O(their number), if recording.

        :param kind: ``"added"``, ``"changed"`` or ``"removed"``.
        :param records: the jobs' records after the write, by id.
        :param replaced: the ids of added jobs that have replaced others: those are changes.
        """
        if not self.is_recording:
            return
        for job_id, record in records.items():
            is_change = kind == "changed" or job_id in replaced
            run_time = _time(record.run_time) if record else None
            is_paused = record is not None and run_time is None
            if not (is_change and is_paused):
                detail = run_time.isoformat() if run_time else ""
                self.add("changed" if is_change else kind, job_id, detail=detail)
            if is_paused:  # behind its record "added" in the order of time
                self.add("paused", job_id, at=datetime.now(timezone.utc) + TICK)

    def handed_out(self, jobs: list[Restored]) -> None:
        """Note the jobs of a cycle, if `is_recording`; O(1)."""
        if self._given - self._taken < MAX_HANDED_OUT:
            self._handed_out.append((time.monotonic(), jobs))
            self._given += len(jobs)

    def take_handed_out(self) -> list[HandedOut]:
        """Remove and return what `handed_out` has noted."""
        batches = first(self._handed_out, len(self._handed_out))
        self._taken += sum(len(jobs) for _, jobs in batches)
        return batches

    def unreachable(self, error: Exception) -> None:
        """Report that a cycle failed; errors of the database in a row are one incident."""
        if isinstance(error, PyMongoError) and self.is_recording and self._away_since is None:
            self._away_since = datetime.now(timezone.utc), error_text(error)

    def reachable(self) -> None:
        """Report that the database has answered."""
        away, self._away_since = self._away_since, None  # read once: another thread may report it
        if away is not None:
            since, text = away
            self.add("away", at=since, until=datetime.now(timezone.utc), detail=text)

    def start(self) -> None:
        """Record from now on, unless the history is off."""
        self.is_recording = bool(self.kinds)

    def stop(self) -> int:
        """Record no more; return the number of records that wait, and drop them."""
        self.is_recording = False
        self._handed_out.clear()
        self._given = self._taken = 0
        self._away_since = None
        return self.entries.clear()

    def forked(self) -> None:
        """In a forked process, leave the records to the parent."""
        self.is_recording = False
        self._announcer.forked()
        self._new_buffers()


def _time(run_time: object) -> datetime | None:
    try:
        return to_datetime(run_time)
    except UnreadableError:
        return None
