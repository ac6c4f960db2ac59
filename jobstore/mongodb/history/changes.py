"""Answers by the changes of a job: the state that it had at a time."""

from datetime import datetime

from .answer import INACTIVE, Answer, Evidence, clock
from .causes import source_of
from .fire_times import next_run_of
from .lives import name_of
from .record import HistoryRecord

__all__ = ["added_later", "changed_before", "gone", "in_document"]

HAD_RUN_TIME = {"held", "quarantined"}  # records of jobs that were due


def changed_before(known: Evidence, at: datetime) -> Answer | None:
    """Answer by the last change before the time, if it made the job inactive and lasted."""
    change = known.change
    if change is None or change.kind not in INACTIVE or change.at > at or known.ran_since:
        return None
    if is_undone(known, change):
        return None
    text = text_of(change)
    if change.kind == "removed" and not known.keeps_all:
        text += " Additions have no records, so it may have been there again."
    elif known.next_change and not known.keeps_all:
        text += " Resumptions have no records, so it may have been active again."
    return Answer(change.kind, text, source_of(known, change), at, (change,))


def text_of(change: HistoryRecord) -> str:
    """Say which change made a job inactive."""
    who, when, reason = name_of(change.by), clock(change.at), change.detail.rstrip(".")
    if change.kind == "quarantined":
        return f"{who} put the job into quarantine at {when}: {reason}."
    if change.kind == "held":
        return f"{who} held the job at {when}, as {change.detail} asks."
    if change.kind == "paused":
        return f"The job was paused at {when}, by a call in {who}."
    if change.job_id is None:
        return f"All jobs were removed at {when}, by a call in {who}."
    if change.run_time:  # the store removed it, instead of a run
        return f"{who} removed the job at {when}, as it can't be restored: {reason}."
    return f"The job was removed at {when}, by a call in {who}."


def is_undone(known: Evidence, change: HistoryRecord) -> bool:
    """Whether a change didn't last, or may not have lasted, while no record says until when."""
    job, following = known.job, known.next_change
    if following is None:
        if change.kind == "removed":
            return job is not None
        if change.kind == "quarantined":
            return job is not None and job.quarantine is None
        return job is None or job.next_run_time is not None
    if change.kind == "removed":
        return following.kind != "added" and following.job_id is not None
    if following.kind == change.kind:  # a change of a paused job is recorded as another pause
        return not known.keeps_all
    return following.kind in HAD_RUN_TIME


def due_after(record: HistoryRecord) -> datetime | None:
    """Return the next run time of a job after a record, if the record has it."""
    if record.kind == "coalesced":
        return record.until
    if record.kind == "refused":
        return record.run_time
    next_run = next_run_of(record)
    return None if next_run is None else next_run.run_time


def added_later(known: Evidence, at: datetime) -> Answer | None:
    """Answer for a job that was added after the time, and was not there before."""
    change = known.next_change
    if change is None or change.kind != "added" or change.at <= at or known.ran_since:
        return None
    if known.change and known.change.kind != "removed":
        return None
    if known.change is None and (known.begins is None or known.begins > at):
        return None  # there may have been a job of that id before
    due = due_after(change)
    if due is not None and due <= at:
        return None  # it was due when it was added
    text = f"The job was not there yet: {name_of(change.by)} added it at {clock(change.at)}."
    if known.job and known.job.next_run_time:
        text += f" It is due at {clock(known.job.next_run_time)}."
    return Answer("not due", text, source_of(known, change), at, (change,))


def gone(known: Evidence, at: datetime) -> Answer | None:
    """Answer for a job that is not stored, and has no record after the time."""
    last, removal = known.last, known.next_change
    if known.job or last is None or last.at > at:
        return None
    text = f'The job is not stored. Its last record is "{last.kind}" of {clock(last.at)}.'
    due = due_after(last)
    if due is not None and due > at:
        return None  # it was not due yet
    if due is not None:
        text += f" It was due at {clock(due)} then."
    if removal is not None:  # of all jobs, as `last` is before the time
        text += f" {text_of(removal)} It may have been one of them."
        return Answer("unknown", text, "", at, (last, removal))
    if due is not None:
        text += (
            " That run is in flight still, or its process ended in it, or a caller that keeps no "
            "history removed the job."
        )
        return Answer("unknown", text, "", at, (last,))
    text += " A job is removed after its last run, or by a caller that keeps no history."
    if not known.keeps_all:
        text += " Runs that went well have no records, so it may have run until then."
        return Answer("unknown", text, "", at, (last,))
    text += " A run that is in flight, or in which its process ended, has no record."
    return Answer("removed", text, source_of(known, last), at, (last,))


def in_document(known: Evidence, at: datetime) -> Answer | None:
    """Answer by the state that the job has now, if it had it at the time already."""
    job, source = known.job, f"the job's document in {known.collection}"
    if job is None or job.next_run_time is not None:
        return None
    if mark := job.quarantine:
        since = mark.next_run_time or mark.since
        if since is not None and since > at:
            return None
        when = f" since {clock(mark.since)}" if mark.since else ""
        text = f"The job is in quarantine{when}: {mark.reason.rstrip('.')}."
        return Answer("quarantined", text, source, at)
    if job.held:
        if job.held > at:
            return None
        text = (
            f'The start of a scheduler held the job, as catch_up="hold" asks: it was due at '
            f"{clock(job.held)}, and waits for its release."
        )
        return Answer("held", text, source, at)
    if job.paused and not was_active(known, at):
        text = "The job is paused now. No record says since when: it may have run then."
        return Answer("paused", text, source, at)
    return None


def was_active(known: Evidence, at: datetime) -> bool:
    """Whether a record shows that a job that is paused now was changed, or ran, after a time."""
    last, change = known.last, known.change
    has_run = last is not None and last.run_time is not None and last.run_time > at
    has_changed = known.next_change is not None or (change is not None and change.at > at)
    return has_run or has_changed
