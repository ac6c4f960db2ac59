"""Jobs made from records; a recurring job that comes back is the object that it was.

Only the run time of most recurring jobs changes from one run to the next (see `recurring`). The
store keeps such a job after its write. When its document comes back with the bytes that the store
wrote, the job needs no unpickling. The memory store hands out the same object each time, too.
"""

import pickle
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from apscheduler.job import Job

from .._states import advance, is_unchanged
from ..triggers import use_fast_cron
from .documents import Record, UnreadableError, check_executor
from .host import Host
from .recurring import Parts, parts_of

__all__ = ["Restored", "RestoredJobs"]

MAX_KEPT = 10_000  # jobs, which take 1 to 7 kB each


class Restored(NamedTuple):
    """A job with its record.

    :ivar run_time: the job's run time as the record has it.
    :ivar parts: all else of the job; None if more than the run time can change.
    """

    job: Job
    record: Record
    run_time: datetime | None
    parts: Parts | None


class RestoredJobs:
    """Makes jobs of records, and keeps those in which only the run time changes.

    :param fast_cron: whether jobs with exactly APScheduler's `CronTrigger` get the fast one.
    """

    def __init__(self, host: Host, fast_cron: bool) -> None:
        self._host = host
        self._fast_cron = fast_cron
        self._kept: dict[str, Restored] = {}  # by id; the least recently written comes first

    def restore_all(
        self, records: Iterable[Record]
    ) -> tuple[list[Restored], list[tuple[Record, UnreadableError]]]:
        """Make the jobs that can run here; return them, and the other records with the reasons."""
        runnable, unrunnable = [], []
        for record in records:
            try:
                runnable.append(self._take_kept(record) or self._restore(record))
            except UnreadableError as reason:
                unrunnable.append((record, reason))
        return runnable, unrunnable

    def _take_kept(self, record: Record) -> Restored | None:
        """Return the job that was kept, if its record is as the store wrote it.

        The job is not kept any more until its next write, so no other cycle gets the same object.
        """
        kept = self._kept.pop(record.id, None) if type(record.id) is str else None
        if kept is None:
            return None
        job, written, run_time, parts = kept
        if record.state != written.state or record.run_time != written.run_time:
            return None
        if job.next_run_time is not run_time or parts is None or not is_unchanged(job, parts):
            return None
        check_executor(job, self._host.scheduler)
        return Restored(job, record, run_time, parts)

    def _restore(self, record: Record) -> Restored:
        job = self._host.restore_runnable(record)
        if self._fast_cron:
            use_fast_cron(job)
        return Restored(job, record, job.next_run_time, parts_of(job))

    def advanced(self, restored: Restored, protocol: int) -> bytes | None:
        """Return a job's state with its new run time; None if the job has to be pickled.

        :param protocol: the protocol of the pickle; a state of another protocol is pickled anew.
        """
        job, record, run_time, parts = restored
        if parts is None or run_time is None or job.next_run_time is None:
            return None
        if protocol < 0:
            protocol = pickle.HIGHEST_PROTOCOL
        if record.state[1] != protocol or not is_unchanged(job, parts):
            return None
        return advance(record.state, run_time, job.next_run_time)

    def keep(self, restored: Restored, written: Record) -> Restored:
        """Keep a job until its next hand-out, and return it with its new record.

        :param written: the record after the job's write.
        """
        job, _, _, parts = restored
        updated = Restored(job, written, job.next_run_time, parts)
        if parts is not None:
            kept = self._kept
            kept.pop(written.id, None)
            kept[written.id] = updated
            if len(kept) > MAX_KEPT:
                kept.pop(next(iter(kept)), None)
        return updated

    def forget_all(self) -> None:
        """Drop the jobs that are kept."""
        self._kept.clear()
