"""The search for the next date that a schedule matches, by the steps of the stock trigger.

A date here is a wall time without a zone. It is *regular* in a zone if it stays the same, with
fold 0, when it is converted to UTC and back: it is neither in a gap nor a second occurrence.
"""

from calendar import monthrange
from datetime import datetime, timedelta, tzinfo

from ._cron_addition import ADDITION
from ._cron_fields_py import DAY, FIELDS, HOUR, MINUTE, MONTH, WEEK, YEAR, Schedule

__all__ = ["StockDecidesError", "from_utc", "next_date", "offset_at"]

# Dates between these two can be converted to UTC and back: no offset is longer than a day.
FIRST, LAST = datetime(1970, 1, 3), datetime(9999, 12, 30)
MAX_STEPS = 1_000_000  # then the stock trigger searches
# The field to increment if nothing matches at a place. Weeks and weekdays change by days.
BACK = (None, YEAR, MONTH, DAY, DAY, DAY, HOUR, MINUTE)


class StockDecidesError(Exception):
    """The stock method decides this case."""


def offset_at(zone: tzinfo, wall: datetime) -> timedelta:
    """Return the offset from UTC at a regular date.

    :raises StockDecidesError: if the date is not regular.
    """
    if not FIRST <= wall <= LAST:
        raise StockDecidesError
    offset = zone.utcoffset(wall.replace(tzinfo=zone))
    if offset is None or offset.microseconds or abs(offset) >= timedelta(days=1):
        raise StockDecidesError
    if from_utc(zone, wall - offset) != wall:
        raise StockDecidesError
    return offset


def from_utc(zone: tzinfo, utc: datetime) -> datetime:
    """Convert a time in UTC to a wall time.

    :raises StockDecidesError: if its fold is 1.
    """
    converted = zone.fromutc(utc.replace(tzinfo=zone))
    if converted.fold:
        raise StockDecidesError
    return converted.replace(tzinfo=None)


def with_value(date: datetime, place: int, value: int) -> datetime:
    """Set the value at a place, and all after it to their lowest values."""
    values = [date.year, date.month, date.day, 0, 0, date.hour, date.minute, date.second]
    values[place] = value
    for later in range(place + 1, len(FIELDS)):
        values[later] = FIELDS[later][2]
    return datetime(*values[:WEEK], *values[HOUR:])  # type: ignore[arg-type]


def incremented(date: datetime, place: int | None) -> tuple[datetime, int]:
    """Increment the value at a place, or before it if it is the highest. Return that place, too.

    :raises StockDecidesError: if no year is left.
    """
    if place == MINUTE and date.minute < 59:
        return with_value(date, MINUTE, date.minute + 1), MINUTE
    if place in (MINUTE, HOUR) and date.hour < 23:
        return with_value(date, HOUR, date.hour + 1), HOUR
    if place in (MINUTE, HOUR, DAY) and date.day < monthrange(date.year, date.month)[1]:
        return with_value(date, DAY, date.day + 1), DAY
    if place not in (None, YEAR) and date.month < 12:
        return with_value(date, MONTH, date.month + 1), MONTH
    if place is None or date.year == 9999:
        raise StockDecidesError
    return with_value(date, YEAR, date.year + 1), YEAR


def next_date(
    schedule: Schedule, zone: tzinfo, end: datetime | None, date: datetime
) -> datetime | None:
    """Return the first matching date, not before this one. None if it is after the end.

    :raises StockDecidesError: if the stock method has to search.
    """
    place, offset = YEAR, offset_at(zone, date)
    for _ in range(MAX_STEPS):
        if end is not None and date > end:
            return None
        if place == len(FIELDS):
            return date
        value, next_value = schedule.next_value(place, date)
        if next_value == value:
            place += 1
        elif next_value is not None:
            date = with_value(date, place, next_value)
            offset = offset_at(zone, date)
            place += 1
        else:
            date, place = incremented(date, BACK[place])
            before, offset = offset, offset_at(zone, date)
            if offset != before and ADDITION != "wall":
                date, offset = added_in_utc(zone, date - before)
    raise StockDecidesError


def added_in_utc(zone: tzinfo, utc: datetime) -> tuple[datetime, timedelta]:
    """Go to the date that the stock trigger reaches if it adds in UTC, over a change of offset."""
    if ADDITION != "utc" or not FIRST <= utc <= LAST:
        raise StockDecidesError
    date = from_utc(zone, utc)
    offset = offset_at(zone, date)
    if date - offset != utc:
        raise StockDecidesError
    return date, offset
