"""The memory store: a thin front of `JobIndex`."""

from collections.abc import Iterable
from datetime import datetime

from apscheduler.job import Job

from ._index import JobIndex
from .base import BaseJobStore, ConflictingIdsError, JobsLookupError

__all__ = ["MemoryJobStore"]


class MemoryJobStore(BaseJobStore):
    """Keeps jobs in memory, in order of (next run time, id), paused ones last.

    Takes the place of `apscheduler.jobstores.memory.MemoryJobStore`; plugin alias ``fastmemory``.
    Nothing is kept when the process ends.

    >>> from apscheduler.schedulers.background import BackgroundScheduler
    >>> from jobstore import MemoryJobStore
    >>> scheduler = BackgroundScheduler(jobstores={"default": MemoryJobStore()})
    """

    def __init__(self) -> None:
        super().__init__()
        self._index = JobIndex()

    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job of that id, or None; O(1)."""
        return self._index.get(job_id)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return the k jobs whose run time is `now` or earlier, in order; O(log n + k)."""
        return self._index.due(now)

    def get_next_run_time(self) -> datetime | None:
        """Return the earliest run time, or None if no job waits for one; O(1)."""
        return self._index.first_run_time()

    def get_all_jobs(self) -> list[Job]:
        """Return all n jobs in order; O(n)."""
        return self._index.all()

    def add_job(self, job: Job) -> None:
        """Add a job; O(log n).

        :raises ConflictingIdError: if a job of that id is stored.
        """
        self._index.add(job)

    def update_job(self, job: Job) -> None:
        """Replace the job of the same id, and move it to its new run time; O(log n).

        :raises JobLookupError: if no job of that id is stored.
        """
        self._index.replace(job)

    def remove_job(self, job_id: str) -> None:
        """Remove the job of that id; O(log n).

        :raises JobLookupError: if no job of that id is stored.
        """
        self._index.remove(job_id)

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
