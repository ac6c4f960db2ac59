"""`JobIndex` in readable Python: the compiled core's twin, oracle and documentation.

It gives the same results and errors as `ext/_index_c.pyx`; what it does not share is the
compiled core's promise that hostile jobs and failing memory can't leave a change half done.
"""

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Generic, Protocol, TypeVar

from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from sortedcontainers import SortedList

__all__ = ["HasRunTime", "JobIndex"]

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
PAUSED = 2**63 - 1  # the key of a job without a run time: after every time there is
FIRST, LAST = ((end - EPOCH) // MICROSECOND for end in (datetime.min, datetime.max))


class HasRunTime(Protocol):
    """The two attributes that an index reads; a `Job` has them, and so has a mirror's record."""

    @property
    def id(self) -> str:
        """The id, unique in the index."""

    @property
    def next_run_time(self) -> datetime | None:
        """The next run time; None while paused."""


T = TypeVar("T", bound=HasRunTime)


def key_of(run_time: datetime | None, owner: str) -> int:
    """Return the µs since the epoch in UTC, exactly; a naive datetime is taken as UTC.

    :raises TypeError: if it is neither a datetime nor None; `owner` says whose it is.
    :raises OverflowError: if in UTC it is not within the years 1 to 9999.
    """
    if run_time is None:
        return PAUSED
    if not isinstance(run_time, datetime):
        kinds = "a datetime" if owner == "now" else "a datetime or None"
        raise TypeError(f"{owner} must be {kinds}, not {run_time!r}")
    # datetime's own utcoffset(), as utctimetuple() uses it, even where a subclass has another.
    offset = datetime.utcoffset(run_time)
    local = datetime.combine(datetime.date(run_time), datetime.time(run_time))
    key = (local - EPOCH) // MICROSECOND
    if offset is not None:
        key -= timedelta.__floordiv__(offset, MICROSECOND)
    if not FIRST <= key <= LAST:
        raise OverflowError(f"{owner} is outside the years 1 to 9999 in UTC: {run_time!r}")
    return key


def exact_id(job_id: object) -> str | None:
    """Return the id as an exact str of the same characters, or None if it is not a str at all."""
    if isinstance(job_id, str):
        return str.__str__(job_id)
    hash(job_id)  # what can't be hashed is a TypeError, as with a dict
    return None


def required_id(job_id: object) -> str:
    """Return the id as an exact str.

    :raises TypeError: if it is not a str.
    """
    exact = exact_id(job_id)
    if exact is None:
        raise TypeError(f"the id of a job must be a str, not {job_id!r}")
    return exact


def key_of_job(job: HasRunTime, job_id: str) -> int:
    """Return the key of a job's own run time; errors as in `key_of`."""
    return key_of(job.next_run_time, f"next_run_time of job {job_id!r}")


class JobIndex(Generic[T]):
    """An ordered map of jobs: found by id, kept in order of (next run time, id), paused last.

    The index remembers the run time that a job had when it was added or replaced: a job changed
    in place keeps its position until it is replaced. The calls on many jobs read the whole
    iterable first; any exception leaves everything as it was.

    :param block_size: how many jobs a block of the ordered part holds, 4 to 64; tests make it
        small, so that few jobs reach the splits and merges.
    """

    def __init__(self, block_size: int = 64) -> None:
        if not 4 <= block_size <= 64:
            raise ValueError(f"block_size must be 4 to 64, not {block_size}")
        self._entries: dict[str, tuple[int, T]] = {}
        self._order: SortedList[tuple[int, str]] = SortedList()
        self._order._reset(block_size)

    def add(self, job: T) -> None:
        """Add a job; O(log n).

        >>> index.add(job)

        :raises ConflictingIdError: if its id is there.
        :raises TypeError: if its id is not a str, or its `next_run_time` no datetime and not None.
        :raises OverflowError: if its run time is outside the years 1 to 9999 in UTC.
        """
        given = job.id
        if exact_id(given) in self._entries:
            raise ConflictingIdError(exact_id(given))
        job_id = required_id(given)
        self._put({job_id: (key_of_job(job, job_id), job)})

    def replace(self, job: T) -> None:
        """Put a job in the place of the one with the same id, at its own run time; O(log n).

        >>> index.replace(job)

        :raises JobLookupError: if its id is not there; TypeError and OverflowError as in `add`.
        """
        job_id = self._find(job.id)
        self._put({job_id: (key_of_job(job, job_id), job)})

    def remove(self, job_id: str) -> T:
        """Remove the job of that id and return it; O(log n).

        >>> job = index.remove("backup")

        :raises JobLookupError: if the id is not there.
        """
        found = self._find(job_id)
        key, job = self._entries.pop(found)
        self._order.remove((key, found))
        return job

    def get(self, job_id: str) -> T | None:
        """Return the job of that id, or None; O(1).

        >>> job = index.get("backup")
        """
        entry = self._entries.get(exact_id(job_id))  # type: ignore[arg-type]
        return entry[1] if entry else None

    def __contains__(self, job_id: object) -> bool:
        return exact_id(job_id) in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def due(self, now: datetime, limit: int = sys.maxsize) -> list[T]:
        """Return the k jobs whose run time is `now` or earlier, in order; O(log n + k).

        >>> for job in index.due(datetime.now(timezone.utc)): ...

        :param now: the time; a naive one is UTC.
        :param limit: return only the first so many.
        :raises TypeError: if they are not a datetime and a whole number.
        :raises ValueError: if the limit is negative.
        """
        if now is None:
            raise TypeError("now must be a datetime, not None")
        if limit < 0:
            raise ValueError(f"limit must be 0 or more, not {limit}")
        count = self._order.bisect_left((key_of(now, "now") + 1,))  # type: ignore[arg-type]
        return [self._entries[job_id][1] for _, job_id in islice(self._order, min(count, limit))]

    def first_run_time(self) -> datetime | None:
        """Return the first job's own `next_run_time`, or None if no job waits for one; O(1).

        >>> index.first_run_time()
        datetime.datetime(2030, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
        """
        if not self._order or self._order[0][0] == PAUSED:
            return None
        return self._entries[self._order[0][1]][1].next_run_time

    def all(self) -> list[T]:
        """Return all n jobs in order; O(n).

        >>> jobs = index.all()
        """
        return [self._entries[job_id][1] for _, job_id in self._order]

    def __iter__(self) -> Iterator[T]:
        return iter(self.all())

    def clear(self) -> None:
        """Remove every job; O(n).

        >>> index.clear()
        """
        self._order.clear()
        self._entries.clear()

    def add_many(self, jobs: Iterable[T]) -> list[str]:
        """Add k jobs; return the ids refused, in the order given; O(k log k + k log n).

        Refused is what `add` would refuse with a ConflictingIdError in a loop: a second job of
        the same id, too.

        >>> index.add_many([first, second])
        []

        :raises TypeError: or any other error of a bad job; nothing is changed then.
        """
        return self._put_many(jobs, add=True, replace=False)

    def replace_many(self, jobs: Iterable[T]) -> list[str]:
        """Replace k jobs; return the ids not found, in the order given; O(k log k + k log n).

        Of several jobs of the same id, the last one stays.

        >>> index.replace_many([first, second])
        []

        :raises TypeError: or any other error of a bad job; nothing is changed then.
        """
        return self._put_many(jobs, add=False, replace=True)

    def put_many(self, jobs: Iterable[T]) -> None:
        """Add the k jobs, or replace those whose ids are there; O(k log k + k log n).

        >>> index.put_many([first, second])

        :raises TypeError: or any other error of a bad job; nothing is changed then.
        """
        self._put_many(jobs, add=True, replace=True)

    def remove_many(self, job_ids: Iterable[str]) -> list[str]:
        """Remove k jobs; return the ids not found, in the order given; O(k log n).

        >>> index.remove_many(["first", "second"])
        []

        :raises TypeError: if an id can't be hashed; nothing is changed then.
        """
        refused = []
        for given, job_id in [(given, exact_id(given)) for given in list(job_ids)]:
            if job_id in self._entries:
                self.remove(job_id)
            else:
                refused.append(given if job_id is None else job_id)
        return refused

    def _find(self, given: object) -> str:
        job_id = exact_id(given)
        if job_id not in self._entries:
            raise JobLookupError(given if job_id is None else job_id)
        return job_id

    def _put(self, items: dict[str, tuple[int, T]]) -> None:
        for job_id in items.keys() & self._entries.keys():
            self._order.remove((self._entries[job_id][0], job_id))
        self._order.update((key, job_id) for job_id, (key, _) in items.items())
        self._entries.update(items)

    def _put_many(self, jobs: Iterable[T], *, add: bool, replace: bool) -> list[str]:
        items: dict[str, tuple[int, T]] = {}
        refused: list[str] = []
        for job in list(jobs):
            given = job.id
            job_id = exact_id(given)
            there = job_id in self._entries or job_id in items
            if replace if there else add:
                job_id = required_id(given)
                items[job_id] = (key_of_job(job, job_id), job)
            else:
                refused.append(given if job_id is None else job_id)
        self._put(items)
        return refused

    def _check(self) -> None:
        """Verify every invariant; AssertionError if one is broken."""
        self._order._check()  # type: ignore[attr-defined]
        assert list(self._order) == sorted((key, i) for i, (key, _) in self._entries.items())
        assert all(type(job_id) is str for job_id in self._entries)
