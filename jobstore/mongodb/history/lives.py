"""Which schedulers ran at a time, by records of starts and ends, and by presence."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from ..presence.scheduler import Scheduler
from .record import HistoryRecord

__all__ = ["Life", "lives", "name_of", "nobody_ran"]

BEAT = timedelta(seconds=5)  # the time between two writes of a presence


class Life(NamedTuple):
    """The time in which a scheduler ran.

    :ivar by: the id of its presence.
    :ivar name: ``<host>:<pid>``.
    :ivar since: its start, or its first sign of life.
    :ivar until: its end; None if it still runs.
    :ivar is_certain: whether it ended then. Else that was its last sign of life.
    """

    by: str
    name: str
    since: datetime
    until: datetime | None
    is_certain: bool


def name_of(by: str) -> str:
    """Return the name for people of a presence's id.

    >>> name_of("scheduler:web-1:4711:6749a1b2c3d4e5f601234567")
    'web-1:4711'
    """
    name = by.removeprefix("scheduler:").rpartition(":")[0]
    return (name or by or "a scheduler")[:200]


def lives(records: Iterable[HistoryRecord], schedulers: Iterable[Scheduler]) -> list[Life]:
    """Return the lives of the schedulers that fire, the earliest first; O(n log n)."""
    found: dict[str, Life] = {}
    for record in sorted(records, key=lambda each: each.at):
        life = found.get(record.by)
        if record.by and not (life and life.is_certain):
            since = life.since if life else record.at
            last_sign, is_end = record.until or record.at, record.kind == "stopped"
            found[record.by] = Life(record.by, name_of(record.by), since, last_sign, is_end)
    for scheduler in schedulers:
        if scheduler.seen is None or scheduler.state != "firing":
            continue
        by, life = scheduler.id, found.get(scheduler.id)
        since = scheduler.started or scheduler.seen
        since = min(since, life.since) if life else since
        until = None if scheduler.alive else scheduler.seen + BEAT
        found[by] = Life(by, scheduler.name, since, until, not scheduler.alive)
    return sorted(found.values(), key=lambda each: each.since)


def nobody_ran(known: list[Life], at: datetime) -> Life | None:
    """Return the scheduler that ended last before a time, if surely nobody ran then.

    None if somebody ran, or may have run.
    """
    earlier = [life for life in known if life.since <= at]
    if not all(life.is_certain and life.until is not None and life.until < at for life in earlier):
        return None
    return max(earlier, key=lambda life: life.until or life.since, default=None)
