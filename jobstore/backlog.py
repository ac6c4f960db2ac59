"""The backlog in memory: due jobs that a cycle leaves in the store, and when to look at them again.

A job stays because its executor has no room, or because its executor did not take it.
"""

import sys
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from itertools import islice
from math import inf

from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler

from ._index import JobIndex
from .in_flight import Bound, InFlight
from .submissions import FailedSubmissions, retry_seconds

__all__ = ["Backlog"]


class Backlog:
    """Chooses the due jobs to hand out in a cycle, and the time of the next cycle.

    :param bound: the maximum number of runs in flight with each executor.
    :ivar failed: the jobs that their executors did not take.
    :ivar has_failed: whether there may be any; a plain attribute, as each update asks. Only a cycle
        writes it, so a change by another thread can't hide a job that fails meanwhile.
    """

    def __init__(self, bound: Bound) -> None:
        self._in_flight = InFlight(bound)
        self._scheduler: BaseScheduler | None = None
        self._full: set[str] = set()  # executors that the last cycle found full
        self._all_full = False
        self.failed = FailedSubmissions()
        self.has_failed = False

    def start(self, scheduler: BaseScheduler | None) -> None:
        """Listen to the scheduler's events, if runs in flight have a bound."""
        self._scheduler = scheduler
        self._in_flight.start(scheduler)

    def stop(self) -> None:
        """Listen no more."""
        self._in_flight.stop()

    def hand_out(self, index: "JobIndex[Job]", now: datetime) -> list[Job]:
        """Return the due jobs that executors have room for, in order.

        The cost is O(log n + k + w) for k jobs returned and w jobs passed over. Jobs are passed
        over only while some executor has room, or until their next try.
        """
        rooms = self._in_flight.rooms()
        waiting = self.failed.waiting() if self.has_failed else {}
        self._full, self._all_full = rooms.full, False
        limit = int(min(rooms.total + len(waiting) + 1, sys.maxsize))
        handed: list[Job] = []
        seen = 0
        while True:
            due = index.due(now, limit)
            for job in islice(due, seen, None):
                if job.id in waiting or job.executor in rooms.full:
                    continue
                if rooms.take(job.executor):
                    self._in_flight.hand_out(job.id, job.executor)
                    handed.append(job)
                elif rooms.total == 0:
                    self._all_full = True
                    return handed
            if len(due) < limit:
                return handed
            seen, limit = limit, min(4 * limit, sys.maxsize)

    def next_run_time(self, index: "JobIndex[Job]") -> datetime | None:
        """Return when the next cycle has to be, at the end of one; None if no job has a run time.

        It is a time in the past if a job can be handed out at once. The cost is O(1), or
        O(log n + w) with w jobs in the backlog.
        """
        self.has_failed = self.has_failed and bool(self.failed)
        waiting = self.failed.waiting() if self.has_failed else {}
        if not self._full and not waiting:
            return index.first_run_time()
        if self._full and self._in_flight.wait_for(None if self._all_full else self._full):
            return index.first_run_time()
        seconds = self._in_flight.recheck_seconds if self._full else inf
        if waiting:
            seconds = min(seconds, self.failed.next_retry() or 0.0)  # None: it has just come
        latest = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        if self._all_full:
            return latest
        # Without full executors, only the failed jobs can stand before another job.
        soon = index.due(latest, sys.maxsize if self._full else len(waiting) + 1)
        others = (job for job in soon if job.executor not in self._full and job.id not in waiting)
        other = next(others, None)
        return latest if other is None else other.next_run_time

    def note_failed(self, job_id: str, run_time: datetime | None) -> bool:
        """Note that an executor did not take a job; return whether for the first time."""
        self.has_failed = True
        return self.failed.add(job_id, run_time, self.retry_seconds)

    @property
    def retry_seconds(self) -> float:
        """How long a job that was not taken waits until the next try."""
        return retry_seconds(self._scheduler)

    def has_executor(self, alias: str) -> bool:
        """Whether the scheduler has an executor with that alias."""
        return self._scheduler is None or alias in self._scheduler._executors

    def forget(self, job_ids: Iterable[str]) -> None:
        """Try jobs again at once, as they are about to be changed or removed."""
        for job_id in job_ids:
            self.failed.forget(job_id)

    def clear(self) -> None:
        """Forget all jobs that were not taken."""
        self.failed = FailedSubmissions()
