"""One cycle of a scheduler, as the memory store sees it: the jobs handed out, and changes to them.

The scheduler changes a job, then updates or removes it in the store. The store ignores that call
if the executor has not taken the job, or if another job has replaced it within the cycle.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from logging import Logger
from threading import get_ident

from apscheduler.events import JobEvent
from apscheduler.job import Job

from ._index import JobIndex
from .backlog import Backlog
from .base import first_few
from .submissions import Submissions

__all__ = ["Cycle"]


class Cycle:
    """The jobs that one cycle got from the store, and their run times then.

    :param index: the store's jobs.
    :param backlog: the jobs that executors did not take.
    :param events: the list in which the cycle collects its events; see `caller.cycle_events`.
    :param jobs: the jobs handed out.
    :param outer: the cycle in which a job or a listener started this one.
    :ivar thread: the thread of the cycle.
    """

    __slots__ = (
        "_backlog",
        "_before",
        "_index",
        "_jobs",
        "_not_taken",
        "_run_times_by_id",
        "_run_times_in_order",
        "_submissions",
        "events",
        "outer",
        "thread",
    )

    def __init__(
        self,
        index: "JobIndex[Job]",
        backlog: Backlog,
        events: Sequence[JobEvent],
        jobs: Sequence[Job],
        outer: "Cycle | None",
    ) -> None:
        self._index, self._backlog = index, backlog
        self.events = events
        self._submissions = Submissions(events)
        self._jobs = list(jobs)  # a copy: the caller may change its list
        # A list costs a third of a dict. The dict is made from it when a submission fails.
        self._run_times_in_order = [job.next_run_time for job in jobs]
        self._run_times_by_id: dict[str, datetime | None] = {}
        self._before: dict[str, Job | None] = {}  # by id put meanwhile, the job stored before
        self.outer = outer
        self.thread = get_ident()
        self._not_taken: list[str] = []  # their first submission failed

    @property
    def is_simple(self) -> bool:
        """Whether only this cycle's own calls can be about the job of its last event.

        Not so within another cycle, or if the last event of an earlier store in the cycle has the
        id of a job here. Jobs that were not taken in an earlier cycle have to be noted if taken.
        """
        is_last_here = bool(self.events) and self._index.get(self.events[-1].job_id) is not None
        return self.outer is None and not self._backlog.has_failed and not is_last_here

    def took_plainly(self, job_id: str) -> bool:
        """Whether an executor has just taken this job, and there is nothing else to note or check.

        A job that has reached its maximum number of instances counts as taken.
        """
        return (
            self._submissions.took(job_id)
            and self.outer is None
            and job_id not in self._before
            and job_id not in self._backlog.failed
        )

    def of(self, events: Sequence[JobEvent]) -> "Cycle | None":
        """Return the cycle, this one or an outer one, that collects its events in this list."""
        cycle: Cycle | None = self
        while cycle is not None and cycle.events is not events:
            cycle = cycle.outer
        return cycle

    def ignores(self, job_id: str, updated: Job | None) -> bool:
        """Whether the store ignores the scheduler's own update or removal of a job.

        If the executor has not taken the job, it gets its run time back, and waits in the backlog.

        :param updated: the job with its next run time; None if the scheduler removes the job.
        """
        if self._is_replaced(job_id, updated):
            return True
        stored = self._index.get(job_id)
        if self._submissions.took(job_id):
            self._backlog.failed.note_taken(job_id)
            if self.outer is not None and updated is not None:
                self.outer.note_changed(updated)
            return False
        if stored is None or job_id not in self._run_times:
            return False
        if updated is None and not self._backlog.has_executor(stored.executor):
            self._backlog.forget([job_id])  # the scheduler has not even tried
            return False
        run_time = self._run_times[job_id]
        if updated is not None:
            if stored is not updated and stored.next_run_time != run_time:
                return True  # another thread has replaced the job
            updated.next_run_time = run_time
        if self._backlog.note_failed(job_id, run_time):
            self._not_taken.append(job_id)
        return True

    @property
    def _run_times(self) -> dict[str, datetime | None]:
        """The run times of the jobs handed out, by id; O(jobs handed out) the first time."""
        run_times = self._run_times_by_id
        if len(run_times) < len(self._jobs):
            # Two threads may do this at once: neither replaces a time that the other has noted.
            for job, run_time in zip(self._jobs, self._run_times_in_order, strict=True):
                run_times.setdefault(job.id, run_time)
        return run_times

    def note_changed(self, job: Job) -> None:
        """Note the run time that the application is about to give to a job handed out."""
        if job.id in self._run_times:
            stored = self._index.get(job.id)
            if stored is job or stored is None:  # else the job is refused, or replaces another
                self._run_times[job.id] = job.next_run_time
        if self.outer is not None:
            self.outer.note_changed(job)

    def note_before(self, jobs: Iterable[Job]) -> None:
        """Note the stored jobs whose ids are about to get these jobs."""
        for job in jobs:
            if isinstance(job.id, str):
                self._before.setdefault(str.__str__(job.id), self._index.get(job.id))
        if self.outer is not None:
            self.outer.note_before(jobs)

    def _is_replaced(self, job_id: str, handed: Job | None) -> bool:
        """Whether another job has replaced the job that the cycle got from the store.

        A removal names only the id. Then the cycle's job is the one noted for that id.
        """
        if not isinstance(job_id, str) or str.__str__(job_id) not in self._before:
            return False
        if handed is None:
            handed = self._before[str.__str__(job_id)]
        return self._index.get(job_id) is not handed

    def log_not_taken(self, logger: Logger) -> None:
        """Log the jobs whose submissions failed in this cycle for the first time."""
        if self._not_taken:
            logger.warning(
                "Executors did not take %d due jobs, which stay due; the next try is in %g s: %s",
                len(self._not_taken),
                self._backlog.retry_seconds,
                first_few(self._not_taken),
            )
