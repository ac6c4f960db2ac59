"""The memory store: a thin front of `JobIndex`."""

from collections.abc import Iterable
from datetime import datetime
from threading import get_ident

from apscheduler.job import Job

from ._index import JobIndex
from .base import BaseJobStore, ConflictingIdsError, JobLookupError, JobsLookupError
from .caller import is_cycle, is_within_cycle

__all__ = ["MemoryJobStore"]


class MemoryJobStore(BaseJobStore):
    """Keeps jobs in memory, in order of (next run time, id), paused ones last.

    Takes the place of `apscheduler.jobstores.memory.MemoryJobStore`; plugin alias ``fastmemory``.
    Nothing is kept when the process ends.

    A listener or a synchronous job may remove or replace a job that the scheduler has been handed
    in the same cycle. The scheduler's own update or removal of that job then does nothing.

    >>> from apscheduler.schedulers.background import BackgroundScheduler
    >>> from jobstore import MemoryJobStore
    >>> scheduler = BackgroundScheduler(jobstores={"default": MemoryJobStore()})
    """

    def __init__(self) -> None:
        super().__init__()
        self._index: JobIndex[Job] = JobIndex()
        self._handed: int | None = None  # the thread in which a cycle may be under way
        self._before: dict[str, Job | None] = {}  # in a cycle: the job stored before an id was put

    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job of that id, or None; O(1)."""
        return self._index.get(job_id)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return the k jobs whose run time is `now` or earlier, in order; O(log n + k)."""
        jobs = self._index.due(now)
        if jobs and is_cycle():  # not a job or a listener that looks, nor another thread
            self._handed = get_ident()
        return jobs

    def get_next_run_time(self) -> datetime | None:
        """Return the earliest run time, or None if no job waits for one; O(1)."""
        if self._handed is not None and is_cycle():
            self._handed = None
            self._before = {}
        return self._index.first_run_time()

    def get_all_jobs(self) -> list[Job]:
        """Return all n jobs in order; O(n)."""
        return self._index.all()

    def add_job(self, job: Job) -> None:
        """Add a job; O(log n).

        :raises ConflictingIdError: if a job of that id is stored.
        """
        if self._handed is not None and self._is_in_cycle():
            self._note_before([job])
        self._index.add(job)

    def update_job(self, job: Job) -> None:
        """Replace the job of the same id, and move it to its new run time; O(log n).

        :raises JobLookupError: if no job of that id is stored.
        """
        if self._before and self._is_replaced(job.id, job) and is_cycle():
            return
        try:
            self._index.replace(job)
        except JobLookupError:
            if not is_cycle():
                raise

    def remove_job(self, job_id: str) -> None:
        """Remove the job of that id; O(log n).

        :raises JobLookupError: if no job of that id is stored.
        """
        if self._before and self._is_replaced(job_id) and is_cycle():
            return
        try:
            self._index.remove(job_id)
        except JobLookupError:
            if not is_cycle():
                raise

    def remove_all_jobs(self) -> None:
        """Remove every job; O(n)."""
        self._index.clear()

    def shutdown(self) -> None:
        """Remove every job, as the stock memory store does."""
        self.remove_all_jobs()

    def add_jobs(self, jobs: Iterable[Job], replace_existing: bool = False) -> None:
        """Add k jobs at once; O(k log k), several times faster than one by one.

        Whatever else is wrong with a job (no id, a run time that is no datetime), that error is
        raised and nothing is changed.

        >>> store.add_jobs([first, second])

        :param jobs: the jobs, each with its `next_run_time` set.
        :param replace_existing: replace a job that has the same id.
        :raises ConflictingIdsError: naming the ids refused, after all others were added.
        """
        if self._handed is not None and self._is_in_cycle():
            jobs = self._note_before(jobs)
        if replace_existing:
            self._index.put_many(jobs)
        elif refused := self._index.add_many(jobs):
            raise ConflictingIdsError(refused)

    def update_jobs(self, jobs: Iterable[Job]) -> None:
        """Replace k jobs at once; O(k log k + k log n).

        Whatever else is wrong with a job, that error is raised and nothing is changed.

        >>> store.update_jobs([first, second])

        :param jobs: the newer versions of stored jobs.
        :raises JobsLookupError: naming the ids not found, after all others were updated.
        """
        if self._handed is not None and self._is_in_cycle():
            jobs = self._note_before(jobs)
        if refused := self._index.replace_many(jobs):
            raise JobsLookupError(refused)

    def remove_jobs(self, job_ids: Iterable[str]) -> None:
        """Remove k jobs at once; O(k log n).

        >>> store.remove_jobs(["first", "second"])

        :param job_ids: ids of jobs.
        :raises JobsLookupError: naming the ids not found, after all others were removed.
        """
        if refused := self._index.remove_many(job_ids):
            raise JobsLookupError(refused)

    def __len__(self) -> int:
        return len(self._index)

    def _is_in_cycle(self) -> bool:
        """Whether the calling thread is in the cycle that was handed jobs.

        A cycle that an error ended is not told of. Then nothing is to be noted any more.
        """
        if self._handed != get_ident():
            return False
        if not is_within_cycle():
            self._handed = None
            return False
        return True

    def _note_before(self, jobs: Iterable[Job]) -> list[Job]:
        """Note which jobs are stored under the ids of those that are about to be put here."""
        jobs = list(jobs)
        for job in jobs:
            if isinstance(job.id, str):
                self._before.setdefault(str.__str__(job.id), self._index.get(job.id))
        return jobs

    def _is_replaced(self, job_id: str, handed: Job | None = None) -> bool:
        """Whether another job has been put in the place of one that was handed out.

        A removal gives only the id. The job handed out is then the one that was stored first.
        """
        if not isinstance(job_id, str) or str.__str__(job_id) not in self._before:
            return False
        if handed is None:
            handed = self._before[str.__str__(job_id)]
        return self._index.get(job_id) is not handed
