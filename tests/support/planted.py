"""A module that an attacker's states name. To import it, or to call anything in it, is an event.

Only these states may name it. An audit hook sees the events, with the name ``planted``.
"""

import sys

from apscheduler.triggers.base import BaseTrigger


def note(name):
    def call(*args, **kwargs):
        sys.audit("planted", name)

    return call


sys.audit("planted", "import")
run = note("run")


class Target:
    __init__ = note("Target.__init__")
    __del__ = note("Target.__del__")
    __setstate__ = note("Target.__setstate__")
    __setattr__ = note("Target.__setattr__")
    __repr__ = note("Target.__repr__")


class Trigger(BaseTrigger):
    __setstate__ = note("Trigger.__setstate__")
    get_next_fire_time = note("Trigger.get_next_fire_time")


class Text(str):
    __slots__ = ()
    __str__ = note("Text.__str__")
    __eq__ = note("Text.__eq__")
    __hash__ = note("Text.__hash__")


def __getattr__(name):
    sys.audit("planted", name)
    raise AttributeError(name)
