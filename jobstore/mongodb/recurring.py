"""Tells jobs whose state changes in nothing but the run time, as long as nobody changes the job.

Such a job consists of immutable objects and of a trigger of APScheduler's that keeps no state.
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from types import MethodType
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.job import Job
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger as StockCronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from .._states import Slots
from ..triggers import CronTrigger

__all__ = ["Parts", "parts_of"]

Parts = tuple[Any, ...]
"""The objects that a job consists of, but for its run time: see `is_unchanged`."""

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
"""The types of arguments that nobody can change, and whose pickles run no code of users."""

MAX_TRIGGERS = 16  # of one job: the check of each costs time

FUNC, FUNC_REF, TRIGGER, ARGS, KWARGS = range(5)


def _slots(owner: type, names: Sequence[str]) -> Slots | None:
    """Return the slots of a class; None if the installed APScheduler has others."""
    try:
        return Slots(owner, names)
    except (AttributeError, TypeError):
        return None


JOB = _slots(
    Job,
    (
        *("func", "func_ref", "trigger", "args", "kwargs"),
        *("id", "executor", "name", "misfire_grace_time", "coalesce", "max_instances"),
    ),
)

# The types of what is in the slots of triggers; zones may have other types, too.
DATES = frozenset({type(None), int, float, date, datetime, time, timedelta, timezone, ZoneInfo})
CRON = ("fields", "timezone", "start_date", "end_date", "jitter")
FIELDS = frozenset(StockCronTrigger.FIELDS_MAP.values())  # the classes of a cron trigger's fields
COMBINED = ("triggers", "jitter")
COMBINING = (AndTrigger, OrTrigger)

# The slots of each class of triggers; a list comes first.
TRIGGERS = {
    DateTrigger: _slots(DateTrigger, ("run_date",)),
    IntervalTrigger: _slots(
        IntervalTrigger,
        ("timezone", "start_date", "end_date", "interval", "interval_length", "jitter"),
    ),
    StockCronTrigger: _slots(StockCronTrigger, CRON),
    CronTrigger: _slots(CronTrigger, CRON),
    AndTrigger: _slots(AndTrigger, COMBINED),
    OrTrigger: _slots(OrTrigger, COMBINED),
}
try:
    from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
except ImportError:  # before APScheduler 3.11
    pass
else:
    TRIGGERS[CalendarIntervalTrigger] = _slots(
        CalendarIntervalTrigger, CalendarIntervalTrigger.__slots__
    )


def parts_of(job: Job) -> Parts | None:
    """Return the parts of a just restored job, for `is_unchanged`.

    None is the answer if more than the run time may change, or if the job runs only once. Takes
    O(args + triggers), 2 µs for an interval trigger.
    """
    values = None if JOB is None else JOB.read(job)
    if values is None:
        return None
    args, kwargs = values[ARGS], values[KWARGS]
    if type(args) is not tuple or type(kwargs) is not dict or not values[FUNC_REF]:
        return None
    if type(values[TRIGGER]) is DateTrigger:
        return None  # the job runs once
    items = tuple([each for item in kwargs.items() for each in item]) if kwargs else ()
    if not ATOMS.issuperset(map(type, values[KWARGS + 1 :] + args + items)):
        return None
    func = values[FUNC]
    if type(func) is MethodType and not isinstance(func.__self__, type):
        return None  # its state has the method's object as the first argument
    parts = [JOB, values, kwargs, items]
    return tuple(parts) if _add_triggers(parts, [values[TRIGGER]]) else None


def _add_triggers(parts: list[Any], triggers: list[Any]) -> bool:
    """Add the parts of triggers, and of those that they combine; False if more may change."""
    for trigger in triggers:
        slots = TRIGGERS.get(type(trigger))
        values = None if slots is None else slots.read(trigger)
        if values is None or len(triggers) > MAX_TRIGGERS:
            return False
        listed, items = None, ()
        checked = values
        if type(values[0]) is list:
            listed, items, checked = values[0], tuple(values[0]), values[1:]
            if type(trigger) in COMBINING:
                triggers += items
            elif not FIELDS.issuperset(map(type, items)):
                return False
        if not DATES.issuperset(map(type, checked)):
            others = [each for each in checked if type(each) not in DATES]
            if not all(isinstance(each, tzinfo) for each in others):
                return False
        parts += (trigger, slots, values, listed, items)
    return True
