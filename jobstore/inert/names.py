"""Lists the classes and functions that a state names, without importing them."""

from collections.abc import Iterator
from typing import Any

from .plain import named
from .reader import read
from .values import FrozenItems, Global, Inert, Items, Pairs

__all__ = ["names_in"]

GETATTR = "builtins:getattr"
ZONE = "zoneinfo:ZoneInfo._unpickle"
CONTAINERS = {Inert, list, tuple, Pairs, Items, FrozenItems}
OF_ZONE = (Global("zoneinfo", "ZoneInfo"), "_unpickle")


def names_in(state: bytes) -> tuple[str, ...]:
    """Return every class and function that a state names, sorted; O(length).

    A name counts wherever it stands, also if nothing else of the state refers to it. The texts
    count by which APScheduler's combining triggers name others. The text of the job's own function
    does not: it is the state's ``func``. A `ZoneInfo` counts as the method that makes one, and
    not as `getattr`, by which its pickle names the method.

    >>> import datetime, pickle
    >>> names_in(pickle.dumps({"id": "report", "args": (datetime.timedelta(1),)}))
    ('datetime:timedelta',)

    :raises UnreadableError: if it is no pickle, or takes more than a million operations.
    """
    seen: list[Any] = []
    value = read(state, seen)
    names = set()
    for each in seen:
        if type(each) is Global:
            names.add(":".join(named(each)))
        elif type(each) is not Inert:
            names.update(combined(each))
    if GETATTR in names and gets_zones_only(seen, value):
        names = names - {GETATTR} | {ZONE}
    return tuple(sorted(names))


def gets_zones_only(seen: list[Any], value: Any) -> bool:
    """Whether a state names `getattr` only as every pickle of a `ZoneInfo` does.

    So a person who reads the names of all jobs sees the other uses.

    :param seen: the calls in the state, among others.
    :param value: the state.
    """
    calls = [each for each in seen if type(each) is Inert and is_getattr(each.func)]
    if not calls or any(call.args != OF_ZONE for call in calls):
        return False
    left: list[Any] = [(value,)]
    done = set()
    while left:
        value = left.pop()
        if id(value) in done:
            continue
        done.add(id(value))
        for part in (value.args, value.items, value.state) if type(value) is Inert else value:
            cls = type(part)
            if cls in CONTAINERS:
                left.append(part)
            elif cls is Global and is_getattr(part):  # which code of the job might call
                return False
    return True


def is_getattr(value: Any) -> bool:
    return type(value) is Global and ":".join(named(value)) == GETATTR


def combined(state: Any) -> Iterator[str]:
    """Yield the texts in an object's state that may name triggers.

    No value of an inert state is ever taken away, so those are found that a later operation
    replaces.
    """
    states = state if type(state) is tuple else (state,)
    pairs = [pair for state in states if type(state) is Pairs for pair in state]
    left = [value for key, value in pairs if key == "triggers"]
    done = set()
    while left:
        value = left.pop()
        if type(value) is str:
            if ":" in value:
                yield value
        elif id(value) not in done:
            done.add(id(value))
            if type(value) is Inert:
                left += (value.args, value.items, value.state)
            elif isinstance(value, list | tuple):
                left += value
