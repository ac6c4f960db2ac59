"""The memory store: a thin layer over `JobIndex`."""

from collections.abc import Iterable
from datetime import datetime
from threading import get_ident

from apscheduler.job import Job

from ._index import JobIndex
from .base import BaseJobStore, ConflictingIdsError, JobLookupError, JobsLookupError
from .caller import is_cycle, is_within_cycle

__all__ = ["MemoryJobStore"]


class MemoryJobStore(BaseJobStore):
    """Keeps jobs in memory, in order of (next run time, id), paused jobs last.

    It replaces `apscheduler.jobstores.memory.MemoryJobStore`; its plugin alias is ``fastmemory``.
    The jobs are lost when the process ends.

    A listener or a synchronous job may remove or replace a job that the scheduler's current cycle
    has already got from the store. Then the scheduler's own update or removal of it does nothing.

    >>> from apscheduler.schedulers.background import BackgroundScheduler
    >>> from jobstore import MemoryJobStore
    >>> scheduler = BackgroundScheduler(jobstores={"default": MemoryJobStore()})
    """

    def __init__(self) -> None:
        super().__init__()
        self._index: JobIndex[Job] = JobIndex()
        # The thread of a cycle that got jobs and, for each id put during it, the job stored before.
        self._cycle_thread: int | None = None
        self._stored_before: dict[str, Job | None] = {}

    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job with that id, or None; O(1)."""
        return self._index.get(job_id)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return the k jobs whose run time is `now` or earlier, in order; O(log n + k)."""
        jobs = self._index.due(now)
        if jobs and is_cycle():  # else a listener, a job or another thread asks
            self._cycle_thread = get_ident()
        return jobs

    def get_next_run_time(self) -> datetime | None:
        """Return the earliest run time, or None if no job has one; O(1)."""
        if self._cycle_thread is not None and is_cycle():
            self._cycle_thread = None
            self._stored_before = {}
        return self._index.first_run_time()

    def get_all_jobs(self) -> list[Job]:
        """Return all n jobs in order; O(n)."""
        return self._index.all()

    def add_job(self, job: Job) -> None:
        """Add a job; O(log n).

        :raises ConflictingIdError: if a stored job has the same id.
        """
        if self._cycle_thread is not None and self._is_in_cycle():
            self._note_before([job])
        self._index.add(job)

    def update_job(self, job: Job) -> None:
        """Replace the job that has the same id, and move it to the new run time; O(log n).

        :raises JobLookupError: if no stored job has that id.
        """
        if self._stored_before and self._is_replaced(job.id, job) and is_cycle():
            return
        try:
            self._index.replace(job)
        except JobLookupError:
            if not is_cycle():
                raise

    def remove_job(self, job_id: str) -> None:
        """Remove the job with that id; O(log n).

        :raises JobLookupError: if no stored job has that id.
        """
        if self._stored_before and self._is_replaced(job_id) and is_cycle():
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

        Any other error about a job (no id, a run time that is no datetime) is raised before
        anything has changed.

        >>> store.add_jobs([first, second])

        :param jobs: the jobs, each with its `next_run_time` set.
        :param replace_existing: replace a stored job that has the same id.
        :raises ConflictingIdsError: names the refused ids, after all other jobs were added.
        """
        if self._cycle_thread is not None and self._is_in_cycle():
            jobs = self._note_before(jobs)
        if replace_existing:
            self._index.put_many(jobs)
        elif refused := self._index.add_many(jobs):
            raise ConflictingIdsError(refused)

    def update_jobs(self, jobs: Iterable[Job]) -> None:
        """Replace k jobs at once; O(k log k + k log n).

        Any other error about a job is raised before anything has changed.

        >>> store.update_jobs([first, second])

        :param jobs: the newer versions of stored jobs.
        :raises JobsLookupError: names the ids not found, after all other jobs were updated.
        """
        if self._cycle_thread is not None and self._is_in_cycle():
            jobs = self._note_before(jobs)
        if refused := self._index.replace_many(jobs):
            raise JobsLookupError(refused)

    def remove_jobs(self, job_ids: Iterable[str]) -> None:
        """Remove k jobs at once; O(k log n).

        >>> store.remove_jobs(["first", "second"])

        :param job_ids: the ids of the jobs.
        :raises JobsLookupError: names the ids not found, after all other jobs were removed.
        """
        if refused := self._index.remove_many(job_ids):
            raise JobsLookupError(refused)

    def __len__(self) -> int:
        return len(self._index)

    def _is_in_cycle(self) -> bool:
        """Whether the calling thread is in the cycle that got jobs from the store.

        If an error ended that cycle, the store was not told. Then this forgets the cycle.
        """
        if self._cycle_thread != get_ident():
            return False
        if not is_within_cycle():
            self._cycle_thread = None
            return False
        return True

    def _note_before(self, jobs: Iterable[Job]) -> list[Job]:
        """Note the stored jobs whose ids are about to get new jobs."""
        jobs = list(jobs)
        for job in jobs:
            if isinstance(job.id, str):
                self._stored_before.setdefault(str.__str__(job.id), self._index.get(job.id))
        return jobs

    def _is_replaced(self, job_id: str, handed: Job | None = None) -> bool:
        """Whether another job has replaced the job that the cycle got from the store.

        A removal names only the id. Then the cycle's job is the one noted for that id.
        """
        if not isinstance(job_id, str) or str.__str__(job_id) not in self._stored_before:
            return False
        if handed is None:
            handed = self._stored_before[str.__str__(job_id)]
        return self._index.get(job_id) is not handed
