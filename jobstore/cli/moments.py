"""Times that a user gives: a time of day, a date and time, or a duration before now."""

import re
from datetime import datetime, time, timedelta, timezone

import typer

from ..where import in_utc
from .options import DURATION, duration

__all__ = ["moment"]

TIME_OF_DAY = re.compile(r"\d\d:\d\d.*", re.ASCII)


def moment(text: str, now: datetime | None = None) -> datetime:
    """Convert a text to a time; one without a zone is in UTC, as in all output.

    A time of day is the last one that is over, today or yesterday. A duration counts back from now.

    >>> moment("12:00", datetime(2026, 11, 29, 15, 30, tzinfo=timezone.utc))
    datetime.datetime(2026, 11, 29, 12, 0, tzinfo=datetime.timezone.utc)

    :raises typer.BadParameter: if it is no time.
    """
    now = now or datetime.now(timezone.utc)
    try:
        if DURATION.fullmatch(text):
            return now - duration(text)
        if TIME_OF_DAY.fullmatch(text):
            return last_over(time.fromisoformat(in_digits(text)), now)
        found = datetime.fromisoformat(in_digits(text))
        return in_utc(found).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no time such as 12:00, 12:00:30, 2026-11-29T12:00, "
            "2026-11-29T12:00+01:00, or 5m for five minutes ago"
        ) from None


def in_digits(text: str) -> str:
    """Replace the zone "Z", which Python 3.10 doesn't read, or "UTC", as answers have it."""
    return re.sub("([Zz]| UTC)$", "+00:00", text)


def last_over(of_day: time, now: datetime) -> datetime:
    """Return the last time of day that is over."""
    zone = of_day.tzinfo or timezone.utc
    found = datetime.combine(now.astimezone(zone).date(), of_day.replace(tzinfo=zone))
    over = found if found <= now else found - timedelta(days=1)
    return over.astimezone(timezone.utc)
