"""The fire times of a job's trigger, made from inert values: nothing of the job's pickle is run."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from .about import kind_of
from .inert.plain import Zoned, args_of, class_of, named, plain, state_of, zone_key
from .inert.triggers import expression_text, kind_of_trigger
from .inert.values import Inert, Pairs, text_keys
from .run_times import UnreadableError
from .triggers import CronTrigger

__all__ = ["FireTimes", "First", "NextRun", "around", "firing", "never", "put_forward"]

First = Callable[[datetime], datetime | None]  # the first fire time at or after a moment

FIELDS = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")
MAX_EXPRESSIONS = 100  # in a field of a cron trigger
MAX_TRIGGERS = 20  # that "or" combines
ZONE = re.compile(r"[A-Za-z][\w+-]*(/[\w+-]+){0,3}", re.ASCII)  # keys of the time zone database
UTC_CLASSES = {("pytz", "_UTC"), ("dateutil.tz.tz", "tzutc")}
# How far back the time before a moment is looked for: leap days are up to eight years apart.
SPANS = [timedelta(minutes=1), timedelta(hours=2), timedelta(days=32), timedelta(days=8 * 366)]
NEAR = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)
LONGEST_GAP = timedelta(hours=2)  # by which clocks are put forward


class NextRun(NamedTuple):
    """The next run time that a job had.

    :ivar since: from when on the job had it.
    """

    since: datetime
    run_time: datetime


class FireTimes(NamedTuple):
    """The fire times around a moment.

    :ivar before: the last one before the moment, None if there is none in eight years.
    :ivar after: the first one at or after the moment, None if there is none.
    :ivar unknown: why the times of the trigger can't be told; empty if they are known.
    :ivar next_run: the next run time that the job had at the moment, if that is known: there is no
        fire time before it, whatever the trigger says.
    """

    before: datetime | None = None
    after: datetime | None = None
    unknown: str = ""
    next_run: NextRun | None = None


def around(first: First, at: datetime, known: Iterable[NextRun] = ()) -> FireTimes:
    """Return the fire times around a moment, in UTC; about 40 calls of `first`.

    :param known: run times that the job had, or has. A caller may have set them, so they need not
        be times of its trigger.
    """
    current = None
    for each in known:
        first = with_next(first, each)
        if each.since < at < each.run_time:
            current = each
    return FireTimes(last_before(first, at), first(at), "", current)


def with_next(first: First, known: NextRun) -> First:
    """Add a run time to those of a trigger, and leave out those between its `since` and it."""
    since, run_time = known

    def with_it(at: datetime) -> datetime | None:
        time = first(at)
        if at > run_time or (time is not None and time <= min(since, run_time)):
            return time
        return run_time

    return with_it


def never(at: datetime) -> None:
    """Stand for the fire times of a trigger that can't be computed."""


def last_before(first: First, at: datetime) -> datetime | None:
    """Return the last fire time before a moment: bisect for the latest start that finds one."""
    for span in SPANS:
        try:
            early, late = at - span, at
        except OverflowError:
            return None
        if not is_before(first(early), at):
            continue
        while late - early > NEAR:
            middle = early + (late - early) / 2
            if is_before(first(middle), at):
                early = middle
            else:
                late = middle
        return first(early)
    return None


def is_before(time: datetime | None, at: datetime) -> bool:
    return time is not None and time < at


def firing(trigger: Any, anchor: datetime | None = None) -> First:
    """Return the fire times of an inert trigger, as a function.

    Known are ``date``, ``interval`` and ``cron``, and ``or`` of these, without jitter, in zones of
    Python and pytz. Across a change of the clocks, APScheduler 3.10 may fire an hour earlier or
    later.

    :param anchor: a run time of the job, in UTC: intervals are counted from it. None counts them
        from the trigger's start.
    :raises UnreadableError: if the times can't be told; says why.
    """
    kind = kind_of_trigger(trigger)
    if kind is None:
        raise UnreadableError("its trigger is no object of a class")
    return firing_of(kind, trigger.state, anchor, 0)


def firing_of(kind: str, state: Any, anchor: datetime | None, depth: int) -> First:
    if type(state) is tuple and len(state) == 2:  # APScheduler 3.0 wrote that
        state = state[1]
    if type(state) is Pairs:
        state = text_keys(state)
    if kind not in MAKERS or type(state) is not dict or depth > 2:
        raise UnreadableError(f"the times of its trigger {kind:.100} can't be computed here")
    if state.get("jitter"):
        raise UnreadableError("its trigger has jitter, so its times are random")
    try:
        return MAKERS[kind](state, anchor, depth)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, OSError):
        raise UnreadableError(f"its trigger {kind} has parts that can't be read here") from None


def date_times(state: dict[str, Any], anchor: datetime | None, depth: int) -> First:
    run_date = moment(state["run_date"])
    if run_date is None:
        raise TypeError
    return lambda at: run_date if run_date >= at else None


def interval_times(state: dict[str, Any], anchor: datetime | None, depth: int) -> First:
    interval, start, end = plain(state["interval"]), *limits(state)
    if type(interval) is not timedelta or interval <= timedelta(0):
        raise TypeError
    base = anchor or start
    if base is None:
        raise TypeError
    # After a run, APScheduler adds the interval to its time, also if the start comes later.
    earliest = base if start is None else min(base, start)

    def first(at: datetime) -> datetime | None:
        if start is not None:
            at = max(at, earliest)
        try:
            time = base - (base - at) // interval * interval
        except OverflowError:
            return None
        return time if end is None or time <= end else None

    return first


def cron_times(state: dict[str, Any], anchor: datetime | None, depth: int) -> First:
    texts: dict[str, Any] = {}
    for field in state["fields"]:
        parts = state_of(field)
        name, expressions = parts["name"], parts["expressions"]
        if name not in FIELDS or name in texts or not 0 < len(expressions) <= MAX_EXPRESSIONS:
            raise ValueError
        texts[name] = ",".join(map(expression_text, expressions))
    texts["start_date"], texts["end_date"] = limits(state)
    zone = texts["timezone"] = zone_of(state["timezone"])
    trigger = CronTrigger(**texts)

    def first_from(start: datetime) -> datetime | None:
        time = trigger.get_next_fire_time(None, start)
        return None if time is None else time.astimezone(timezone.utc)

    def first(at: datetime) -> datetime | None:
        try:
            change = put_forward(at, zone)
            if change is not None:  # the trigger also fires once at a wall time that was skipped
                skipped = first_from((change - SECOND).astimezone(zone) + SECOND)
                if skipped is not None and at <= skipped < change + LONGEST_GAP:
                    return skipped
            return first_from(at)
        except (OverflowError, ValueError):
            return None

    return first


def put_forward(at: datetime, zone: tzinfo) -> datetime | None:
    """Return when the clocks of a zone were put forward, if that was less than 2 hours ago."""
    late = at.astimezone(timezone.utc).replace(microsecond=0)
    early = late - LONGEST_GAP
    offset = early.astimezone(zone).utcoffset()
    current = late.astimezone(zone).utcoffset()
    if offset is None or current is None or offset >= current:
        return None
    while late - early > SECOND:
        middle = early + (late - early) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            early = middle
        else:
            late = middle
    return late


def or_times(state: dict[str, Any], anchor: datetime | None, depth: int) -> First:
    triggers = state["triggers"]
    if not 0 < len(triggers) <= MAX_TRIGGERS:
        raise ValueError
    parts = []
    for reference, each in triggers:
        module, _, name = reference.partition(":")
        # An anchor is a time of one of the triggers, nobody knows of which.
        parts.append(firing_of(kind_of(module, name), each, None, depth + 1))

    def first(at: datetime) -> datetime | None:
        times = [time for part in parts if (time := part(at)) is not None]
        return min(times, default=None)

    return first


MAKERS: dict[str, Callable[[dict[str, Any], datetime | None, int], First]] = {
    "cron": cron_times,
    "date": date_times,
    "interval": interval_times,
    "or": or_times,
}


def limits(state: dict[str, Any]) -> tuple[datetime | None, datetime | None]:
    return moment(state["start_date"]), moment(state["end_date"])


def moment(value: Any) -> datetime | None:
    """Return a time in UTC of an inert one.

    :raises TypeError: if it is neither a time in a known zone, nor None.
    """
    value = plain(value)
    if value is None:
        return None
    if type(value) is Zoned:
        offset = pytz_offset(value.zone)
        zone = zone_of(value.zone) if offset is None else timezone(timedelta(seconds=offset))
        value = value.wall_time.replace(tzinfo=zone)
    if type(value) is not datetime or value.tzinfo is None:
        raise TypeError
    return value.astimezone(timezone.utc)


def zone_of(value: Any) -> tzinfo:
    """Return the zone that an inert one stands for, by its name.

    :raises TypeError: if it is of another kind.
    :raises ValueError: if this machine doesn't know the name.
    """
    value = plain(value)
    if type(value) is timezone:
        return value
    key = zone_key(value) or pytz_key(value)
    if key is not None and ZONE.fullmatch(key):
        return ZoneInfo(key)  # of Python's own database, as text
    cls = class_of(value) if type(value) is Inert else None
    if cls is not None and named(cls) in UTC_CLASSES:
        return timezone.utc
    if cls is not None and named(cls) == ("pytz", "FixedOffset"):
        return timezone(timedelta(minutes=args_of(value)[0]))
    raise TypeError


def pytz_key(value: Any) -> str | None:
    """Return the name of an inert zone of pytz; None if it is another object."""
    args = pytz_args(value)
    return args[0] if args and type(args[0]) is str else None


def pytz_offset(value: Any) -> int | None:
    """Return the seconds that a time's zone of pytz is ahead of UTC, as its pickle has them."""
    args = pytz_args(value)
    return args[1] if len(args) > 1 and type(args[1]) is int else None


def pytz_args(value: Any) -> tuple[Any, ...]:
    cls = class_of(value) if type(value) is Inert else None
    return args_of(value) if cls is not None and named(cls) == ("pytz", "_p") else ()
