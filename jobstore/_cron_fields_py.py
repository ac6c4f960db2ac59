"""The fields of a cron trigger as bit masks: which values of a date match, and the next that does.

Bit v of a mask stands for the value v.
"""

from calendar import monthrange
from datetime import datetime
from typing import Any

from apscheduler.triggers.cron import expressions, fields

__all__ = ["DAY", "FIELDS", "HOUR", "MINUTE", "MONTH", "WEEK", "WEEKDAY", "YEAR", "Schedule"]

# Places in a trigger's list of fields.
YEAR, MONTH, DAY, WEEK, WEEKDAY, HOUR, MINUTE, SECOND = range(8)
# Of each place: the field's exact class and name, its lowest and highest value.
FIELDS: tuple[tuple[type[Any], str, int, int], ...] = (
    (fields.BaseField, "year", 1970, 9999),
    (fields.MonthField, "month", 1, 12),
    (fields.DayOfMonthField, "day", 1, 31),
    (fields.WeekField, "week", 1, 53),
    (fields.DayOfWeekField, "day_of_week", 0, 6),
    (fields.BaseField, "hour", 0, 23),
    (fields.BaseField, "minute", 0, 59),
    (fields.BaseField, "second", 0, 59),
)
RANGES = (
    expressions.RangeExpression,
    expressions.MonthRangeExpression,
    expressions.WeekdayRangeExpression,
)
MAX_YEARS = 8


class UnknownFieldError(Exception):
    """A field or an expression that is not the stock trigger's own."""


def small_int(value: object) -> int:
    """Return an int of 0 to 9999.

    :raises UnknownFieldError: if the value is something else.
    """
    if type(value) is int and 0 <= value <= 9999:
        return value
    raise UnknownFieldError


def next_in(mask: int, value: int) -> int | None:
    """Return the lowest value in the mask that is not below this one."""
    mask = mask >> value << value
    return (mask & -mask).bit_length() - 1 if mask else None


class Schedule:
    """All fields of a trigger.

    :ivar known: False if the stock method has to decide for these fields.
    """

    __slots__ = "fields", "known", "last_day", "masks", "positions", "years"

    def __init__(self, given: list[Any]) -> None:
        self.fields = tuple(given)
        self.masks = [0] * len(FIELDS)
        self.last_day = False
        self.positions: list[tuple[int, int]] = []
        self.years: list[range] = []
        try:
            self.known = len(self.fields) == len(FIELDS)
            for place, field in enumerate(self.fields if self.known else ()):
                self._add_field(place, field)
        except (UnknownFieldError, AttributeError):
            self.known = False

    def is_of(self, given: list[Any]) -> bool:
        """Whether the list has the fields from which this was made."""
        return len(given) == len(self.fields) and all(
            one is other for one, other in zip(given, self.fields, strict=True)
        )

    def _add_field(self, place: int, field: Any) -> None:
        kind, name, _, _ = FIELDS[place]
        if type(field) is not kind or type(field.name) is not str or field.name != name:
            raise UnknownFieldError
        if type(field.expressions) is not list:
            raise UnknownFieldError
        for expression in tuple(field.expressions):
            self._add_expression(place, expression)

    def _add_expression(self, place: int, expression: Any) -> None:
        _, _, lowest, last = FIELDS[place]
        kind = type(expression)
        if kind is expressions.LastDayOfMonthExpression and place == DAY:
            self.last_day = True
            return
        if kind is expressions.WeekdayPositionExpression and place == DAY:
            option, weekday = small_int(expression.option_num), small_int(expression.weekday)
            if option > 5 or weekday > 6:
                raise UnknownFieldError
            self.positions.append((option, weekday))
            return
        if kind is expressions.AllExpression:
            first = lowest
        elif kind in RANGES:
            first = max(small_int(expression.first), lowest)
            if expression.last is not None:
                last = min(small_int(expression.last), last)
        else:
            raise UnknownFieldError
        step = 1 if expression.step is None else small_int(expression.step) or 1
        values = range(first, last + 1, step)
        if place != YEAR:
            for value in values:
                self.masks[place] |= 1 << value
        elif len(self.years) == MAX_YEARS:
            raise UnknownFieldError
        else:
            self.years.append(values)

    def _days(self, date: datetime) -> int:
        """Return the mask of the matching days in the month of the date."""
        first_weekday, length = monthrange(date.year, date.month)
        mask = self.masks[DAY]
        if self.last_day:
            mask |= 1 << length
        for option, weekday in self.positions:
            day = (weekday - first_weekday) % 7 + 1
            day += 7 * (option if option < 5 else (length - day) // 7)
            mask |= 1 << day
        return mask & ((2 << length) - 1)

    def next_value(self, place: int, date: datetime) -> tuple[int, int | None]:
        """Return the date's value at a place, and the next that matches: the same, later, or none.

        Weeks and weekdays are never set, so one that doesn't match has no next value here.
        """
        if place == YEAR:
            found = (
                year
                for years in self.years
                if (year := next((year for year in years if year >= date.year), None))
            )
            return date.year, min(found, default=None)
        if place == DAY:
            return date.day, next_in(self._days(date), date.day)
        if place in (WEEK, WEEKDAY):
            value = date.isocalendar()[1] if place == WEEK else date.weekday()
            return value, value if self.masks[place] >> value & 1 else None
        value = getattr(date, FIELDS[place][1])
        return value, next_in(self.masks[place], value)
