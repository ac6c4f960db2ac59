"""The interface of every store here: APScheduler's own, plus the operations on many jobs."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore as HostBaseJobStore
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError, TransientJobError
from apscheduler.schedulers.base import BaseScheduler

from .forking import renew_locks_after_fork

__all__ = [
    "BaseJobStore",
    "ConflictingIdError",
    "ConflictingIdsError",
    "JobLookupError",
    "JobsLookupError",
    "TransientJobsError",
]


class ConflictingIdsError(ConflictingIdError):
    """Raised by `add_jobs` after it stored every job that it could.

    :ivar job_ids: the ids that were refused, in the order given.
    """

    def __init__(self, job_ids: list[str], note: str = "") -> None:
        super().__init__(first_few(job_ids))
        self.job_ids = job_ids
        self._note = note  # what else is known of them
        self.args = (f"{self.args[0]}{note}",)

    def __reduce__(self) -> tuple[type[KeyError], tuple[list[str], str]]:
        return type(self), (self.job_ids, self._note)


class JobsLookupError(JobLookupError):
    """Raised by `update_jobs` and `remove_jobs` after they did every job that they found.

    :ivar job_ids: the ids that were not found, in the order given.
    """

    def __init__(self, job_ids: list[str]) -> None:
        super().__init__(first_few(job_ids))
        self.job_ids = job_ids

    def __reduce__(self) -> tuple[type[KeyError], tuple[list[str]]]:
        return type(self), (self.job_ids,)


class TransientJobsError(TransientJobError):
    """Raised for jobs of which a database can't keep the functions; nothing is stored then.

    :ivar job_ids: the ids of the jobs whose functions can't be imported by name.
    """

    def __init__(self, job_ids: list[str]) -> None:
        super().__init__(first_few(job_ids))
        self.job_ids = job_ids

    def __reduce__(self) -> tuple[type[ValueError], tuple[list[str]]]:
        return type(self), (self.job_ids,)


class BaseJobStore(HostBaseJobStore):
    """APScheduler's job store interface, plus the operations on many jobs and `len()`.

    The operations on many jobs loop here, so that any store has them; a store that can do better
    overrides them.
    """

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        """Take the scheduler that uses the store, and the name that it has there."""
        super().start(scheduler, alias)
        if scheduler is not None:
            renew_locks_after_fork(scheduler)

    def add_jobs(self, jobs: Iterable[Job], replace_existing: bool = False) -> None:
        """Add every job whose id is free, then raise for the others together.

        With `replace_existing` a job whose id is taken replaces the one that is there. Costs as
        much as the loop over `add_job`. If a job is bad in any other way, that error ends the
        loop: the jobs before it are stored, and a note on the error says how many were done.

        >>> store.add_jobs([first, second])

        :param jobs: the jobs, each with its `next_run_time` set.
        :param replace_existing: replace a job that has the same id.
        :raises ConflictingIdsError: naming the ids refused, after all others were added.
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
        """Replace every job whose id is stored, then raise for the others together.

        Costs as much as the loop over `update_job`. If a job is bad in any other way, that error
        ends the loop: the jobs before it are updated, and a note on the error says how many.

        >>> store.update_jobs([first, second])

        :param jobs: the newer versions of stored jobs.
        :raises JobsLookupError: naming the ids not found, after all others were updated.
        """
        refused = _each(jobs, self.update_job, JobLookupError)
        if refused:
            raise JobsLookupError([job.id for job in refused])

    def remove_jobs(self, job_ids: Iterable[str]) -> None:
        """Remove every job whose id is stored, then raise for the others together.

        Costs as much as the loop over `remove_job`. Any other error ends the loop: the jobs
        before it are removed, and a note on the error says how many.

        >>> store.remove_jobs(["first", "second"])

        :param job_ids: ids of jobs.
        :raises JobsLookupError: naming the ids not found, after all others were removed.
        """
        refused = _each(job_ids, self.remove_job, JobLookupError)
        if refused:
            raise JobsLookupError(refused)

    def __len__(self) -> int:
        """Count the jobs; O(n) here, O(1) in the memory store."""
        return len(self.get_all_jobs())

    def __bool__(self) -> bool:
        return True  # an empty store is still a store


Item = TypeVar("Item")


def _each(
    items: Iterable[Item], act: Callable[[Item], None], refusal: type[Exception]
) -> list[Item]:
    """Do `act` to every item, and return those for which it raised `refusal`."""
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
    """Name the first ten ids, and say how many more there are."""
    shown = ", ".join(map(str, job_ids[:10]))
    return shown if len(job_ids) <= 10 else f"{shown} and {len(job_ids) - 10:,} more"
