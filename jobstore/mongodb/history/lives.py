"""Which schedulers ran at a time, by records of starts and ends, and by presence."""

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from ..presence.presence import BEAT_SECONDS
from ..presence.scheduler import Scheduler
from .record import HistoryRecord, history_text

__all__ = ["Life", "keep_all", "lives", "name_of", "nobody_ran"]

BEAT = timedelta(seconds=BEAT_SECONDS)
LAST = datetime.max.replace(tzinfo=timezone.utc) - BEAT  # anybody may have written any time
UNKNOWN = datetime.min.replace(tzinfo=timezone.utc)
BEGINS = "started", "took over"
ENDS = "stopped", "ended", "lost firing"
FIRED = "firing", "paused"  # states of a presence that fires jobs, or did so before its pause
OF_STANDBYS = "took over", "lost firing"


class Life(NamedTuple):
    """A time in which a scheduler fired jobs.

    :ivar by: the id of its presence.
    :ivar name: ``<host>:<pid>``.
    :ivar since: when it began; the year 1 if that is not known.
    :ivar until: its end; None if it still fires jobs.
    :ivar is_certain: whether it ended then. Else that was its last sign of life.
    """

    by: str
    name: str
    since: datetime
    until: datetime | None
    is_certain: bool

    def may_have_run(self, at: datetime) -> bool:
        """Whether the scheduler fired jobs at a time, as far as anybody knows."""
        is_over = self.is_certain and self.until is not None and self.until < at
        return self.since <= at and not is_over


def name_of(by: str) -> str:
    """Return the name for people of a presence's id.

    >>> name_of("scheduler:web-1:4711:6749a1b2c3d4e5f601234567")
    'web-1:4711'
    """
    name = by.removeprefix("scheduler:").rpartition(":")[0]
    return (name or by or "a scheduler")[:200]


def lives(records: Iterable[HistoryRecord], schedulers: Iterable[Scheduler]) -> list[Life]:
    """Return the times in which schedulers fired jobs, the earliest first; O(n log n).

    A hot standby fires jobs from its takeover on.
    """
    ordered = sorted(records, key=lambda each: each.at)
    present = list(schedulers)
    standbys = {each.by for each in ordered if each.kind in OF_STANDBYS}
    standbys |= {each.id for each in present if each.others == "wait"}
    ended, current, last_ends = [], dict[str, Life](), dict[str, datetime]()
    for record in ordered:
        by, begins = record.by, record.kind in BEGINS
        if not by or (by in standbys and by not in current and record.kind != "took over"):
            continue
        life = current.pop(by, None)
        # One that stood still, and counted as ended, may have gone on since then.
        since = life.since if life else record.at if begins else last_ends.get(by, UNKNOWN)
        last_sign, is_end = record.until or record.at, record.kind in ENDS
        life = Life(by, name_of(by), since, last_sign, is_end)
        if is_end:
            ended.append(life)
            last_ends[by] = last_sign
        else:
            current[by] = life
    for scheduler in present:
        if scheduler.state not in FIRED or scheduler.seen is None:
            continue
        by = scheduler.id
        known = current.get(by)
        since = known.since if known else scheduler.started or UNKNOWN
        until = None if scheduler.alive else min(scheduler.seen, LAST) + BEAT
        current[by] = Life(by, scheduler.name, since, until, not scheduler.alive)
    return sorted([*ended, *current.values()], key=lambda each: each.since)


def keep_all(
    records: Iterable[HistoryRecord], schedulers: Iterable[Scheduler], at: datetime
) -> bool:
    """Whether all schedulers that may have run at a time record all runs; False if none is known.

    If none ran then, all that are known count.
    """
    records, schedulers = list(records), list(schedulers)
    kept = {each.by: each.detail for each in records if each.kind == "started"}
    kept |= {each.id: history_text(each.history) for each in schedulers if each.state in FIRED}
    then = {life.by for life in lives(records, schedulers) if life.may_have_run(at)} & kept.keys()
    return {kept[by] for by in then or kept} == {history_text("all")}


def nobody_ran(known: list[Life], at: datetime) -> Life | None:
    """Return the scheduler that ended last before a time, if surely nobody ran then.

    None if somebody ran, or may have run.
    """
    earlier = [life for life in known if life.since <= at]
    if any(life.may_have_run(at) for life in earlier):
        return None
    return max(earlier, key=lambda life: life.until or life.since, default=None)
