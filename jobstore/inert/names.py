"""Lists the classes and functions that a state names, without importing them."""

from collections.abc import Iterator
from typing import Any

from .plain import named
from .reader import read
from .values import Global, Inert, Pairs

__all__ = ["names_in"]


def names_in(state: bytes) -> tuple[str, ...]:
    """Return every class and function that a state names, sorted; O(length).

    A name counts wherever it stands, also if nothing else of the state refers to it. The texts
    count by which APScheduler's combining triggers name others. The text of the job's own function
    does not: it is the state's ``func``.

    >>> import datetime, pickle
    >>> names_in(pickle.dumps({"id": "report", "args": (datetime.timedelta(1),)}))
    ('datetime:timedelta',)

    :raises UnreadableError: if it is no pickle, or takes more than a million operations.
    """
    seen: list[Any] = []
    read(state, seen)
    names = set()
    for each in seen:
        if type(each) is Global:
            names.add(":".join(named(each)))
        else:
            names.update(combined(each))
    return tuple(sorted(names))


def combined(target: Inert) -> Iterator[str]:
    """Yield the texts in an object's state that may name triggers.

    No value of an inert state is ever taken away, so those are found that a later operation
    replaces.
    """
    states = target.state if type(target.state) is tuple else (target.state,)
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
