"""Checks the triggers that a combining trigger's state names by texts, before they are imported.

`apscheduler.triggers.combining` imports whatever its state names, and calls it. So a pickle gets a
subclass of the combining trigger, whose `__setstate__` checks these texts first.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from apscheduler.triggers.combining import BaseCombiningTrigger

from .resolving import bases, inherited
from .untrusted import UntrustedError

__all__ = ["checked", "combining_become_stock", "is_combining"]

MAX_DEPTH = 50  # of combining triggers in each other
CLASS: Any = vars(object)["__class__"]


class Local(threading.local):
    """What this thread unpickles."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, type]] = []  # combining triggers, and their stock classes


local = Local()


@contextmanager
def combining_become_stock() -> Iterator[None]:
    """Give the combining triggers that are made meanwhile the classes that their pickle names.

    That happens at the end: until then the pickle could give them another state.
    """
    outer, local.made = local.made, []
    try:
        yield
        for trigger, cls in local.made:
            CLASS.__set__(trigger, cls)
    finally:
        local.made = outer


def is_combining(found: Any) -> bool:
    """Whether this is a class of combining triggers."""
    return any(each is BaseCombiningTrigger for each in bases(found))


def checked(cls: Any, named: Callable[[object], Any]) -> Any:
    """Return a subclass that checks the state of its objects.

    :param cls: a class of combining triggers.
    :param named: returns the allowed class of a text, and raises for any other.
    :raises UntrustedError: if the class has a `__setstate__` of its own.
    """
    check_class(cls)

    class Checked(cls):  # type: ignore[misc]
        __slots__ = ()

        def __setstate__(self, state: Any) -> None:
            check_state(state, named, 0)
            cls.__setstate__(self, state)
            local.made.append((self, cls))

    return Checked


def check_class(cls: Any) -> None:
    """Refuse a class that reads its state in another way than APScheduler's do."""
    if inherited(cls, "__setstate__") is not BaseCombiningTrigger.__dict__["__setstate__"]:
        raise UntrustedError(
            "it has a combining trigger with a __setstate__ of its own, which allow can't check"
        )


def check_state(state: Any, named: Callable[[object], Any], depth: int) -> None:
    """Refuse a state that names any class that isn't allowed, or that is of another form."""
    if depth > MAX_DEPTH or type(state) is not dict or any(type(key) is not str for key in state):
        raise odd_state()
    triggers: Any = state.get("triggers")
    if type(triggers) not in (list, tuple):
        raise odd_state()
    for each in triggers:
        if type(each) is not tuple or len(each) != 2:
            raise odd_state()
        cls = named(each[0])
        if is_combining(cls):
            check_class(cls)
            check_state(each[1], named, depth + 1)


def odd_state() -> UntrustedError:
    """Make the error of a state that APScheduler does not write."""
    return UntrustedError("the state of its combining trigger is none that APScheduler writes")
