"""Helpers for the tests of the index: small stand-ins for jobs, times, the content of an index."""

from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial

from jobstore import _index_c, _index_py

START = datetime(2030, 1, 1, tzinfo=timezone.utc)

# Small leaves reach every split and merge with few jobs. Stores use 64.
COMPILED = {
    "compiled-4": partial(_index_c.JobIndex, 4),
    "compiled-64": partial(_index_c.JobIndex, 64),
}
BOTH = {**COMPILED, "twin": partial(_index_py.JobIndex, 4)}


class Slotted:
    """A job with only the attributes that an index reads."""

    __slots__ = ("__weakref__", "id", "next_run_time")

    def __init__(self, id, next_run_time=None):
        self.id = id
        self.next_run_time = next_run_time


def at(seconds):
    return START + timedelta(seconds=seconds)


def job(name, seconds=None):
    """Make a job that is due `seconds` after the start, or a paused job."""
    return Slotted(name, None if seconds is None else at(seconds))


def filled(make, count=150):
    """Make an index of jobs job000, job001...: many share a run time, and some are paused."""
    index = make()
    for number in range(count):
        index.add(job(f"job{number:03}", None if number % 10 == 9 else number * 7 % 40))
    return index


def content(index, label=id):
    """Return all visible content of an index: its jobs in order, and the due jobs at each time.

    `label` maps each job to the value to compare: by default its identity, so no attribute is read.
    """
    index._check()
    due = [[*map(label, index.due(at(seconds)))] for seconds in range(-1, 42)]
    return [*map(label, index.all())], len(index), due


def by_id(index):
    """Return the content of an index with ids instead of jobs, to compare two indexes."""
    jobs = index.all()
    assert [index.get(job.id) for job in jobs] == jobs
    return content(index, label=lambda job: str(job.id))


@contextmanager
def unchanged(index):
    before = content(index)
    yield
    assert content(index) == before


def outcome(call, *args):
    """Return the result of a call, or the type and text of its error."""
    try:
        return call(*args)
    except Exception as error:
        return type(error), str(error)
