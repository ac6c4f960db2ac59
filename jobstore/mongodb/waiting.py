"""Due jobs that were read, and stay in the database because their executors are full.

A document doesn't name the executor: only the pickled state does. So a search has to read such a
job once. It leaves the job out from then on, until the executor has room for it again.
"""

import time
from typing import Any, NamedTuple

from ..in_flight import Rooms
from .documents import DocumentId, Record

__all__ = ["WaitingJobs"]

MAX_AGE_SECONDS = 10.0  # then the job is read again: another process may have changed its executor
AGE_SECONDS_PER_JOB = 0.01  # or later: to read very many jobs again takes longer than 10 s


class WaitingJob(NamedTuple):
    """A job that waits for its executor.

    :ivar run_time: the run time that its document had.
    :ivar read_at: when the document was read, in seconds of the monotonic clock.
    """

    run_time: Any
    read_at: float


class WaitingJobs:
    """Remembers which jobs wait for which executor, in the order in which they were read."""

    def __init__(self) -> None:
        self._by_executor: dict[str, dict[str, WaitingJob]] = {}

    @property
    def executors(self) -> set[str]:
        """The aliases of the executors for which jobs wait."""
        return set(self._by_executor)

    def add(self, record: Record, executor: str) -> None:
        """Let a job wait for its executor."""
        waiting = WaitingJob(record.run_time, time.monotonic())
        self._by_executor.setdefault(executor, {})[record.id] = waiting

    def admit(self, rooms: Rooms) -> None:
        """Forget as many of the first jobs as their executors have room for, and old ones.

        The next search finds these jobs, in their order among all others.
        """
        for executor, jobs in list(self._by_executor.items()):
            max_age = max(MAX_AGE_SECONDS, len(jobs) * AGE_SECONDS_PER_JOB)
            oldest = time.monotonic() - max_age
            places = rooms.free(executor)
            for job_id, job in list(jobs.items()):
                if places <= 0 and job.read_at > oldest:
                    break
                jobs.pop(job_id, None)  # another thread may have forgotten it meanwhile
                places -= 1
            if not jobs:
                self._by_executor.pop(executor, None)

    def current(self) -> dict[str, WaitingJob]:
        """Return the jobs that wait, by id."""
        return {
            job_id: job
            for jobs in list(self._by_executor.values())  # copies: threads of the store read this
            for job_id, job in jobs.copy().items()
        }

    def forget(self, job_id: DocumentId) -> None:
        """Read a job again, as its document is about to be written."""
        for jobs in list(self._by_executor.values()):
            jobs.pop(job_id, None)

    def forget_all(self) -> None:
        """Read all jobs again."""
        self._by_executor.clear()
