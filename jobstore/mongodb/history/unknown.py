"""What is missing for an answer."""

from datetime import datetime

from .answer import INACTIVE, Evidence, clock
from .changes import text_of

__all__ = ["unknown_text"]


def unknown_text(known: Evidence, at: datetime) -> str:
    """Say what is missing for an answer."""
    begin = f"The run of {clock(at)} has no record"
    if known.run_time is None:
        reason = known.times.unknown or "the job is not stored"
        if at > known.now:
            return f"Whether the job is due at {clock(at)} can't be told yet: {reason}."
        begin = f"Whether the job was due at {clock(at)} can't be told: {reason}. It has no record"
    return begin + (no_records(known, at) or by_changes(known, at) or by_kinds(known))


def no_records(known: Evidence, at: datetime) -> str:
    """Say why there are no records of that time; an empty text if there may be some."""
    if not known.is_readable:
        return f" that can be read: this user lacks the right to read {known.collection}_runs."
    if known.begins is None:
        return ": no scheduler keeps a history. MongoDBJobStore(history=...) does."
    if known.begins > at:
        return f": the history begins at {clock(known.begins)}."
    if dropped := sum(each.runs for each in known.incidents if each.kind == "dropped"):
        return f": {dropped} records around that time were dropped, as the buffer was full."
    return ""


def by_changes(known: Evidence, at: datetime) -> str:
    """Say which changes make the answer uncertain; an empty text if none does."""
    change, following = known.change, known.next_change
    sentences = []
    if change and change.kind in INACTIVE and change.at <= at and not known.ran_since:
        sentences.append(f"{text_of(change)} No record says until when.")
        if not known.keeps_all:
            sentences.append('With history="problems", resumptions and additions have none.')
    if following and following.kind == "changed":
        when = clock(following.at)
        sentences.append(f"The job was changed at {when}, and may have had other times before.")
    if following and following.job_id is None:
        sentences.append(text_of(following))
    return f". {' '.join(sentences)}" if sentences else ""


def by_kinds(known: Evidence) -> str:
    """Say which runs have no records."""
    if not known.keeps_all:
        return ' of a problem, so it probably ran. history="all" also records such runs.'
    return (
        ": it may be in flight still, its process may have ended in it, or its scheduler keeps no "
        "history."
    )
