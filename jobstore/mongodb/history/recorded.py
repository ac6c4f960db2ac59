"""Answers by the records of the run itself."""

from collections.abc import Callable
from datetime import datetime

from .answer import RUN_KINDS, Answer, Evidence, clock, covers, is_same, length
from .causes import cause, source_of
from .changes import text_of
from .lives import name_of
from .record import JOB_KINDS, HistoryRecord

__all__ = ["recorded"]

LEFT_OUT = ("missed", "coalesced", "moved on")  # an outage is their cause
RAN = ("executed", "error")
LATE = 1.0  # seconds; a run that began later than this has a cause


def recorded(known: Evidence, at: datetime) -> Answer | None:
    """Answer by the records of the run: those that tell most come first."""
    of_run = [each for each in known.runs if is_same(each.run_time, at)]
    ran = [each for each in of_run if each.kind in RAN]
    if len(ran) > 1:
        return ran_again(known, ran, at)
    records = {each.kind: each for each in of_run}
    for kind in RECORDED:
        if kind in records:
            return by_record(known, records[kind], at)
    return None


def ran_again(known: Evidence, ran: list[HistoryRecord], at: datetime) -> Answer:
    """Answer for a run that has several records of its end: a run is at least once."""
    names = list(dict.fromkeys(name_of(each.by) for each in ran))
    if len(names) == 1:
        answer = by_record(known, ran[-1], at)
        text = f"{answer.text} It ran {len(ran)} times there."
        return answer._replace(text=text, evidence=tuple(ran))
    text = f"It ran on {', and on '.join(names[:5])}."
    source = ", and ".join(source_of(known, each) for each in ran[:5])
    return Answer("twice", text, source, at, tuple(ran))


def one_of_several(known: Evidence, at: datetime) -> Answer | None:
    """Answer by a record of several due runs, the time's run among them."""
    if known.run_time is None and not known.times.unknown:
        return None  # no run was due
    for record in reversed(known.runs):  # after a hold, the runs have records of their own
        if covers(record, at):
            answer = by_record(known, record, at)
            if known.run_time:
                return answer
            doubt = f"Whether one of them was due at {clock(at)} can't be told"
            return answer._replace(text=f"{answer.text} {doubt}: {known.times.unknown}.")
    return None


def by_record(known: Evidence, record: HistoryRecord, at: datetime) -> Answer:
    """Return the answer that a record gives, and what caused it, if other records show that."""
    kind, text = RECORDED[record.kind]
    answer = Answer(kind, text(known, record), source_of(known, record), at, (record,))
    is_late = record.kind in LEFT_OUT or (record.kind in RAN and began_late(record))
    reason = cause(known, at) if is_late else None
    if reason is None:
        return answer
    return Answer(
        reason.kind if record.kind in LEFT_OUT else kind,
        f"{reason.text} {answer.text}",
        f"{reason.source}, and {answer.source}",
        at,
        tuple(sorted((*reason.evidence, record), key=lambda each: each.at)),
    )


def lateness(record: HistoryRecord) -> float:
    """Return the seconds from the run time to the begin of the run, or to the record."""
    if record.run_time is None:
        return 0.0
    return (record.at - record.run_time).total_seconds() - (record.seconds or 0.0)


def began_late(record: HistoryRecord) -> bool:
    """Whether a run is known to have begun late: not if nobody knows how long it took."""
    return record.seconds is not None and lateness(record) >= LATE


def executed(known: Evidence, record: HistoryRecord) -> str:
    took = "" if record.seconds is None else f", took at most {length(record.seconds)}"
    return f"It ran on {name_of(record.by)}{took}, and ended at {clock(record.at)}.{begin(record)}"


def begin(record: HistoryRecord) -> str:
    return f" It began at least {length(lateness(record))} late." if began_late(record) else ""


def error(known: Evidence, record: HistoryRecord) -> str:
    who, text = name_of(record.by), record.detail.rstrip(".")
    return f"It ran on {who}, and raised at {clock(record.at)}: {text}.{begin(record)}"


def missed(known: Evidence, record: HistoryRecord) -> str:
    late, grace = lateness(record), known.job.misfire_grace_time if known.job else None
    limit = "misfire_grace_time"
    if grace is not None and known.next_change is None and late > grace:
        limit += f"={grace}"
    return (
        f"The run was left out on {name_of(record.by)}: it was {length(late)} late, "
        f"more than {limit} allows."
    )


def skipped(known: Evidence, record: HistoryRecord) -> str:
    limit = "max_instances"
    if known.job and known.job.max_instances and known.next_change is None:
        limit += f"={known.job.max_instances}"
    return f"The run was left out on {name_of(record.by)}: {limit} runs of the job were in flight."


def coalesced(known: Evidence, record: HistoryRecord) -> str:
    number = f"at least {record.runs:,}" if record.detail else f"{record.runs:,}"
    later = f"that of {clock(record.until)}" if record.until else "a later one"
    text = (
        f"The run was rolled into {later} on {name_of(record.by)}, as coalesce=True asks. "
        f"{number} due runs were left out at {clock(record.at)}."
    )
    kinds = {each.kind for each in known.later if is_same(each.run_time, record.until)}
    if kind := next((kind for kind in RECORDED if kind in kinds), None):
        text += f' The later run has the record "{kind}": {JOB_KINDS[kind]}.'
    return text


def refused(known: Evidence, record: HistoryRecord) -> str:
    text = f"The job stayed due on {name_of(record.by)}: its {record.detail}."
    if known.job and is_same(known.job.next_run_time, record.run_time):
        return text
    return f"{text} Later an executor took it, or a caller changed or removed the job."


def moved_on(known: Evidence, record: HistoryRecord) -> str:
    if record.until is None:
        outcome = "removed the job, as it has no later run time"
    else:
        outcome = f"gave the job the run time {clock(record.until)}"
    return f"{began_overdue(record)}, and {record.detail} {outcome}."


def held(known: Evidence, record: HistoryRecord) -> str:
    return f"{began_overdue(record)}, and {record.detail} held the job until its release."


def began_overdue(record: HistoryRecord) -> str:
    return (
        f"The run was overdue when {name_of(record.by)} began to fire jobs, at {clock(record.at)}"
    )


def quarantined(known: Evidence, record: HistoryRecord) -> str:
    return f"{name_of(record.by)} put the job into quarantine: {record.detail.rstrip('.')}."


def removed(known: Evidence, record: HistoryRecord) -> str:
    return text_of(record)


def double(known: Evidence, record: HistoryRecord) -> str:
    return f"It ran on {name_of(record.by)}, and on another scheduler, too{reason(record)}."


def lost(known: Evidence, record: HistoryRecord) -> str:
    return (
        f"{name_of(record.by)} had the run, but its write lost to a change by another process"
        f"{reason(record)}."
    )


def reason(record: HistoryRecord) -> str:
    return f": {record.detail}" if record.detail else ""


# By the kind of the record: the kind of the answer, and its text.
RECORDED: dict[str, tuple[str, Callable[[Evidence, HistoryRecord], str]]] = {
    "double": ("twice", double),
    "executed": ("ran", executed),
    "error": ("failed", error),
    "missed": ("misfired", missed),
    "skipped": ("skipped", skipped),
    "coalesced": ("coalesced", coalesced),
    "quarantined": ("quarantined", quarantined),
    "removed": ("removed", removed),
    "moved on": ("moved on", moved_on),
    "held": ("held", held),
    "refused": ("refused", refused),
    "lost": ("lost", lost),
}
assert RECORDED.keys() == RUN_KINDS
