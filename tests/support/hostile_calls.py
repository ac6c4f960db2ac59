"""Helpers for the hostile tests: calls of an index, and actions in the middle of a call."""

from datetime import timedelta, tzinfo

import pytest

from support.indexes import BOTH, COMPILED, job, outcome

NEW, STORED = "new", "job005"

# Each call that takes a job, with the id of that job: a new id or a stored one.
CALLS = {
    "add": (NEW, lambda index, given: index.add(given)),
    "replace": (STORED, lambda index, given: index.replace(given)),
    "add_many": (
        NEW,
        lambda index, given: index.add_many([job("before", 50), given, job("after", 2)]),
    ),
    "replace_many": (
        STORED,
        lambda index, given: index.replace_many([job("job003", 50), given, job("job004")]),
    ),
    "put_many, new": (
        NEW,
        lambda index, given: index.put_many([job("before", 50), given, job("job004", 2)]),
    ),
    "put_many, stored": (
        STORED,
        lambda index, given: index.put_many([job("job003", 50), given, job("after", 2)]),
    ),
}
MANY = {
    "add_many": lambda index, jobs: index.add_many(jobs),
    "replace_many": lambda index, jobs: index.replace_many(jobs),
    "put_many": lambda index, jobs: index.put_many(jobs),
    "remove_many": lambda index, jobs: index.remove_many(job.id for job in jobs),
}


def parametrized(name, cases):
    return pytest.mark.parametrize(name, [pytest.param(cases[case], id=case) for case in cases])


both = parametrized("make", BOTH)
compiled = parametrized("make", COMPILED)
each_call = parametrized("call", CALLS)

# Changes that foreign code can make in the middle of a call, given the id of the call's job.
ACTIONS = {
    "puts the same id": lambda index, name: index.put_many([job(name, 3)]),
    "removes that id": lambda index, name: index.remove_many([name]),
    "clears": lambda index, name: index.clear(),
    "adds 1,000 others": lambda index, name: [
        index.add(job(f"other{i:04}", i % 41)) for i in range(1000)
    ],
    "adds 1,000 others at once": lambda index, name: index.add_many(
        job(f"other{i:04}", i % 41) for i in range(1000)
    ),
    "removes most others": lambda index, name: index.remove_many(
        [f"job{i:03}" for i in range(10, 150)]
    ),
    "replaces all others": lambda index, name: index.replace_many(
        [job(f"job{i:03}", i % 30) for i in range(150) if i != 5]
    ),
    "fails": lambda index, name: outcome(index.remove, "nothing of this name"),
}


class Calling(tzinfo):
    """A UTC time zone that runs an action when its offset is first read."""

    def __init__(self, action):
        self.action = action

    def utcoffset(self, when):
        action, self.action = self.action, lambda: None
        action()
        return timedelta(0)


def forbidden(base):
    """Return a subclass of `base` whose methods raise, and the list of the called ones."""
    calls = []

    def method(name):
        def call(self, *args, **kwargs):
            calls.append(name)
            raise AssertionError(f"{base.__name__}.{name} was called")

        return call

    needed = {"__new__", "__init__", "__init_subclass__", "__subclasshook__", "__doc__"}
    methods = {name: method(name) for name in dir(base) if name not in needed}
    methods["__class__"] = property(method("__class__"))
    for name in ("year", "tzinfo", "fold", "days", "seconds"):
        if hasattr(base, name):
            methods[name] = property(method(name))
    return type(f"Forbidden{base.__name__}", (base,), methods), calls
