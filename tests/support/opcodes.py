"""Assembles pickles from opcodes, also those that no pickler writes."""

import pickle
import struct

STOP = b"."


def text(value):
    """Push a text, which may have surrogates."""
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value):
    return b"J" + struct.pack("<i", value)


def raw(value):
    return b"B" + struct.pack("<I", len(value)) + value


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def list_of(*items):
    return b"](" + b"".join(items) + b"e"


def dict_of(items):
    return b"}(" + b"".join(key + value for key, value in items) + b"u"


def state_of(**fields):
    """Push a dict of attributes."""
    return dict_of((text(name), value) for name, value in fields.items())


def named(module, name):
    """Push what a module has by this name."""
    return f"c{module}\n{name}\n".encode()


def named_by_texts(module, name):
    return text(module) + text(name) + b"\x93"


def called(function, *args):
    """Push what a function returns."""
    return function + tuple_of(*args) + b"R"


def made(cls, state):
    """Push an instance of a class, with a state."""
    return cls + b")\x81" + state + b"b"


def plain(value):
    """Push a value that the pickler knows."""
    return pickle.dumps(value, 3)[2:-1]


FIELDS = {
    "version": number(1),
    "id": text("an id"),
    "func": text("builtins:print"),
    "trigger": made(named("apscheduler.triggers.interval", "IntervalTrigger"), b"}"),
    "executor": text("default"),
    "args": b")",
    "kwargs": b"}",
    "name": text("a name"),
    "misfire_grace_time": number(1),
    "coalesce": b"\x88",
    "max_instances": number(1),
    "next_run_time": b"N",
}


def job_state(**fields):
    """Pickle the state of a job, with some fields given as opcodes."""
    return b"\x80\x04" + state_of(**{**FIELDS, **fields}) + STOP
