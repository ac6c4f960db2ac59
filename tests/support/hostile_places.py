"""Puts hostile values into each place of a job's state."""

import itertools

from support.broken_pickles import BOMBS, LENGTHS, STACK, TEXTS
from support.hostile_pickles import CALLS, DATA, NAMES
from support.huge_pickles import HUGE, OWN, SIZE, TRIGGERS, cron_field, of_state
from support.opcodes import FIELDS, STOP, dict_of, job_state, list_of, made, named, number, text

GROUPS = {
    "calls": CALLS,
    "data": DATA,
    "names": NAMES,
    "stack": STACK,
    "lengths": LENGTHS,
    "texts": TEXTS,
    "bombs": BOMBS,
}
NOW = bytes([7, 246, 1, 1, 0, 0, 0, 0, 0, 0])


def in_field(name):
    return lambda value: job_state(**{name: value})


PLACES = {
    "the whole": lambda value: b"\x80\x04" + value + STOP,
    "the whole, of protocol 0": lambda value: value + STOP,
    "before the state": lambda value: b"\x80\x04" + value + b"0" + job_state()[2:],
    "a key of the state": lambda value: job_state()[:-1] + value + b"Ns" + STOP,
    **{f"the {name}": in_field(name) for name in FIELDS},
    "an argument": lambda value: job_state(args=value + b"\x85"),
    "a keyword": lambda value: job_state(kwargs=dict_of([(value, b"N")])),
    "a keyword's value": lambda value: job_state(kwargs=dict_of([(text("a"), value)])),
    "an element": lambda value: job_state(args=b"](N" + value + b"e\x85"),
    "a trigger's state": lambda value: job_state(
        trigger=made(named(OWN + "date", "DateTrigger"), value)
    ),
    "a run date": lambda value: job_state(
        trigger=of_state("date", "DateTrigger", version=number(1), run_date=value)
    ),
    "a zone": lambda value: job_state(
        next_run_time=named("datetime", "datetime") + b"C\x0a" + NOW + value + b"\x86R"
    ),
    "an interval": lambda value: job_state(
        trigger=of_state("interval", "IntervalTrigger", interval=value, timezone=value)
    ),
    "triggers": lambda value: job_state(
        trigger=of_state("combining", "OrTrigger", triggers=list_of(value), jitter=b"N")
    ),
    "all triggers": lambda value: job_state(
        trigger=of_state("combining", "AndTrigger", triggers=value, jitter=value)
    ),
    "fields of cron": lambda value: job_state(
        trigger=of_state("cron", "CronTrigger", fields=value, timezone=b"N")
    ),
    "expressions of cron": lambda value: job_state(
        trigger=of_state("cron", "CronTrigger", fields=list_of(cron_field(list_of(value))))
    ),
    "an expression's state": lambda value: job_state(
        trigger=of_state(
            "cron",
            "CronTrigger",
            fields=list_of(
                cron_field(list_of(made(named(OWN + "cron.expressions", "RangeExpression"), value)))
            ),
        )
    ),
}


def states(group):
    """Yield the name and the state of each case of a group."""
    if group == "huge":
        for name, make in HUGE.items():
            yield f"{name}, an argument", job_state(args=make(SIZE) + b"\x85")
    elif group == "huge elsewhere":
        for (name, make), place in zip(HUGE.items(), itertools.cycle(PLACES)):
            yield f"{name}, {place}", PLACES[place](make(SIZE // 200))
    elif group == "triggers":
        for name, make in TRIGGERS.items():
            yield name, job_state(trigger=make())
    else:
        for place, put in PLACES.items():
            for name, value in GROUPS[group].items():
                yield f"{name}, {place}", put(value)
