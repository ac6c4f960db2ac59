"""Jobs made from records; a recurring job that comes back is the object that it was.

Only the run time of most recurring jobs changes from one run to the next (see `recurring`). The
store keeps such a job after its write. When its document comes back with the bytes that the store
wrote, the job needs no unpickling. The memory store hands out the same object each time, too.
"""

import pickle
from collections.abc import Container, Iterable
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from apscheduler.job import Job

from .._states import advance, is_unchanged
from ..triggers import use_fast_cron
from .documents import STANDARD_ZONES, DocumentId, Record, UnreadableError
from .host import Host
from .recurring import Parts, parts_of
from .trust.signatures import TRUSTED

__all__ = ["Restored", "RestoredJobs"]

MAX_KEPT = 10_000  # jobs, which take 2 kB each, or 6 kB with a cron trigger
MAX_STATE = 4096  # bytes: larger jobs are not kept, so that all together take a bounded memory
PROTOCOLS = {None: pickle.DEFAULT_PROTOCOL, -1: pickle.HIGHEST_PROTOCOL}  # as `pickle.dumps` reads


class Restored(NamedTuple):
    """A job with its record.

    :ivar run_time: the job's run time in the record's state; None if that is not certain.
    :ivar parts: all else of the job; None if more than the run time can change.
    """

    job: Job
    record: Record
    run_time: datetime | None
    parts: Parts | None

    def is_unchanged(self) -> bool:
        """Whether only the run time of the job can have changed since it was restored."""
        return self.parts is not None and is_unchanged(self.job, self.parts)

    def advanced_state(self, protocol: int) -> bytes | None:
        """Return the record's state with the job's run time; None if the job has to be pickled.

        :param protocol: the protocol of the pickle; a state of another protocol is pickled anew.
        """
        job, record, run_time, _ = self
        if run_time is None or job.next_run_time is None:
            return None
        if record.state[1] != PROTOCOLS.get(protocol, protocol):
            return None
        return advance(record.state, run_time, job.next_run_time)

    def after_write(self, written: Record) -> "Restored":
        """Return an unchanged job with its new record."""
        job, _, _, parts = self
        return tuple.__new__(Restored, (job, written, job.next_run_time, parts))  # see `Record.of`


class RestoredJobs:
    """Makes jobs of records, and keeps those in which only the run time changes.

    :param fast_cron: whether jobs with exactly APScheduler's `CronTrigger` get the fast one.
    """

    def __init__(self, host: Host, fast_cron: bool) -> None:
        self._host = host
        self._fast_cron = fast_cron
        # By id; the least recently written comes first.
        self._kept: dict[str, Restored] = {}
        self._trusted: dict[str, bytes] = {}  # states that were written, of jobs that aren't kept

    def restore_all(
        self, records: Iterable[Record]
    ) -> tuple[list[Restored], list[tuple[Record, UnreadableError]]]:
        """Make the jobs that can run here; return them, and the other records with the reasons."""
        scheduler = self._host.scheduler
        executors = None if scheduler is None else scheduler._executors
        runnable, unrunnable = [], []
        for record in records:
            try:
                runnable.append(self._take_kept(record, executors) or self._restore(record))
            except UnreadableError as reason:
                unrunnable.append((record, reason))
        return runnable, unrunnable

    def _take_kept(self, record: Record, executors: Container[str] | None) -> Restored | None:
        """Return the job that was kept, if its record is as the store wrote it.

        The job is not kept any more until its next write, so no other cycle gets the same object.

        :param executors: the aliases of the scheduler's executors; None without a scheduler.
        """
        kept = self._kept.pop(record.id, None) if type(record.id) is str else None
        if kept is None:
            return None
        job, written, run_time, parts = kept
        if record.state != written.state or record.run_time != written.run_time:
            return None
        if job.next_run_time is not run_time or parts is None or not is_unchanged(job, parts):
            return None
        if executors is not None and job.executor not in executors:
            return None
        return tuple.__new__(Restored, (job, record, run_time, parts))

    def _restore(self, record: Record) -> Restored:
        read = record
        if self._has_written(record):
            # Saves the check of the signature; `_replace` would take 0.8 µs.
            read = tuple.__new__(Record, (*record[:4], TRUSTED))
        job = self._host.restore_runnable(read)
        if self._fast_cron:
            use_fast_cron(job)
        run_time = job.next_run_time
        if type(getattr(run_time, "tzinfo", None)) not in STANDARD_ZONES:
            # Pytz has an object for each offset. So a run time that the document has corrected may
            # have the wall time of the state, but be another time.
            run_time = None
        return Restored(job, record, run_time, parts_of(job))

    def _has_written(self, record: Record) -> bool:
        """Whether a state is the one that this process has written last."""
        if not self._trusted or type(record.id) is not str:
            return False
        return bool(self._trusted.pop(record.id, None) == record.state)

    def keep(self, restored: Restored) -> None:
        """Keep a job with its new record until its next hand-out."""
        _put(self._kept, restored.record, restored)

    def trust(self, written: Record) -> None:
        """Remember until the next hand-out that this process has made a job's new state."""
        _put(self._trusted, written, written.state)

    def forget(self, job_id: DocumentId) -> None:
        """Drop a job that is kept, as its document is about to be written or removed."""
        if type(job_id) is str:
            self._kept.pop(job_id, None)
            self._trusted.pop(job_id, None)

    def forget_all(self) -> None:
        """Drop the jobs that are kept."""
        self._kept.clear()
        self._trusted.clear()


def _put(kept: dict[str, Any], record: Record, value: Any) -> None:
    """Keep a value for a record that was written, if its state is not too large."""
    kept.pop(record.id, None)
    if len(record.state) > MAX_STATE:
        return
    kept[record.id] = value
    if len(kept) > MAX_KEPT:
        # A tenth at once: to get to its first key, a dict passes the places of removed ones.
        with suppress(RuntimeError):  # another thread has just changed it; the next write drops
            for oldest in list(islice(kept, MAX_KEPT // 10 + 1)):
                kept.pop(oldest, None)
