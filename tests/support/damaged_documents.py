"""A corpus of damaged documents, each with the reason that its quarantine must give."""

import pickle
from datetime import datetime, timezone

from bson import Decimal128

from support.jobs import at, job

NAN, INFINITE = float("nan"), float("inf")


def good(name, seconds=0, **options):
    """Make the document of a good job."""
    state = job(name, seconds, **options).__getstate__()
    return {
        "_id": name,
        "next_run_time": at(seconds).timestamp(),
        "job_state": pickle.dumps(state, pickle.HIGHEST_PROTOCOL),
    }


class Fatal(BaseException):
    """An error that `except Exception` does not catch."""


class Raises:
    """Raises when it is unpickled."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return throw, (self.error,)


def throw(error):
    raise error


def state(name, /, **changes):
    """Pickle the state of a job with some keys changed. The value `throw` removes its key."""
    full = {**job(name).__getstate__(), **changes}
    return pickle.dumps({key: value for key, value in full.items() if value is not throw})


KEYS = sorted(set(job("a").__getstate__()) - {"version"})


def corpus():
    """Return for each kind its difference from a good document, and a part of the reason."""
    kinds = {
        "truncated": ({"job_state": state("truncated")[:50]}, "truncated"),
        "garbage": ({"job_state": b"\x80\x05garbage"}, "UnpicklingError"),
        "empty": ({"job_state": b""}, "EOFError"),
        "no module": ({"job_state": state("no module", func="gone_module:f")}, "gone_module"),
        "no function": ({"job_state": state("no function", func="support.jobs:gone")}, "gone"),
        "no class": ({"job_state": b"csupport.jobs\nGone\n."}, "Gone"),
        "import": ({"job_state": b"cgone_module\nGone\n."}, "gone_module"),
        "state missing": ({"job_state": throw}, "job_state is missing"),
        "state null": ({"job_state": None}, "job_state is missing"),
        "state text": ({"job_state": "text"}, "job_state is a str"),
        "state number": ({"job_state": 5}, "job_state is a int"),
        "state document": ({"job_state": {"a": b"b"}}, "job_state is a dict"),
        "no dict": ({"job_state": pickle.dumps([1])}, "AttributeError"),
        "newer version": ({"job_state": state("newer version", version=9)}, "version"),
        "fatal": ({"job_state": state("fatal", args=(Raises(Fatal("bang")),))}, "Fatal: bang"),
        "memory": ({"job_state": state("memory", args=(Raises(MemoryError()),))}, "MemoryError"),
        "surrogate": (
            {"job_state": state("surrogate", args=(Raises(ValueError("\ud800")),))},
            "ValueError: \\ud800",
        ),
        "other id": ({"job_state": state("another")}, "its state is that of job 'another'"),
        "no trigger": ({"job_state": state("no trigger", trigger=5)}, "its trigger is a int"),
        "executor": (
            {"job_state": state("executor", executor="gone")},
            "there is no executor 'gone' here",
        ),
    }
    for name in KEYS:
        label = f"without {name}"
        kinds[label] = {"job_state": state(label, **{name: throw})}, name
    for label, value, reason in [
        ("time is NaN", NAN, "nan"),
        ("time is infinite", INFINITE, "inf"),
        ("time is before all", -INFINITE, "-inf"),
        ("time is far", 1e18, "1e+18"),
        ("time was far", -1e18, "-1e+18"),
        ("time is text", "soon", "soon"),
        ("time is true", True, "True"),
        ("time is a date", datetime(2020, 1, 1, tzinfo=timezone.utc), "datetime"),
        ("time is a list", [1.0], "[1.0]"),
        ("time is an empty list", [], "[]"),
        ("time is a list of text", ["soon"], "soon"),
        ("time is a document", {"a": 1}, "{'a': 1}"),
        ("time is decimal", Decimal128("1.5"), "Decimal128"),
    ]:
        kinds[label] = {"next_run_time": value}, reason
    return kinds


def damaged(name, difference):
    """Make the document of one kind."""
    changed = {**good(name), **difference}
    return {key: value for key, value in changed.items() if value is not throw}
