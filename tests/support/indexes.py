"""What the tests of the index share: small stand-ins for jobs, times, and what an index holds."""

from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial

from jobstore import _index_c, _index_py

START = datetime(2030, 1, 1, tzinfo=timezone.utc)

# Small blocks reach every split and merge with few jobs; 64 is what stores use.
COMPILED = {
    "compiled-4": partial(_index_c.JobIndex, 4),
    "compiled-64": partial(_index_c.JobIndex, 64),
}
BOTH = {**COMPILED, "twin": partial(_index_py.JobIndex, 4)}


class Slotted:
    """All that an index asks of a job."""

    __slots__ = ("__weakref__", "id", "next_run_time")

    def __init__(self, id, next_run_time=None):
        self.id = id
        self.next_run_time = next_run_time


def at(seconds):
    return START + timedelta(seconds=seconds)


def job(name, seconds=None):
    """A job that is due so many seconds after the start, or a paused one."""
    return Slotted(name, None if seconds is None else at(seconds))


def filled(make, count=150):
    """An index of jobs job000, job001...: many share a run time, and some are paused."""
    index = make()
    for number in range(count):
        index.add(job(f"job{number:03}", None if number % 10 == 9 else number * 7 % 40))
    return index


def content(index, label=id):
    """All there is to see of an index: its jobs in order, and those due at any time in question.

    Jobs are compared as objects, unless `label` says by what else; their attributes aren't read.
    """
    index._check()
    due = [[*map(label, index.due(at(seconds)))] for seconds in range(-1, 42)]
    return [*map(label, index.all())], len(index), due


def by_id(index):
    """The same, with ids for jobs, so that two indexes can be compared."""
    jobs = index.all()
    assert [index.get(job.id) for job in jobs] == jobs
    return content(index, label=lambda job: str(job.id))


@contextmanager
def unchanged(index):
    before = content(index)
    yield
    assert content(index) == before


def outcome(call, *args):
    """What a call returns, or the kind of error and its text."""
    try:
        return call(*args)
    except Exception as error:
        return type(error), str(error)
