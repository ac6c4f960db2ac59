"""Decides why a job ran, or did not run, at a time; no database here.

Each rule looks at the evidence, and returns an answer or None. The first answer counts. A record of
the run says more than the job's state at the time. The state says more than a scheduler's absence.
"""

from collections.abc import Callable
from datetime import datetime

from ...inert.texts import cut
from .answer import CHANGES, Answer, Evidence, clock
from .causes import cause, source_of
from .fire_times import next_run_of
from .lives import name_of
from .record import HistoryRecord
from .recorded import one_of_several, recorded
from .waiting import due_now

__all__ = ["decide"]

MAX_TEXT = 2000  # characters; most answers have 100 to 200


def decide(known: Evidence) -> Answer:
    """Return the answer that the evidence gives; O(number of records)."""
    at = known.run_time or known.at
    answers = (rule(known, at) for rule in RULES)
    answer = next((each for each in answers if each), None)
    if answer is None:
        answer = Answer("unknown", unknown_text(known, at), "", at, known.runs)
    # Anybody may have written the texts that it quotes.
    return answer._replace(text=cut(answer.text, MAX_TEXT), source=cut(answer.source))


def missing(known: Evidence, at: datetime) -> Answer | None:
    """Answer for an id of which nothing is known."""
    if known.job or known.last or not known.is_readable:
        return None
    text = f"No job {known.job_id!r} is stored in {known.collection}, and no record has its id."
    if known.change:
        text += f" All jobs were removed at {clock(known.change.at)}."
    return Answer("no such job", text, "", at)


def changed_before(known: Evidence, at: datetime) -> Answer | None:
    """Answer by the last change before the time, if the job did not run after it."""
    change = known.change
    if change is None or known.ran_since or change.kind not in ("paused", "removed", "quarantined"):
        return None
    if is_undone(known, change):
        return None  # by somebody who keeps no history
    who, source = name_of(change.by), source_of(known, change)
    if change.kind == "paused":
        text = f"The job was paused at {clock(change.at)}, by a call in {who}."
    elif change.kind == "removed":
        what = "All jobs were" if change.job_id is None else "The job was"
        text = f"{what} removed at {clock(change.at)}, by a call in {who}."
        if not known.keeps_all:
            text += " Additions have no records, so it may have been there again."
    else:
        text = f"{who} put the job into quarantine at {clock(change.at)}: {change.detail}."
    return Answer(change.kind, text, source, at, (change,))


def is_undone(known: Evidence, change: HistoryRecord) -> bool:
    """Whether a change doesn't last, while no record says since when."""
    job, following = known.job, known.next_change
    if change.kind == "quarantined":
        return job is not None and job.quarantine is None
    if following is not None and following.kind in CHANGES:
        return following.kind == change.kind  # nobody pauses, or removes, a job twice
    if change.kind == "removed":
        return job is not None
    return job is None or job.next_run_time is not None


def added_later(known: Evidence, at: datetime) -> Answer | None:
    """Answer for a job that was added after the time."""
    change = known.next_change
    is_new = change is not None and change.kind == "added"
    if not is_new or (known.change and known.change.kind != "removed"):
        return None
    if known.change is None and (known.begins is None or known.begins > at):
        return None  # there may have been a job of that id before
    assert change is not None
    next_run = next_run_of(change)
    if next_run and next_run.run_time <= at:
        return None  # it was due when it was added
    text = f"The job was not there yet: {name_of(change.by)} added it at {clock(change.at)}."
    if known.job and known.job.next_run_time:
        text += f" It is due at {clock(known.job.next_run_time)}."
    return Answer("not due", text, source_of(known, change), at, (change,))


def gone(known: Evidence, at: datetime) -> Answer | None:
    """Answer for a job that is not stored, and had no further run time after its last record."""
    last = known.last
    if known.job or last is None or last.at > at:
        return None
    text = (
        f'The job is not stored. Its last record is "{last.kind}" of {clock(last.at)}. A job is '
        "removed after its last run, or by a caller that keeps no history."
    )
    if not known.keeps_all:
        text += " Runs that went well have no records, so it may have run until then."
        return Answer("unknown", text, "", at, (last,))
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
        return Answer("quarantined", f"The job is in quarantine{when}: {mark.reason}.", source, at)
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
    last = known.last
    has_run = last is not None and last.run_time is not None and last.run_time > at
    return has_run or known.next_change is not None


def not_due(known: Evidence, at: datetime) -> Answer | None:
    """Answer for a time at which the job has no run time, or which is still to come."""
    job = known.job
    source = f"the job's document in {known.collection}"
    if known.run_time and at > known.now:
        return Answer("not due", f"The job is due at {clock(at)}, which is to come.", source, at)
    if known.run_time:
        return None
    if known.times.next_run:
        return before_next_run(known, at, known.times.next_run.run_time)
    if known.times.unknown or job is None:
        return None
    before, after = known.times.before, known.times.after
    earlier = f"the run before was due at {clock(before)}" if before else "no run was due before"
    later = f"the next one at {clock(after)}" if after else "none is due after"
    text = (
        f"The job was not due at {clock(at)}: by its trigger {job.trigger}, {earlier}, and {later}."
    )
    if known.begins is None or not known.keeps_all:
        text += " Changes of the job have no records: it may have had other times then."
    evidence: tuple[HistoryRecord, ...] = ()
    change = known.next_change
    if change is not None and change.kind == "changed":
        text += f" It was changed at {clock(change.at)}, and may have had another trigger before."
        evidence = (change,)
    return Answer("not due", text, source, at, evidence)


def before_next_run(known: Evidence, at: datetime, run_time: datetime) -> Answer:
    """Answer for a time before the next run time that the job has, or had then."""
    job, record = known.job, known.next_set
    if record is None or (job and at > known.now):
        text = f"The job is not due at {clock(at)}: its next run is due at {clock(run_time)}."
        return Answer("not due", text, f"the job's document in {known.collection}", at)
    text = (
        f"The job was not due at {clock(at)}: its next run time was {clock(run_time)} then, as "
        f"{name_of(record.by)} set it at {clock(record.at)}."
    )
    return Answer("not due", text, source_of(known, record), at, (record,))


def nobody_fired(known: Evidence, at: datetime) -> Answer | None:
    """Answer for a run that has no record, at a time at which nobody fired jobs."""
    if known.run_time is None or not (reason := cause(known, at)):
        return None
    text = reason.text
    if not known.keeps_all:
        text += " Runs that went well have no records, so the job may have run later."
    return Answer(reason.kind, text, reason.source, at, reason.evidence)


RULES: list[Callable[[Evidence, datetime], Answer | None]] = [
    missing,
    recorded,
    one_of_several,
    due_now,
    changed_before,
    added_later,
    in_document,
    gone,
    not_due,
    nobody_fired,
]


def unknown_text(known: Evidence, at: datetime) -> str:
    """Say what is missing for an answer."""
    begin = f"The run of {clock(at)} has no record"
    if known.run_time is None:
        reason = known.times.unknown or "the job is not stored"
        if at > known.now:
            return f"Whether the job is due at {clock(at)} can't be told yet: {reason}."
        begin = f"Whether the job was due at {clock(at)} can't be told: {reason}. It has no record"
    if not known.is_readable:
        return (
            f"{begin} that can be read: this user lacks the right to read {known.collection}_runs."
        )
    dropped = sum(each.runs for each in known.incidents if each.kind == "dropped")
    if known.begins is None:
        return f"{begin}: no scheduler keeps a history. MongoDBJobStore(history=...) does."
    if known.begins > at:
        return f"{begin}: the history begins at {clock(known.begins)}."
    if dropped:
        return f"{begin}: {dropped} records around that time were dropped, as the buffer was full."
    if not known.keeps_all:
        return f'{begin} of a problem, so it probably ran. history="all" also records such runs.'
    return (
        f"{begin}: it may be in flight still, its process may have ended in it, or its scheduler "
        "keeps no history."
    )
