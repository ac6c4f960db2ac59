"""The answer to "why did this job run, or not, at that time", and the evidence for it."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ...describe import JobInfo
from ...firing import FireTimes
from ..presence.scheduler import Scheduler
from .record import JOB_KINDS, HistoryRecord

__all__ = [
    "ANSWERS",
    "CHANGES",
    "INACTIVE",
    "NEAR",
    "OF_SEVERAL",
    "RUN_KINDS",
    "Answer",
    "Evidence",
    "clock",
    "covers",
    "is_same",
    "length",
]

NEAR = timedelta(minutes=1)  # a run is meant whose time is nearer than this to the moment asked for
MILLISECOND = timedelta(milliseconds=1)  # the database cuts times to it

ANSWERS = {
    "ran": "the run returned",
    "failed": "the run raised an exception",
    "twice": "two schedulers ran the job",
    "misfired": "the run was later than misfire_grace_time allows, and was left out",
    "skipped": "max_instances runs of the job were in flight, and the run was left out",
    "coalesced": "the run was rolled into a later one",
    "refused": "the executor is missing, or did not take the job; the job stays due",
    "lost": "the run's write lost to a change by another process",
    "quarantined": "the job was in quarantine",
    "paused": "the job was paused",
    "moved on": "a start gave the overdue job a later run time, or removed it",
    "held": "a start held the overdue job",
    "removed": "the job was removed before",
    "database away": "the schedulers could not reach the database",
    "no scheduler": "no scheduler ran that fires the jobs",
    "due": "the job is due now, and waits",
    "not due": "the job had no run time then",
    "no such job": "no job and no record has that id",
    "unknown": "the evidence does not suffice; the text says what is missing",
}
CHANGES = {"added", "changed", "paused", "removed"}  # the kinds of records of callers' changes
# The kinds of records that may stand for several runs.
OF_SEVERAL = ["coalesced", "held", "moved on", "skipped"]
RUN_KINDS = JOB_KINDS.keys() - {"added", "changed", "paused"}  # those that may name a run
INACTIVE = {"paused", "held", "quarantined", "removed"}  # after these, a job has no run time


class Answer(NamedTuple):
    """Says why a job ran, or did not run, at a time.

    :ivar kind: a short answer, such as ``"paused"``; the documentation lists all.
    :ivar text: the answer in a sentence or two.
    :ivar source: which record or document shows it.
    :ivar at: the run time that is meant, or the moment asked for if none is near.
    :ivar evidence: the records that show it, the oldest first.
    """

    kind: str
    text: str
    source: str
    at: datetime
    evidence: tuple[HistoryRecord, ...] = ()


class Evidence(NamedTuple):
    """All that is known about a job and its schedulers around a moment.

    :ivar job_id: the job's id.
    :ivar at: the moment asked for, in UTC.
    :ivar now: the time of the reading, in UTC.
    :ivar collection: the name of the jobs' collection.
    :ivar job: the job as it is now; None if it isn't stored.
    :ivar times: the fire times around `at`, by the trigger that the job has now.
    :ivar runs: the records of runs near `at`, the oldest first.
    :ivar later: the records of the runs into which those of `runs` were rolled.
    :ivar change: the last record before `at` that says what state the job got.
    :ivar ran_since: whether a run before `at` has a record, and is later than `change`.
    :ivar next_set: the record before `at` that names the job's next run time at `at`.
    :ivar next_change: the first such record after `at`.
    :ivar last: the last record of the job, whatever its kind.
    :ivar incidents: the schedulers' records around `at`, the oldest first.
    :ivar has_all_incidents: False if there are more of them than were read.
    :ivar schedulers: the presence of the schedulers; None if it can't be read.
    :ivar begins: the time of the oldest record of all jobs; None if there are none.
    :ivar keeps_all: whether the schedulers of that time also recorded the runs that went well.
    :ivar is_readable: whether this user may read the records.
    """

    job_id: Any
    at: datetime
    now: datetime
    collection: str = "jobs"
    job: JobInfo | None = None
    times: FireTimes = FireTimes(unknown="the job is not stored")
    runs: tuple[HistoryRecord, ...] = ()
    later: tuple[HistoryRecord, ...] = ()
    change: HistoryRecord | None = None
    ran_since: bool = False
    next_set: HistoryRecord | None = None
    next_change: HistoryRecord | None = None
    last: HistoryRecord | None = None
    incidents: tuple[HistoryRecord, ...] = ()
    has_all_incidents: bool = True
    schedulers: tuple[Scheduler, ...] | None = ()
    begins: datetime | None = None
    keeps_all: bool = False
    is_readable: bool = True

    @property
    def run_time(self) -> datetime | None:
        """The run time that is nearest to the moment, less than a minute away; else None."""
        times = [self.times.before, self.times.after]
        if (job := self.job) is not None:
            mark = job.quarantine
            times += [job.next_run_time, job.held, mark.next_run_time if mark else None]
        recorded = [each.run_time for each in self.runs if not self._is_cut_off(each.run_time)]
        change = self.next_change
        if self._nearest(recorded) and change and change.kind in ("added", "changed"):
            # The job may have had another trigger then.
            times = [time for time in times if any(covers(each, time) for each in self.runs)]
        return self._nearest([*recorded, *times])

    def _is_cut_off(self, time: datetime | None) -> bool:
        """Whether a run was before the job became inactive, or after that was over."""
        change, following = self.change, self.next_change
        if time is None or change is None or change.kind not in INACTIVE:
            return False
        return time <= change.at or (following is not None and time >= following.at)

    def _nearest(self, times: list[datetime | None]) -> datetime | None:
        near = [time for time in times if time is not None and abs(time - self.at) < NEAR]
        return min(near, key=lambda time: (abs(time - self.at), time), default=None)


def covers(record: HistoryRecord, time: datetime | None) -> bool:
    """Whether a record of several runs stands for a time, too."""
    if record.kind not in OF_SEVERAL or record.run_time is None or time is None:
        return False
    is_several = record.kind != "skipped" or record.runs > 1
    return is_several and record.run_time <= time < (record.until or record.at)


def is_same(time: datetime | None, other: datetime | None) -> bool:
    """Whether two run times are the same, but for parts of a millisecond."""
    return time is not None and other is not None and abs(time - other) < MILLISECOND


def clock(time: datetime) -> str:
    """Return a time in UTC to the second, or to the millisecond if it has any."""
    precision = "milliseconds" if time.microsecond >= 1000 else "seconds"
    return f"{time.replace(tzinfo=None).isoformat(' ', precision)} UTC"


def length(seconds: float) -> str:
    """Return a length of time, in seconds.

    >>> length(0.12345), length(10800)
    ('0.123 s', '10,800 s')
    """
    return f"{seconds:,.0f} s" if abs(seconds) >= 100 else f"{seconds:.3g} s"
