"""What the installed APScheduler adds to a date if the zone's offset changes meanwhile.

The stock `CronTrigger` increments a field by adding a difference of wall times: up to 3.10 to the
wall time, from 3.11 to the time in UTC. From 2 March 00:00 to 1 April 00:00, say, a zone with
summer time changes its offset. The second way then ends at 01:00.
"""

from datetime import datetime, timedelta, tzinfo
from typing import Any, Literal

from apscheduler.triggers.cron import CronTrigger

__all__ = ["ADDITION"]


class SummerTime(tzinfo):
    """UTC until 31 March 2024, 02:00; then an hour ahead."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        """Return the offset at a wall time."""
        is_summer = moment is not None and moment.replace(tzinfo=None) >= datetime(2024, 3, 31, 2)
        return timedelta(hours=is_summer)

    dst = utcoffset

    def tzname(self, moment: datetime | None) -> str:
        """Return a name: APScheduler asks for it."""
        return "summer"


def addition() -> Literal["wall", "utc", "unknown"]:
    """Let the stock class increment the month of a date, and see."""
    zone = SummerTime()
    trigger: Any = CronTrigger(timezone=zone)  # type: ignore[call-arg]
    try:
        date, field = trigger._increment_field_value(datetime(2024, 3, 2, tzinfo=zone), 1)
        found = date.replace(tzinfo=None), date.tzinfo, field
    except Exception:
        return "unknown"
    if found == (datetime(2024, 4, 1, 0), zone, 1):
        return "wall"
    return "utc" if found == (datetime(2024, 4, 1, 1), zone, 1) else "unknown"


ADDITION = addition()
