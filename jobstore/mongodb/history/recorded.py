"""Answers by the records of the run itself."""

from collections.abc import Callable
from datetime import datetime

from .answer import OF_SEVERAL, RUN_KINDS, Answer, Evidence, clock, is_same
from .causes import cause, source_of
from .lives import name_of
from .record import HistoryRecord

__all__ = ["recorded"]

LEFT_OUT = ("missed", "coalesced", "moved on")  # an outage is their cause
RAN = ("executed", "error")
LATE = 1.0  # seconds; a run that began later than this has a cause


def recorded(known: Evidence, at: datetime) -> Answer | None:
    """Answer by the records of the run: those that tell most come first."""
    records = {each.kind: each for each in known.runs if is_same(each.run_time, at)}
    for kind in RECORDED:
        if kind in records:
            return by_record(known, records[kind], at)
    return None


def one_of_several(known: Evidence, at: datetime) -> Answer | None:
    """Answer by a record of several due runs, the time's run among them."""
    if known.run_time is None and not known.times.unknown:
        return None  # no run was due
    for record in reversed(known.runs):  # after a hold, the runs have records of their own
        if record.kind in OF_SEVERAL and record.run_time is not None:
            end = record.until or record.at
            if record.run_time <= at < end and (record.kind != "skipped" or record.runs > 1):
                return by_record(known, record, at)
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
    took = "" if record.seconds is None else f", took {record.seconds:.3g} s"
    return f"It ran on {name_of(record.by)}{took}, and ended at {clock(record.at)}.{begin(record)}"


def begin(record: HistoryRecord) -> str:
    return f" It began {lateness(record):,.3g} s late." if began_late(record) else ""


def error(known: Evidence, record: HistoryRecord) -> str:
    who = name_of(record.by)
    return f"It ran on {who}, and raised at {clock(record.at)}: {record.detail}.{begin(record)}"


def missed(known: Evidence, record: HistoryRecord) -> str:
    grace = known.job.misfire_grace_time if known.job else None
    limit = "misfire_grace_time" if grace is None else f"misfire_grace_time={grace}"
    return (
        f"The run was left out on {name_of(record.by)}: it was {lateness(record):,.3g} s late, "
        f"more than {limit} allows."
    )


def skipped(known: Evidence, record: HistoryRecord) -> str:
    number = known.job.max_instances if known.job else None
    limit = "max_instances" if number is None else f"max_instances={number}"
    return f"The run was left out on {name_of(record.by)}: {limit} runs of the job were in flight."


def coalesced(known: Evidence, record: HistoryRecord) -> str:
    number = f"at least {record.runs:,}" if record.detail else f"{record.runs:,}"
    return (
        f"The run was rolled into a later one on {name_of(record.by)}, as coalesce=True asks. "
        f"{number} due runs were left out at {clock(record.at)}."
    )


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
    return f"{name_of(record.by)} put the job into quarantine: {record.detail}."


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
    "moved on": ("moved on", moved_on),
    "held": ("held", held),
    "refused": ("refused", refused),
    "lost": ("lost", lost),
}
assert RECORDED.keys() == RUN_KINDS
