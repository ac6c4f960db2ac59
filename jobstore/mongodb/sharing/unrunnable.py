"""Due jobs that this process can't run, left to the other schedulers for a minute."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..documents import DocumentId, HasTime, IdKey, Record, hashable_id

__all__ = ["UnrunnableJobs"]

RETRY_SECONDS = 60.0


class UnrunnableJob(NamedTuple):
    """A job that was left to other schedulers.

    :ivar run_time: the run time that its document had.
    :ivar seen_at: when the job was first seen at that run time, in seconds of the monotonic clock.
    """

    id: DocumentId
    run_time: Any
    seen_at: float

    @property
    def is_recent(self) -> bool:
        return time.monotonic() < self.seen_at + RETRY_SECONDS


class UnrunnableJobs:
    """Remembers for a minute which jobs were left to other schedulers.

    After the minute the store looks at such a job once more. If the job is still due at the same
    time, no scheduler can run it.
    """

    def __init__(self) -> None:
        self._jobs: dict[IdKey, UnrunnableJob] = {}

    def add(self, record: Record) -> bool:
        """Leave a job to other schedulers; return whether it was not remembered before."""
        old = self._jobs.get(hashable_id(record.id))
        if not (old and old.is_recent and old.run_time == record.run_time):
            self._jobs[hashable_id(record.id)] = UnrunnableJob(
                record.id, record.run_time, time.monotonic()
            )
        return old is None

    def forget(self, job_id: DocumentId) -> None:
        """Try a job again, as its document is about to be written."""
        if self._jobs:  # only then is the key worth its cost
            self._jobs.pop(hashable_id(job_id), None)

    def forget_all(self) -> None:
        """Try all jobs again."""
        self._jobs.clear()

    def has_waited(self, record: Record) -> bool:
        """Return whether no scheduler has run the job within a minute."""
        job = self._jobs.get(hashable_id(record.id))
        return job is not None and not job.is_recent and job.run_time == record.run_time

    def current(self) -> dict[IdKey, UnrunnableJob]:
        """Return the jobs that are left to other schedulers now, by the keys of their ids."""
        return {hashable_id(job.id): job for job in self._recent()}

    def added_to(self, exclude: Mapping[IdKey, HasTime]) -> dict[IdKey, HasTime]:
        """Return the jobs to leave out of a search: `exclude`, and those left to others now."""
        return {**exclude, **self.current()}

    def next_retry(self) -> float | None:
        """Return when to try the first of them again, in seconds of the monotonic clock."""
        return min((job.seen_at + RETRY_SECONDS for job in self._recent()), default=None)

    def _recent(self) -> list[UnrunnableJob]:
        """Return the jobs of the last minute; forget those older than two minutes."""
        oldest = time.monotonic() - 2 * RETRY_SECONDS
        for job in list(self._jobs.values()):  # a copy: the watcher's thread calls this, too
            if job.seen_at <= oldest:
                self._jobs.pop(hashable_id(job.id), None)
        return [job for job in list(self._jobs.values()) if job.is_recent]
