"""Makes records of the runs, from the scheduler's events and the jobs that cycles handed out.

The listener only notes each end of a run. The history's thread makes the records. An event doesn't
tell when the run began, so the duration is an upper bound. A run began after its hand-out. In an
executor whose threads run one job after the other, it also began after the thread's previous run.
"""

import time
from collections.abc import Iterable
from datetime import datetime, timezone
from itertools import islice
from threading import get_ident

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobExecutionEvent,
    JobSubmissionEvent,
)
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from .incidents import HandedOut, Incidents
from .record import HistoryRecord
from .run_end import RunEnd
from .texts import error_text

__all__ = ["Listener", "Runs"]

KINDS = {
    EVENT_JOB_EXECUTED: "executed",
    EVENT_JOB_ERROR: "error",
    EVENT_JOB_MISSED: "missed",
    EVENT_JOB_MAX_INSTANCES: "skipped",
}
TIMED = "executed", "error"
EVENTS = EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES
MAX_JOBS = 50_000  # of which hand-outs are known
MAX_OF_JOB = 20  # hand-outs of one job whose runs have not ended
MAX_THREADS = 1000  # of which the last end of a run is known
MAX_STEPS = 100  # run times of a trigger that are counted one by one
# A user's trigger may not be safe in two threads. A combined trigger may contain one.
COUNTABLE = "apscheduler.triggers.", "jobstore.triggers"
COMBINED = "apscheduler.triggers.combining"
SAME_TIME = 0.001  # seconds: a run time is a float in the document


class Listener:
    """Listens to a scheduler's events about the runs of one store's jobs.

    Executors call it in their threads.
    """

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents
        self._scheduler: BaseScheduler | None = None
        self._alias: str | None = None

    def start(self, scheduler: BaseScheduler | None, alias: str | None) -> None:
        """Listen to a scheduler, if there is one."""
        self.stop()
        if scheduler is not None:
            self._scheduler, self._alias = scheduler, alias
            scheduler.add_listener(self._heard, EVENTS)

    def stop(self) -> None:
        """Listen no more."""
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            scheduler.remove_listener(self._heard)

    def _heard(self, event: JobExecutionEvent | JobSubmissionEvent) -> None:
        if event.jobstore != self._alias or not self._incidents.is_recording:
            return
        ended_at, kind, runs, detail = time.monotonic(), KINDS[event.code], 1, ""
        if isinstance(event, JobSubmissionEvent):
            run_time, runs = event.scheduled_run_times[0], len(event.scheduled_run_times)
        else:
            run_time = event.scheduled_run_time
            if kind == "error":
                detail = error_text(event.exception)
        self._incidents.entries.add(
            RunEnd(kind, event.job_id, run_time, runs, time.time(), ended_at, get_ident(), detail)
        )


class HandOut:
    """A job that was handed out, and whose runs may not have ended.

    :ivar run_time: in seconds since the epoch.
    :ivar at: when it was handed out, by the monotonic clock.
    :ivar is_sequential: whether the executor's threads run one job after the other.
    :ivar trigger: the job's trigger if the job coalesces, else None. Then it has one run only.
    :ivar has_ended: whether one of its runs has ended.
    """

    __slots__ = ("at", "has_ended", "is_sequential", "run_time", "trigger")

    def __init__(
        self, run_time: float, at: float, is_sequential: bool, trigger: BaseTrigger | None
    ) -> None:
        self.run_time, self.at = run_time, at
        self.is_sequential, self.trigger = is_sequential, trigger
        self.has_ended = False


class Runs:
    """Makes records of ends of runs, in the history's thread."""

    def __init__(self) -> None:
        self._handed_out: dict[str, list[HandOut]] = {}  # in order, by the job's id
        self._last_ends: dict[int, float] = {}  # by thread

    def note_handed_out(
        self, batches: Iterable[HandedOut], scheduler: BaseScheduler | None
    ) -> None:
        """Note the jobs of cycles; O(their number)."""
        executors = {} if scheduler is None else scheduler._executors.copy()
        kinds = ThreadPoolExecutor, DebugExecutor
        sequential = {alias for alias, each in executors.items() if isinstance(each, kinds)}
        known = self._handed_out
        for at, jobs in batches:
            for job, record, *_ in jobs:
                trigger = job.trigger if job.coalesce else None
                new = HandOut(record.run_time, at, job.executor in sequential, trigger)
                of_job = known.setdefault(job.id, [])
                of_job.append(new)
                if len(of_job) > MAX_OF_JOB:
                    del of_job[0]
        if len(known) > MAX_JOBS:  # the ends of some runs have sent no event
            for job_id in list(islice(known, len(known) - MAX_JOBS)):
                del known[job_id]

    def records(self, end: RunEnd) -> list[HistoryRecord]:
        """Return the record of a run's end, after that of the runs that were rolled into it."""
        kind, job_id, run_time, runs, at, ended_at, thread, detail = end
        seconds, time_of = None, datetime.fromtimestamp(at, timezone.utc)
        timestamp = run_time.timestamp()
        found = []
        handed_out = self._find(job_id, timestamp)
        if handed_out:
            if handed_out.trigger is not None and handed_out.run_time < timestamp - SAME_TIME:
                found.append(_coalesced(job_id, handed_out, run_time, time_of))
            if kind in TIMED and not handed_out.has_ended:
                began_at = handed_out.at
                if handed_out.is_sequential:
                    began_at = max(began_at, self._last_ends.get(thread, began_at))
                seconds = ended_at - began_at
                handed_out.has_ended = True
        self._note_end(thread, ended_at)
        found.append(HistoryRecord(job_id, kind, time_of, run_time, seconds, runs, None, detail))
        return found

    def _note_end(self, thread: int, ended_at: float) -> None:
        if len(self._last_ends) > MAX_THREADS:
            self._last_ends.clear()
        self._last_ends[thread] = ended_at

    def _find(self, job_id: str, run_time: float) -> HandOut | None:
        """Return the hand-out that led to a run; None if it is not known.

        Forgets it if no more runs follow from it.
        """
        of_job = self._handed_out.get(job_id)
        if of_job is None:
            return None
        latest = run_time + SAME_TIME
        for place in range(len(of_job) - 1, -1, -1):
            found = of_job[place]
            if found.run_time <= latest:
                break
        else:
            return None
        if found.trigger is not None:
            del of_job[place]
        else:  # later runs of the same hand-out may follow
            del of_job[: sum(each.has_ended for each in of_job[:place])]
        if not of_job:
            del self._handed_out[job_id]
        return found


def _coalesced(job_id: str, handed_out: HandOut, run_time: datetime, at: datetime) -> HistoryRecord:
    """Make the record of the runs before `run_time` that were left out."""
    assert handed_out.trigger is not None
    first = datetime.fromtimestamp(handed_out.run_time, timezone.utc)
    runs, is_exact = _count_runs(handed_out.trigger, first, run_time)
    text = "" if is_exact else "at least"
    return HistoryRecord(job_id, "coalesced", at, first, None, runs, run_time, text)


def _count_runs(trigger: BaseTrigger, first: datetime, end: datetime) -> tuple[int, bool]:
    """Count the run times from the first one until `end`; return whether these are all."""
    if type(trigger) is IntervalTrigger and trigger.jitter is None:
        return round((end - first) / trigger.interval), True
    module = type(trigger).__module__
    if not module.startswith(COUNTABLE) or module == COMBINED:
        return 1, False
    count, next_time = 0, first.astimezone(end.tzinfo)
    while end.timestamp() - next_time.timestamp() > SAME_TIME:
        count += 1
        following = trigger.get_next_fire_time(next_time, end)
        if count == MAX_STEPS or following is None:
            return count, following is None
        next_time = following
    return count, True
