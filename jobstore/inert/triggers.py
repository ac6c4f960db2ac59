"""Texts of live and of inert triggers."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from apscheduler.triggers.cron import expressions

from ..about import kind_of, kind_of_class
from .plain import MAX_ATTRIBUTES, Zoned, class_of, plain, state_of, zone_key
from .texts import CUT, MAX_TEXT, cut, is_standard, text_of
from .values import Inert, Pairs, text_keys

__all__ = ["expression_text", "kind_of_trigger", "text_of_trigger"]

MAX_DEPTH = 8  # of triggers that combine others
EXPRESSIONS = {
    name: getattr(expressions, name)
    for name in (
        "AllExpression",
        "LastDayOfMonthExpression",
        "MonthRangeExpression",
        "RangeExpression",
        "WeekdayPositionExpression",
        "WeekdayRangeExpression",
    )
}
NUMBERS = ("step", "first", "last", "option_num", "weekday")


def kind_of_trigger(trigger: Any) -> str | None:
    """Return the kind of an inert trigger; None if it is no object of a class."""
    cls = class_of(trigger) if type(trigger) is Inert else None
    return None if cls is None else kind_of(cls.module, cls.name)


def text_of_trigger(trigger: Any) -> str | None:
    """Return the text of a live or an inert trigger; None if it is no object of a class.

    As the trigger's `str`, such as ``cron[hour='3']``, but with the zone's key in place of an
    abbreviation for ``date``, and of the same form for ``calendarinterval``. The kind alone stands
    for a trigger that is not APScheduler's, or whose state APScheduler would not write.
    """
    if type(trigger) is Inert:
        kind, state = kind_of_trigger(trigger), trigger.state
        if type(state) is tuple and len(state) == 2:  # APScheduler 3.0 wrote that
            state = state[1]
        return None if kind is None else text_of_parts(kind, state, 0)
    kind = kind_of_class(trigger.__class__)
    if kind in ("and", "or"):
        return joined(kind, [text_of_trigger(each) or CUT for each in trigger.triggers])
    return text_of_parts(kind, trigger.__getstate__() if kind in TEXTS else None, 0)


def text_of_parts(kind: str, state: Any, depth: int) -> str:
    """Return the text of a trigger of that kind with that state, live or inert."""
    if type(state) is Pairs:
        state = text_keys(state[:MAX_ATTRIBUTES])
    if type(state) is not dict or kind not in TEXTS or depth > MAX_DEPTH:
        return kind[:MAX_TEXT]
    try:
        text = TEXTS[kind](state, depth)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError):
        if depth:  # else a level would go on with its next part, and take a power of its time
            raise
        return kind
    return cut(text)


def joined(kind: str, texts: list[str]) -> str:
    return cut(f"{kind}[{', '.join(texts)}]")


def interval_text(state: dict[str, Any], depth: int) -> str:
    interval = plain(state["interval"])
    if type(interval) is not timedelta:
        raise TypeError
    return f"interval[{interval}]"


def date_text(state: dict[str, Any], depth: int) -> str:
    run_date: Any = plain(state["run_date"])
    if type(run_date) is Zoned:
        wall_time, zone = run_date.wall_time, run_date.zone
    elif type(run_date) is datetime:
        wall_time, zone = run_date.replace(tzinfo=None), run_date.tzinfo
    else:
        raise TypeError
    name = str(zone) if is_standard(zone) else zone_key(zone) or text_of(zone, 100)
    return f"date[{wall_time:%Y-%m-%d %H:%M:%S} {name}]"


def calendar_text(state: dict[str, Any], depth: int) -> str:
    counts, at = state["interval"], state["time"]
    names = ("years", "months", "weeks", "days")
    parts = [f"{name}={count:d}" for name, count in zip(names, counts, strict=True) if count]
    hour, minute, second = at
    return f"calendarinterval[{', '.join(parts)}, time='{hour:02d}:{minute:02d}:{second:02d}']"


def cron_text(state: dict[str, Any], depth: int) -> str:
    texts = []
    for field in state["fields"][:10]:  # there are eight kinds
        if type(field) is not Inert:
            if not field.is_default:
                texts.append(f"{field.name}='{field}'")
            continue
        parts = state_of(field)
        if not parts["is_default"]:
            listed = ",".join(map(expression_text, parts["expressions"][:MAX_TEXT]))
            texts.append(f"{text_of(parts['name'])[1:-1]}='{listed}'")
    return f"cron[{', '.join(texts)}]"


def expression_text(inert: Inert) -> str:
    """Return the text of a part of a cron field, by APScheduler's own class.

    :raises LookupError: if it is an object of another class, or has another state.
    :raises TypeError: if the class would not write its numbers.
    """
    cls = class_of(inert)
    if cls is None or cls.module != expressions.__name__:
        raise LookupError
    expression = EXPRESSIONS[cls.name].__new__(EXPRESSIONS[cls.name])
    for name, number in state_of(inert).items():
        if name not in NUMBERS or not (number is None or (type(number) is int and number < 10_000)):
            raise TypeError
        setattr(expression, name, number)
    return str(expression)


def combined_text(kind: str, state: dict[str, Any], depth: int) -> str:
    texts, length = [], 0
    for reference, each in state["triggers"]:
        module, _, name = reference.partition(":")
        texts.append(text_of_parts(kind_of(module, name), each, depth + 1))
        length += len(texts[-1])
        if length > MAX_TEXT:
            break
    return joined(kind, texts)


TEXTS: dict[str, Callable[[dict[str, Any], int], str]] = {
    "and": lambda state, depth: combined_text("and", state, depth),
    "calendarinterval": calendar_text,
    "cron": cron_text,
    "date": date_text,
    "interval": interval_text,
    "or": lambda state, depth: combined_text("or", state, depth),
}
