"""Times as texts, for a person or a program."""

from datetime import datetime

from .printable import printable

__all__ = ["absolute", "iso", "relative"]

UNITS = [("y", 365 * 86_400), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)]


def absolute(time: datetime | None) -> str:
    """Return a time to the second, without its zone, which is UTC.

    >>> absolute(datetime(2026, 11, 29, 12, 30, tzinfo=timezone.utc))
    '2026-11-29 12:30:00'
    """
    return "-" if time is None else time.replace(tzinfo=None).isoformat(" ", "seconds")


def iso(value: object) -> str:
    """Return a time in ISO 8601; other values, which other programs may have stored, as a text."""
    if isinstance(value, datetime):
        return value.isoformat()
    return "-" if value is None else printable(value)


def relative(time: datetime | None, now: datetime) -> str:
    """Return the time from now, in its largest unit.

    >>> relative(now + timedelta(minutes=5), now)
    'in 5m'
    >>> relative(now - timedelta(hours=30), now)
    '1d ago'
    """
    if time is None:
        return "-"
    seconds = (time - now).total_seconds()
    size = abs(int(seconds))
    unit, length = next((each for each in UNITS if size >= each[1]), UNITS[-1])
    text = f"{size // length}{unit}"
    return f"{text} ago" if seconds < 0 else f"in {text}"
