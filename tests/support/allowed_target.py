"""What the states of the tests of `allow` name: a module of an application."""

import functools
import os.path
import time
from enum import Enum

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import AndTrigger

SETTINGS = {"debug": False}
UPPER = "text".upper
HALF = functools.partial(print, "half")
time_alias = time.sleep
paths = os.path
lost = []


class Colour(Enum):
    RED = 1

    @classmethod
    def favourite(cls):
        return cls.RED


class Looked(type):
    """Tells which attributes of its classes were looked up by code of its own."""

    def __getattr__(cls, name):
        lost.append(name)
        return print

    @property
    def computed(cls):
        lost.append("computed")
        return print


class Strict(Looked):
    def __getattribute__(cls, name):
        lost.append(name)
        return super().__getattribute__(name)


class Bound:
    """Runs code when it is found in a class."""

    def __get__(self, instance, owner):
        lost.append("bound")
        return print


class Order:
    bound = Bound()
    sleep = time.sleep
    bound_class_method = classmethod(Bound())

    def __init__(self, number=0):
        self.number = number

    def __eq__(self, other):
        return type(other) is Order and other.number == self.number

    __hash__ = None

    def send(self):
        return "sent"

    @staticmethod
    def total():
        return 5

    @classmethod
    def first(cls):
        return cls(1)

    @property
    def price(self):
        lost.append("price")

    class Line:
        """A part of an order."""

        def __init__(self, text="a line"):
            self.text = text


class Watched(metaclass=Looked):
    def mine(self):
        return "mine"


class Guarded(metaclass=Strict):
    def mine(self):
        return "mine"


class Every(BaseTrigger):
    """A trigger of the application."""

    def __init__(self, seconds=1):
        self.seconds = seconds

    def __getstate__(self):
        return {"seconds": self.seconds}

    def __setstate__(self, state):
        self.seconds = state["seconds"]

    def get_next_fire_time(self, previous_fire_time, now):
        return None


class Both(AndTrigger):
    """A combining trigger of the application."""

    __slots__ = ()


class Own(AndTrigger):
    """One that reads its state in its own way."""

    def __setstate__(self, state):
        super().__setstate__(state["inner"])


class Registry(dict):
    """A kind of dict."""


def send(*args, **kwargs):
    return args


def settings():
    return SETTINGS


def order_class():
    return Order


def watched_class():
    return Watched


def new_order():
    return Order()


@functools.lru_cache
def cached():
    return 1


@functools.wraps(time.sleep)
def wrapped(*args):
    return args


def __getattr__(name):
    lost.append(name)
    return time.sleep
