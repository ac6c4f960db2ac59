"""The memory store: a thin layer over `JobIndex`."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from threading import get_ident
from typing import Literal

from apscheduler.events import JobEvent
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler

from ._index import JobIndex
from .about import Tags, check_tags
from .backlog import Backlog
from .base import EVERY, BaseJobStore, ConflictingIdsError, JobLookupError, JobsLookupError
from .caller import cycle_events, is_cycle, is_nested_cycle, is_within_cycle
from .describe import JobInfo
from .in_flight import check_bound
from .looking import count_by_time, find_by_time
from .memory_cycle import Cycle
from .triggers import check_fast_cron, use_fast_cron
from .where import Where

__all__ = ["MemoryJobStore"]

NO_EVENTS: Sequence[JobEvent] = ()


class MemoryJobStore(BaseJobStore):
    """Keeps jobs in memory, in order of (next run time, id), paused jobs last.

    It replaces `apscheduler.jobstores.memory.MemoryJobStore`; its plugin alias is ``fastmemory``.
    The jobs are lost when the process ends.

    A listener or a synchronous job may remove or replace a job that the scheduler's current cycle
    has already got from the store. Then the scheduler's own update or removal of it does nothing.

    If an executor refuses a job (its pool is shut down, say), the job stays due. The scheduler
    tries again after its `jobstore_retry_interval`, 10 s by default.

    >>> from apscheduler.schedulers.background import BackgroundScheduler
    >>> from jobstore import MemoryJobStore
    >>> scheduler = BackgroundScheduler(jobstores={"default": MemoryJobStore()})

    :param in_flight: the maximum number of runs in flight with each executor, 1 or more. More due
        jobs wait in the store, in order, until runs end. None means no bound. ``"auto"`` means
        twice the executor's workers, or as many runs as it finishes in 0.2 s, if that is more.
        It bounds only thread pools and process pools.
    :param fast_cron: whether a due job whose trigger is exactly APScheduler's `CronTrigger` gets a
        `jobstore.triggers.CronTrigger` with the same attributes instead.
    :param tags: a function that returns a job's tags, a list of strings, for `find` and `count`. It
        is called whenever they or `describe` need the tags of a job. None means no tags.
    :raises ValueError: names the argument that is none of these, and the values allowed.
    """

    def __init__(
        self,
        *,
        in_flight: Literal["auto"] | int | None = None,
        fast_cron: bool = False,
        tags: Tags | None = None,
    ) -> None:
        check_bound(in_flight)
        check_fast_cron(fast_cron)
        check_tags(tags)
        super().__init__()
        self._tags = tags
        self._fast_cron = fast_cron
        self._index: JobIndex[Job] = JobIndex()
        self._is_bounded = in_flight is not None
        self._backlog = Backlog(in_flight)
        self._cycle: Cycle | None = None  # the current cycle, if it got jobs
        # Which changes need no check, as most: None stands for all. In a cycle, the scheduler's own
        # need none if the last of these events is about the job: an executor has just taken it.
        self._unchecked: Sequence[JobEvent] | None = None

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        """Remember the scheduler, and listen to its events if runs in flight have a bound."""
        super().start(scheduler, alias)
        self._backlog.start(scheduler)

    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job with that id, or None; O(1).

        >>> store.lookup_job("report")
        <Job (id=report name=send)>
        """
        return self._index.get(job_id)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return the k jobs whose run time is `now` or earlier, in order; O(log n + k).

        A scheduler's cycle gets only jobs that their executors have room for, and none that waits
        for its next try. Where it passes over w other jobs, the cost is O(log n + k + w).

        :param now: the time; a naive one is UTC.
        :raises TypeError: if `now` is not a datetime.
        :raises OverflowError: if `now` is outside the years 1 to 9999 in UTC.
        """
        if self._is_bounded or self._backlog.has_failed:
            events = cycle_events()
            if events is None:
                return self._index.due(now)
            jobs = self._backlog.hand_out(self._index, now)
        else:
            jobs = self._index.due(now)
            events = cycle_events() if jobs else None
        if jobs and events is not None:  # else a listener, a job or another thread asks
            if self._fast_cron:
                # Here, as every job that fires comes by, however it was added or changed.
                for job in jobs:
                    use_fast_cron(job)
            outer = self._cycle
            outer = outer if outer is not None and is_nested_cycle() else None
            self._cycle = cycle = Cycle(self._index, self._backlog, events, jobs, outer)
            self._unchecked = events if cycle.is_simple else NO_EVENTS
        return jobs

    def get_next_run_time(self) -> datetime | None:
        """Return the earliest run time, or None if no job has one; O(1).

        To a scheduler's cycle it returns the time at which the next cycle can hand out a job. With
        w jobs that wait for their executors, the cost is O(log n + w).
        """
        if self._unchecked is None and not self._is_bounded:
            return self._index.first_run_time()
        events = cycle_events()
        if events is None:
            return self._index.first_run_time()
        if self._cycle is not None and (cycle := self._cycle.of(events)):
            self._cycle = cycle.outer
            cycle.log_not_taken(self._logger)
        next_run_time = self._backlog.next_run_time(self._index)
        is_over = self._cycle is None and not self._backlog.has_failed
        self._unchecked = None if is_over else NO_EVENTS
        return next_run_time

    def get_all_jobs(self) -> list[Job]:
        """Return all n jobs in order, paused ones last; O(n)."""
        return self._index.all()

    def add_job(self, job: Job) -> None:
        """Add a job; O(log n).

        >>> store.add_job(job)

        :param job: the job, with its `next_run_time` set.
        :raises ConflictingIdError: if a stored job has the same id.
        :raises TypeError: if the job's id is not a str, or its run time neither a datetime nor
            None.
        :raises OverflowError: if its run time is outside the years 1 to 9999 in UTC.
        """
        if self._unchecked is not None:
            self._note_put([job])
        self._index.add(job)

    def update_job(self, job: Job) -> None:
        """Replace the job that has the same id, and move it to the new run time; O(log n).

        Does nothing if the scheduler's own update comes after a change or a removal by others in
        the same cycle, or if the job's executor did not take the job.

        >>> store.update_job(job)

        :param job: the newer version of a stored job.
        :raises JobLookupError: if no stored job has that id.
        :raises TypeError: if the job's run time is neither a datetime nor None.
        :raises OverflowError: if its run time is outside the years 1 to 9999 in UTC.
        """
        last = self._unchecked
        if (
            last is not None
            and (not last or last[-1].job_id != job.id)
            and self._needs_check(job.id)
            and self._ignores(cycle_events(), job.id, job)
        ):
            return
        try:
            self._index.replace(job)
        except JobLookupError:
            if not is_cycle():
                raise

    def remove_job(self, job_id: str) -> None:
        """Remove the job with that id; O(log n).

        Does nothing in the same cases as `update_job`.

        >>> store.remove_job("report")

        :raises JobLookupError: if no stored job has that id.
        """
        last = self._unchecked
        if (
            last is not None
            and (not last or last[-1].job_id != job_id)
            and self._needs_check(job_id)
            and self._ignores(cycle_events(), job_id)
        ):
            return
        try:
            self._index.remove(job_id)
        except JobLookupError:
            if not is_cycle():
                raise

    def remove_all_jobs(self) -> None:
        """Remove every job; O(n)."""
        self._index.clear()
        self._backlog.clear()

    def shutdown(self) -> None:
        """Remove every job, as the stock memory store does, and listen to no more events."""
        self._backlog.stop()
        self.remove_all_jobs()

    def add_jobs(self, jobs: Iterable[Job], replace_existing: bool = False) -> None:
        """Add k jobs at once; O(k log k), several times faster than one by one.

        Adds every job whose id is free, then raises one error for all the others. Any other error
        about a job (no id, a run time that is no datetime) is raised before anything has changed.

        >>> store.add_jobs([first, second])

        :param jobs: the jobs, each with its `next_run_time` set.
        :param replace_existing: replace a stored job that has the same id.
        :raises ConflictingIdsError: names the refused ids, after all other jobs were added.
        """
        if self._unchecked is not None:
            jobs = self._note_put(list(jobs))
        if replace_existing:
            self._index.put_many(jobs)
        elif refused := self._index.add_many(jobs):
            raise ConflictingIdsError(refused)

    def update_jobs(self, jobs: Iterable[Job]) -> None:
        """Replace k jobs at once; O(k log k + k log n).

        Replaces every job whose id is stored, then raises one error for all the others. Any other
        error about a job is raised before anything has changed.

        >>> store.update_jobs([first, second])

        :param jobs: the newer versions of stored jobs.
        :raises JobsLookupError: names the ids not found, after all other jobs were updated.
        """
        if self._unchecked is not None:
            jobs = self._note_put(list(jobs))
        if refused := self._index.replace_many(jobs):
            raise JobsLookupError(refused)

    def remove_jobs(self, job_ids: Iterable[str]) -> None:
        """Remove k jobs at once; O(k log n).

        Removes every job whose id is stored, then raises one error for all the others.

        >>> store.remove_jobs(["first", "second"])

        :param job_ids: the ids of the jobs.
        :raises JobsLookupError: names the ids not found, after all other jobs were removed.
        """
        if self._unchecked is not None:
            job_ids = list(job_ids)
            self._backlog.forget(job_ids)
        if refused := self._index.remove_many(job_ids):
            raise JobsLookupError(refused)

    def find(
        self, where: Where = EVERY, after: JobInfo | str | None = None, limit: int = 50
    ) -> list[JobInfo]:
        """Return a page of jobs, in the order that `Where` names.

        In order of time a page costs O(log n + k), where the store reads k jobs to fill it. In
        order of id it costs O(n).

        >>> page = store.find(Where(due_before=tomorrow))
        >>> next_page = store.find(Where(due_before=tomorrow), after=page[-1])

        :param where: which jobs; all of them by default.
        :param after: the last job of the page before, or its `key`.
        :param limit: the most jobs to return, 1 or more.
        :raises ValueError: if `limit` is no whole number from 1 on, or `after` neither a job that
            `find` returned nor its key.
        :raises TypeError: if `tags` returns no strings for a job.
        """
        if where.is_by_time:
            return find_by_time(self._index.page, where, after, limit, self._tags)
        return super().find(where, after, limit)

    def count(self, where: Where = EVERY) -> int:
        """Count the jobs that `find` pages over.

        The cost is O(1) for all jobs. By time and state alone it is O(k), where k jobs are due
        before the time, and 2 ms for 200,000 of them. Otherwise it is O(n).

        >>> store.count(Where(paused=True))
        12

        :param where: which jobs; all of them by default.
        :raises TypeError: if `tags` returns no strings for a job.
        """
        if where != EVERY and where.is_about_time:
            return count_by_time(self._index.due, len(self._index), where)
        return super().count(where)

    def __len__(self) -> int:
        """Count the jobs; O(1)."""
        return len(self._index)

    def _needs_check(self, job_id: str) -> bool:
        """Whether an update or a removal may be one that the store ignores, or has to note."""
        cycle = self._cycle  # read once, as below: the scheduler's thread may end the cycle
        return cycle is None or not cycle.took_plainly(job_id)

    def _ignores(
        self, events: Sequence[JobEvent] | None, job_id: str, updated: Job | None = None
    ) -> bool:
        """Whether to ignore an update or a removal; if not, note that it is about to happen.

        :param events: of the cycle that makes the call; None if the application makes it.
        """
        cycle = self._cycle
        if events is not None:
            own = cycle.of(events) if cycle is not None else None
            is_ignored = own is not None and own.ignores(job_id, updated)
            if is_ignored:
                self._unchecked = NO_EVENTS  # the job may be changed before the cycle ends
            return is_ignored
        self._backlog.forget([job_id])
        if cycle is not None and updated is not None:
            cycle.note_changed(updated)
        return False

    def _note_put(self, jobs: list[Job]) -> list[Job]:
        """Note that these jobs are about to be added, or to replace others."""
        self._backlog.forget(job.id for job in jobs)
        cycle = self._cycle
        if cycle is not None:
            for job in jobs:
                cycle.note_changed(job)
            if self._is_in(cycle):
                cycle.note_before(jobs)
                self._unchecked = NO_EVENTS
        return jobs

    def _is_in(self, cycle: Cycle) -> bool:
        """Whether the calling thread is in this cycle, which got jobs from the store.

        If an error ended that cycle, the store was not told. Then this forgets the cycle.
        """
        if cycle.thread != get_ident():
            return False
        if not is_within_cycle():
            self._cycle = None
            return False
        return True
