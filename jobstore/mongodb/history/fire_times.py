"""The run times of a job around a moment: by its document, and by records of its next run time."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timezone

from ...describe import JobInfo, read_job
from ...firing import FireTimes, First, NextRun, around, firing, never
from ...run_times import UnreadableError
from ...where import in_utc
from ..documents import Document
from .answer import CHANGES, RUN_KINDS
from .record import HistoryRecord

__all__ = ["fire_times", "last_due", "next_run_of", "setting"]

SETTINGS = {*CHANGES, "moved on", "held", "quarantined"}  # the kinds that set the next run time


def fire_times(
    job: JobInfo | None,
    document: Document | None,
    at: datetime,
    now: datetime,
    settings: Iterable[HistoryRecord | None],
) -> FireTimes:
    """Compute the fire times around a moment, without a call of the job's code.

    :param now: when the document was read.
    :param settings: the last record before the moment that names the job's next run time, and the
        first one after it. It may name a time before itself.
    """
    first: First = never
    unknown = "the job is not stored"
    known = [next_run_of(each) for each in settings if each]
    if job is not None and document is not None:
        if at > now:
            known.clear()  # the document is newer than any record
        known.append(NextRun(now, job.next_run_time) if job.next_run_time else None)
        try:
            trigger = read_job(job.id, document.get("job_state"))["trigger"]
            first, unknown = firing(trigger, run_time_of(job)), ""
        except UnreadableError as error:
            unknown = str(error)
    found = around(first, at, [each for each in known if each])
    return found._replace(unknown=unknown)


def run_time_of(job: JobInfo) -> datetime | None:
    """Return the run time that a job has, or had before it was held or quarantined."""
    return job.next_run_time or job.held or (job.quarantine and job.quarantine.next_run_time)


def last_due(
    job: JobInfo | None, document: Document | None, last: HistoryRecord | None, now: datetime
) -> datetime:
    """Return the last known run time that is over; the present if there is none, or a pause."""
    if job and job.paused and not job.held:
        return now
    times = [fire_times(job, document, now, now, [last]).before]
    if job:
        times.append(run_time_of(job))
    if last:
        times.append(last.run_time)
    return max((time for time in times if time is not None and time <= now), default=now)


def setting(at: datetime, records: Iterable[HistoryRecord]) -> HistoryRecord | None:
    """Return the record that names the job's next run time at a moment, None if none does.

    A run after that record has another run time, which somebody set who keeps no history.

    :param records: of the job up to the moment, and of its schedulers.
    """
    settings = [each for each in records if each.kind in SETTINGS and each.at <= at]
    last = max(settings, key=lambda each: each.at, default=None)
    next_run = last and next_run_of(last)
    if last is None or next_run is None:
        return None
    until = min(at, next_run.run_time)
    has_run = any(
        each.kind in RUN_KINDS and each.run_time is not None and last.at < each.run_time < until
        for each in records
    )
    return None if has_run else last


def next_run_of(record: HistoryRecord) -> NextRun | None:
    """Return the job's next run time after a record, None if it names none."""
    time = record.until if record.kind == "moved on" else None
    if record.kind in CHANGES and record.detail:
        with suppress(ValueError, OverflowError):  # another text, or written by anybody
            time = in_utc(datetime.fromisoformat(record.detail)).astimezone(timezone.utc)
    return None if time is None else NextRun(record.at, time)
