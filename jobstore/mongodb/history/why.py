"""Decides why a job ran, or did not run, at a time; no database here.

Each rule looks at the evidence, and returns an answer or None. The first answer counts. A record of
the run says more than the job's state at the time. The state says more than a scheduler's absence.
"""

from collections.abc import Callable
from datetime import datetime

from ...inert.texts import cut
from .answer import Answer, Evidence, clock
from .causes import cause, source_of
from .changes import added_later, changed_before, gone, in_document
from .lives import name_of
from .record import HistoryRecord
from .recorded import one_of_several, recorded
from .unknown import unknown_text
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
    if removed := known.change or known.next_change:
        text += f" All jobs were removed at {clock(removed.at)}: it may have been one of them."
    if known.begins and not known.keeps_all:
        text += ' With history="problems", a job whose runs all went well leaves no record.'
    return Answer("no such job", text, "", at)


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
    if change is not None and change.kind in ("added", "changed"):
        verb = "changed" if change.kind == "changed" else "added again"
        text += f" It was {verb} at {clock(change.at)}, and may have had another trigger before."
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
