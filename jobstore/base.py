"""The interface of every store in this package: APScheduler's, plus operations on many jobs."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore as HostBaseJobStore
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError, TransientJobError
from apscheduler.schedulers.base import BaseScheduler

from .about import Tags
from .describe import JobInfo, describe_job
from .forking import renew_locks_after_fork
from .looking import count_jobs, find_by_id, find_by_time, pages_of
from .where import Where

__all__ = [
    "BaseJobStore",
    "ConflictingIdError",
    "ConflictingIdsError",
    "JobLookupError",
    "JobsLookupError",
    "TransientJobsError",
]

EVERY = Where()


class ConflictingIdsError(ConflictingIdError):
    """Raised by `add_jobs` for the refused ids, after it stored all other jobs.

    >>> try:
    ...     store.add_jobs(jobs)
    ... except ConflictingIdsError as error:
    ...     print(error.job_ids)

    :ivar job_ids: the refused ids, in the order given.
    """

    def __init__(self, job_ids: list[str], note: str = "") -> None:
        super().__init__(first_few(job_ids))
        self.job_ids = job_ids
        self._note = note  # more about these ids
        self.args = (f"{self.args[0]}{note}",)

    def __reduce__(self) -> tuple[type[KeyError], tuple[list[str], str]]:
        return type(self), (self.job_ids, self._note)


class JobsLookupError(JobLookupError):
    """Raised by `update_jobs` and `remove_jobs` for unknown ids, after they did all other jobs.

    A subclass of `JobLookupError`, so code for single jobs catches this error, too.

    :ivar job_ids: the ids not found, in the order given.
    """

    def __init__(self, job_ids: list[str]) -> None:
        super().__init__(first_few(job_ids))
        self.job_ids = job_ids

    def __reduce__(self) -> tuple[type[KeyError], tuple[list[str]]]:
        return type(self), (self.job_ids,)


class TransientJobsError(TransientJobError):
    """Raised for jobs whose functions a database can't store; then no job is stored.

    A subclass of `TransientJobError`, so code for single jobs catches this error, too.

    :ivar job_ids: the ids of the jobs whose functions can't be imported by name.
    """

    def __init__(self, job_ids: list[str]) -> None:
        super().__init__(first_few(job_ids))
        self.job_ids = job_ids

    def __reduce__(self) -> tuple[type[ValueError], tuple[list[str]]]:
        return type(self), (self.job_ids,)


class BaseJobStore(HostBaseJobStore):
    """APScheduler's job store interface, plus operations on many jobs and `len()`.

    Here the operations on many jobs are loops, which work with any store. A store overrides them
    if it has a faster way. Derive a store of your own from this class to get them. An empty store
    is true, as `bool()` goes.

    >>> class MyJobStore(BaseJobStore):
    ...     "Implements the abstract methods of APScheduler's BaseJobStore."
    """

    _tags: Tags | None = None  # returns a job's tags

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        """Remember the scheduler that uses the store, and the store's alias there."""
        super().start(scheduler, alias)
        if scheduler is not None:
            renew_locks_after_fork(scheduler)

    def add_jobs(self, jobs: Iterable[Job], replace_existing: bool = False) -> None:
        """Add every job whose id is free, then raise one error for all the others.

        With `replace_existing`, a job replaces the stored job that has the same id. The cost is
        that of a loop over `add_job`. Any other error ends the loop. The jobs before the bad one
        stay stored, and a note on the error gives their number.

        >>> store.add_jobs([first, second])

        :param jobs: the jobs, each with its `next_run_time` set.
        :param replace_existing: replace a stored job that has the same id.
        :raises ConflictingIdsError: names the refused ids, after all other jobs were added.
        """

        def add(job: Job) -> None:
            try:
                self.add_job(job)
            except ConflictingIdError:
                if not replace_existing:
                    raise
                self.update_job(job)

        refused = _each(jobs, add, ConflictingIdError)
        if refused:
            raise ConflictingIdsError([job.id for job in refused])

    def update_jobs(self, jobs: Iterable[Job]) -> None:
        """Replace every job whose id is stored, then raise one error for all the others.

        The cost is that of a loop over `update_job`. Any other error ends the loop. The jobs
        before the bad one stay updated, and a note on the error gives their number.

        >>> store.update_jobs([first, second])

        :param jobs: the newer versions of stored jobs.
        :raises JobsLookupError: names the ids not found, after all other jobs were updated.
        """
        refused = _each(jobs, self.update_job, JobLookupError)
        if refused:
            raise JobsLookupError([job.id for job in refused])

    def remove_jobs(self, job_ids: Iterable[str]) -> None:
        """Remove every job whose id is stored, then raise one error for all the others.

        The cost is that of a loop over `remove_job`. Any other error ends the loop. The jobs
        before it stay removed, and a note on the error gives their number.

        >>> store.remove_jobs(["first", "second"])

        :param job_ids: the ids of the jobs.
        :raises JobsLookupError: names the ids not found, after all other jobs were removed.
        """
        refused = _each(job_ids, self.remove_job, JobLookupError)
        if refused:
            raise JobsLookupError(refused)

    def find(
        self, where: Where = EVERY, after: JobInfo | str | None = None, limit: int = 50
    ) -> list[JobInfo]:
        """Return a page of jobs, in the order that `Where` names; O(n log n) here.

        Here the jobs are those of `get_all_jobs`.

        >>> page = store.find(Where(func="reports:send"))
        >>> next_page = store.find(Where(func="reports:send"), after=page[-1])

        :param where: which jobs; all of them by default.
        :param after: the last job of the page before, or its `key`.
        :param limit: the most jobs to return, 1 or more.
        :raises ValueError: if `limit` is no whole number from 1 on, or `after` neither a job that
            `find` returned nor its key.
        """
        jobs = self.get_all_jobs()
        if where.is_by_time:
            return find_by_time(pages_of(jobs), where, after, limit, self._tags)
        return find_by_id(jobs, where, after, limit, self._tags)

    def count(self, where: Where = EVERY) -> int:
        """Count the jobs that `find` pages over; O(n), or the cost of `len` for all jobs.

        >>> store.count(Where(paused=True))
        12

        :param where: which jobs; all of them by default.
        """
        if where == EVERY:
            return len(self)
        return count_jobs(self.get_all_jobs(), where, self._tags)

    def describe(self, job_id: str) -> JobInfo | None:
        """Describe the job with that id, or return None; the cost of `lookup_job`.

        >>> store.describe("report").func
        'reports:send'
        """
        job = self.lookup_job(job_id)
        return None if job is None else describe_job(job, self._tags)

    def __len__(self) -> int:
        """Count the jobs; O(n) here, O(1) in the memory store."""
        return len(self.get_all_jobs())

    def __bool__(self) -> bool:
        return True  # an empty store is still a store


Item = TypeVar("Item")


def _each(
    items: Iterable[Item], act: Callable[[Item], None], refusal: type[Exception]
) -> list[Item]:
    """Call `act` on every item, and return the items for which it raised `refusal`."""
    done = 0
    refused = []
    try:
        for item in items:
            try:
                act(item)
            except refusal:
                refused.append(item)
            else:
                done += 1
    except Exception as error:
        if sys.version_info >= (3, 11):
            error.add_note(f"{done} items before this one were done, and are not undone")
        raise
    return refused


def first_few(job_ids: Sequence[object]) -> str:
    """Name the first ten ids, and give the number of the rest."""
    shown = ", ".join(map(str, job_ids[:10]))
    return shown if len(job_ids) <= 10 else f"{shown} and {len(job_ids) - 10:,} more"
