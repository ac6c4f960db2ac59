"""Why nobody fired jobs at a time: the database was away, or no scheduler ran."""

from datetime import datetime, timedelta
from typing import NamedTuple

from .answer import Evidence, clock, covers, is_same, length
from .lives import lives, name_of, nobody_ran
from .record import HistoryRecord

__all__ = ["Cause", "cause", "source_of"]

NOTICED = timedelta(seconds=5)  # a command's time limit: an outage is noticed when one has failed


class Cause(NamedTuple):
    """Why nobody fired jobs; with the fields of an `Answer`."""

    kind: str
    text: str
    source: str
    evidence: tuple[HistoryRecord, ...]


def cause(known: Evidence, at: datetime) -> Cause | None:
    """Return why nobody fired jobs at a time; None if nothing shows that."""
    return outage(known, at) or no_scheduler(known, at)


def outage(known: Evidence, at: datetime) -> Cause | None:
    """Return an outage at that time, unless another scheduler was without one."""
    # Without a record, the run may have gone well just before the outage.
    is_sure = known.keeps_all or any(
        is_same(each.run_time, at) or covers(each, at) for each in known.runs
    )
    early = NOTICED if is_sure else timedelta(0)
    away = [each for each in known.incidents if each.kind == "away" and is_within(each, at, early)]
    if not away:
        return None
    without = {each.by for each in away}
    others = [each for each in known.incidents if each.by not in without]
    schedulers = [each for each in known.schedulers or () if each.id not in without]
    if any(
        life.since <= at and (life.until is None or life.until > at)
        for life in lives(others, schedulers)
    ):
        return None  # it fired the jobs, or had reasons of its own
    record = away[0]
    assert record.until is not None
    seconds = (record.until - record.at).total_seconds()
    return Cause(
        "database away",
        f"{name_of(record.by)} could not reach the database for {length(seconds)}, from "
        f"{clock(record.at)} to {clock(record.until)}.",
        source_of(known, record),
        (record,),
    )


def is_within(record: HistoryRecord, at: datetime, early: timedelta) -> bool:
    return record.until is not None and record.at <= at + early and at <= record.until


def no_scheduler(known: Evidence, at: datetime) -> Cause | None:
    """Return that no scheduler ran, if the records and the presence are sure of it."""
    if known.schedulers is None or not known.is_readable or not known.has_all_incidents:
        return None
    all_lives = lives(known.incidents, known.schedulers)
    last = nobody_ran(all_lives, at)
    if last is None or last.until is None:
        return None
    following = next((life for life in all_lives if life.since > at), None)
    records = tuple(
        each
        for each in known.incidents
        if (each.by == last.by and each.at == last.until)
        or (following and each.by == following.by and each.at == following.since)
    )
    text = f"No scheduler ran at {clock(at)}: {last.name} ended at {clock(last.until)}"
    if following:
        text += f", and {following.name} started at {clock(following.since)}"
    text += ". One that keeps no history would have left no record"
    if records:
        source = ", and ".join(source_of(known, each) for each in records)
    else:
        source = f"the presence of {last.name} in {known.collection}_meta"
    return Cause("no scheduler", f"{text}.", source, records)


def source_of(known: Evidence, record: HistoryRecord) -> str:
    """Name a record."""
    return f'record "{record.kind}" of {clock(record.at)} in {known.collection}_runs'
