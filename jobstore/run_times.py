"""Run times as numbers: seconds since the epoch, of the years 1 to 9999 in UTC."""

from datetime import datetime, timezone
from typing import overload

from apscheduler.util import datetime_to_utc_timestamp

__all__ = ["END_OF_TIME", "MIN_TIME", "UnreadableError", "to_datetime"]

MIN_TIME = datetime_to_utc_timestamp(datetime.min)  # seconds; no datetime is earlier
END_OF_TIME = datetime_to_utc_timestamp(datetime.max.replace(microsecond=0)) + 1  # the year 10000


class UnreadableError(Exception):
    """Says why the job of a document can't be read or restored here."""


@overload
def to_datetime(value: float) -> datetime: ...


@overload
def to_datetime(value: object) -> datetime | None: ...


def to_datetime(value: object) -> datetime | None:
    """Convert a document's `next_run_time` to a datetime in UTC.

    :raises UnreadableError: if the value is no run time.
    """
    if type(value) is float and MIN_TIME <= value < END_OF_TIME:
        return datetime.fromtimestamp(value, timezone.utc)
    if value is None:
        return None
    if type(value) is not float and (not isinstance(value, int) or isinstance(value, bool)):
        raise UnreadableError(f"its next_run_time is a {type(value).__name__}: {value!r:.200}")
    if not MIN_TIME <= value < END_OF_TIME:
        raise UnreadableError(
            f"its next_run_time is {value!r:.200}, which is outside the years 1 to 9999"
        )
    return datetime.fromtimestamp(value, timezone.utc)
