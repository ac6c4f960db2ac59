"""`next_fire_time` in readable Python: the compiled search's twin, its oracle, its documentation.

It gives the same results and errors as `ext/_cron_c.pyx`, and leaves the same cases to the stock
method. The search (`_cron_search_py.py`) changes integers where the stock trigger makes datetimes
and asks their zone. The stock method decides everything unusual: other classes of datetimes, zones
or fields, dates in a gap or in a second occurrence, and triggers whose last year has passed.
"""

from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger as StockCronTrigger

from ._cron_fields_py import Schedule
from ._cron_search_py import StockDecidesError, from_utc, next_date, offset_at

__all__ = ["adopt", "next_fire_time"]

SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)

adopted: list[type] = []
remembered: tuple[tuple[object, ...], datetime | None] = ((), None)


def adopt(trigger: type) -> None:
    """Prepare `next_fire_time` for instances of exactly this class."""
    adopted[:] = [trigger]


def next_fire_time(self: Any, previous_fire_time: Any, now: Any) -> Any:
    """Return the next time, as APScheduler's method of this name does.

    A scheduler asks twice in a cycle: for the run times of a due job, and for its next run time.
    The second time, a call with the very same objects gets the first one's answer.
    """
    try:
        end_date, jitter = self.end_date, self.jitter
        found = search(self, previous_fire_time, now, end_date, jitter)
    except (StockDecidesError, AttributeError, OverflowError):
        pass
    else:
        if jitter is None or found is None:
            return found
        later = self._apply_jitter(found, jitter, now)
        return later if end_date is None else min(later, end_date)
    return StockCronTrigger.get_next_fire_time(self, previous_fire_time, now)


def search(self: Any, previous: Any, now: Any, end_date: Any, jitter: Any) -> datetime | None:
    """Find the next time without jitter, or remember it.

    :raises StockDecidesError: if the stock method decides; so say the other errors, too.
    """
    global remembered
    if type(self) not in adopted:
        raise StockDecidesError
    zone, start_date = self.timezone, self.start_date
    schedule = schedule_of(self, self.fields)
    asked = schedule, zone, start_date, end_date, previous, now
    last_asked, answer = remembered
    if jitter is None and is_same(asked, last_asked):
        return answer
    check_zone(zone)
    end = last_date(zone, end_date)
    date = next_date(schedule, zone, end, first_date(zone, previous, now, start_date))
    found = None if date is None else date.replace(tzinfo=zone)
    if jitter is None:
        remembered = asked, found
    return found


def is_same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Whether two tuples have the very same objects."""
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def schedule_of(trigger: Any, fields: Any) -> Schedule:
    """Return the schedule of the trigger's fields, made when they are new."""
    if type(fields) is not list:
        raise StockDecidesError
    schedule = getattr(trigger, "_schedule", None)
    if type(schedule) is not Schedule or not schedule.is_of(fields):
        schedule = trigger._schedule = Schedule(fields)
    if not schedule.known:
        raise StockDecidesError
    return schedule


def check_zone(zone: Any) -> None:
    """Check that a zone is one that never changes its answers."""
    if type(zone) is timezone:
        if zone.utcoffset(None).microseconds:
            raise StockDecidesError
    elif type(zone) is not ZoneInfo:
        raise StockDecidesError


class Moment:
    """A datetime and its offset from UTC. The zone's answers are for whole seconds."""

    __slots__ = "offset", "second", "wall", "zone"

    def __init__(self, given: Any) -> None:
        if type(given) is not datetime or given.fold:
            raise StockDecidesError
        check_zone(given.tzinfo)
        self.zone: tzinfo = given.tzinfo  # type: ignore[assignment]
        self.wall = given.replace(tzinfo=None)
        self.second = self.wall.replace(microsecond=0)
        self.offset = offset_at(self.zone, self.second)

    def order(self, other: "Moment") -> int:
        """Return -1, 0 or 1 as this is before, at or after the other.

        APScheduler 3.10 compares datetimes of one zone by their wall times, 3.11 in UTC.

        :raises StockDecidesError: if the two disagree.
        """
        apart, offsets = self.wall - other.wall, self.offset - other.offset
        sign = (apart > offsets) - (apart < offsets)
        nothing = timedelta()
        if self.zone is other.zone and sign != (apart > nothing) - (apart < nothing):
            raise StockDecidesError
        return sign


def first_date(zone: tzinfo, previous: Any, now: Any, start_date: Any) -> datetime:
    """Find where the search starts, rounded up to a second."""
    chosen = current = Moment(now)
    if previous is not None:
        earlier = Moment(previous)
        if current.order(earlier) >= 0:
            chosen = earlier
            chosen.wall += MICROSECOND
            # Equal times of two zones need not be equal datetimes: not so in a fold.
            if current.order(earlier) <= 0 and not current.zone is earlier.zone is zone:
                raise StockDecidesError
    elif start_date is not None:
        start = Moment(start_date)
        sign = current.order(start)
        if sign == 0 and current.zone is not start.zone:
            raise StockDecidesError
        if sign < 0:
            chosen = start
    date = chosen.second
    is_rounded = chosen.wall != date
    if is_rounded:
        date += SECOND
        if offset_at(chosen.zone, date) != chosen.offset:
            raise StockDecidesError
    if chosen.zone is not zone:
        utc = date - chosen.offset
        date = from_utc(zone, utc)
        offset = offset_at(zone, date)
        if date - offset != utc or (is_rounded and offset_at(zone, date - SECOND) != offset):
            raise StockDecidesError
    return date


def last_date(zone: tzinfo, end_date: Any) -> datetime | None:
    """Find the end as a wall time of the zone."""
    if end_date is None:
        return None
    if type(end_date) is not datetime:
        raise StockDecidesError
    wall = end_date.replace(tzinfo=None)
    if end_date.tzinfo is zone:
        return wall
    if type(zone) is not timezone or type(end_date.tzinfo) is not timezone:
        raise StockDecidesError
    check_zone(end_date.tzinfo)
    return wall - end_date.tzinfo.utcoffset(None) + zone.utcoffset(None)
