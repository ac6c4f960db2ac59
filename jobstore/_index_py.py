"""`JobIndex` in readable Python: the compiled core's twin, its oracle in tests, its documentation.

It gives the same results and errors as `ext/_index_c.pyx`, and threads can share it, too. A call
takes the same steps: it reads the job, looks its id up again and changes the index under the lock,
then drops references. So the lock is held only where no code of a job runs.

Only the compiled core also promises that no change stays half done where memory fails, where a
signal's handler raises, or where a finalizer calls the index in the middle of a change. The twin's
lock is reentrant, so such a finalizer does not wait for its own thread.
"""

import operator
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from threading import RLock
from typing import Generic, Protocol, TypeVar

from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from sortedcontainers import SortedList

__all__ = ["HasRunTime", "JobIndex"]

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
PAUSED = 2**62  # the key of a job without a run time: after all others
FIRST, LAST = ((end - EPOCH) // MICROSECOND for end in (datetime.min, datetime.max))

# All indexes share one lock, so that a fork can wait until no change is half done.
LOCK = RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release
    )


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
    """Return the exact µs since the epoch in UTC; a naive datetime counts as UTC.

    :param owner: the subject of an error's text: "now", or which job's run time this is.
    :raises TypeError: if the run time is neither a datetime nor None.
    :raises OverflowError: if the run time in UTC is outside the years 1 to 9999.
    """
    if run_time is None:
        return PAUSED
    if not isinstance(run_time, datetime):
        kinds = "a datetime" if owner == "now" else "a datetime or None"
        raise TypeError(f"{owner} must be {kinds}, not {run_time!r}")
    # Like utctimetuple(), this uses datetime's own utcoffset(), even if a subclass overrides it.
    offset = datetime.utcoffset(run_time)
    local = datetime.combine(datetime.date(run_time), datetime.time(run_time))
    key = (local - EPOCH) // MICROSECOND
    if offset is not None:
        key -= timedelta.__floordiv__(offset, MICROSECOND)
    if not FIRST <= key <= LAST:
        raise OverflowError(f"{owner} is outside the years 1 to 9999 in UTC: {run_time!r}")
    return key


def exact_id(job_id: object) -> str | None:
    """Return the id as an exact str of the same characters, or None if it is no str."""
    if isinstance(job_id, str):
        return str.__str__(job_id)
    hash(job_id)  # raises the TypeError of an unhashable id, as a dict does
    return None


def required_id(job_id: str | None, given: object) -> str:
    """Return an id from `exact_id`.

    :raises TypeError: if what was given is no str.
    """
    if job_id is None:
        raise TypeError(f"the id of a job must be a str, not {given!r}")
    return job_id


def key_of_job(job: HasRunTime, job_id: str) -> int:
    """Return the key of a job's `next_run_time`; raises the errors of `key_of`."""
    return key_of(job.next_run_time, f"next_run_time of job {job_id!r}")


class JobIndex(Generic[T]):
    """A map from id to job, kept in order of (next run time, id), paused jobs last.

    The index remembers the run time that a job had when it was added or replaced. A job changed
    in place keeps its position until it is replaced. The bulk calls (`..._many`) read their whole
    iterable first; if a call raises, it has changed nothing.

    :param leaf_capacity: how many jobs one leaf of the B+ tree holds, 4 to 64. Tests make it small,
        so that few jobs cause splits and merges.
    """

    def __init__(self, leaf_capacity: int = 64) -> None:
        if not 4 <= leaf_capacity <= 64:
            raise ValueError(f"leaf_capacity must be 4 to 64, not {leaf_capacity}")
        self._entries: dict[str, tuple[int, T]] = {}
        self._order: SortedList[tuple[int, str]] = SortedList()
        self._order._reset(leaf_capacity)

    def add(self, job: T) -> None:
        """Add a job; O(log n).

        >>> index.add(job)

        :raises ConflictingIdError: if the index has a job with the same id.
        :raises TypeError: if the id is not a str, or the run time neither a datetime nor None.
        :raises OverflowError: if the run time is outside the years 1 to 9999 in UTC.
        """
        given = job.id
        job_id = exact_id(given)
        if self._has(job_id):
            raise ConflictingIdError(job_id)
        job_id = required_id(job_id, given)
        entry = key_of_job(job, job_id), job
        with LOCK:
            is_free = job_id not in self._entries
            if is_free:
                self._put({job_id: entry})
        if not is_free:
            raise ConflictingIdError(job_id)

    def replace(self, job: T) -> None:
        """Replace the job that has the same id, and move it to the new run time; O(log n).

        >>> index.replace(job)

        :raises JobLookupError: if the index has no job with that id.
        :raises TypeError: as in `add`.
        :raises OverflowError: as in `add`.
        """
        given = job.id
        job_id = exact_id(given)
        if job_id is None or not self._has(job_id):
            raise JobLookupError(given if job_id is None else job_id)
        entry = key_of_job(job, job_id), job
        replaced = None
        with LOCK:
            if job_id in self._entries:
                replaced = self._put({job_id: entry})
        if replaced is None:
            raise JobLookupError(job_id)

    def remove(self, job_id: str) -> T:
        """Remove the job with that id and return it; O(log n).

        >>> job = index.remove("backup")

        :raises JobLookupError: if the index has no job with that id.
        """
        exact = exact_id(job_id)
        with LOCK:
            removed = self._pop(exact)
        if removed is None:
            raise JobLookupError(job_id if exact is None else exact)
        return removed[1]

    def get(self, job_id: str) -> T | None:
        """Return the job with that id, or None; O(1).

        >>> job = index.get("backup")
        """
        exact = exact_id(job_id)
        with LOCK:
            entry = self._entries.get(exact)  # type: ignore[arg-type]
        return entry[1] if entry else None

    def __contains__(self, job_id: object) -> bool:
        return self._has(exact_id(job_id))

    def __len__(self) -> int:
        with LOCK:
            return len(self._entries)

    def due(self, now: datetime, limit: int = sys.maxsize) -> list[T]:
        """Return the k jobs whose run time is `now` or earlier, in order; O(log n + k).

        >>> for job in index.due(datetime.now(timezone.utc)): ...

        :param now: the time; a naive one counts as UTC.
        :param limit: the most jobs to return.
        :raises TypeError: if `now` is not a datetime, or `limit` not a whole number.
        :raises ValueError: if the limit is negative.
        """
        limit = min(operator.index(limit), sys.maxsize)
        if now is None:
            raise TypeError("now must be a datetime, not None")
        if limit < 0:
            raise ValueError(f"limit must be 0 or more, not {limit}")
        key = key_of(now, "now")
        with LOCK:
            count = self._order.bisect_left((key + 1,))  # type: ignore[arg-type]
            first = islice(islice(self._order, count), limit)
            return [self._entries[job_id][1] for _, job_id in first]

    def first_run_time(self) -> datetime | None:
        """Return the first job's own `next_run_time`, or None if no job has one; O(1).

        >>> index.first_run_time()
        datetime.datetime(2030, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
        """
        with LOCK:
            if not self._order or self._order[0][0] == PAUSED:
                return None
            job = self._entries[self._order[0][1]][1]
        return job.next_run_time

    def all(self) -> list[T]:
        """Return all n jobs in order; O(n).

        >>> jobs = index.all()
        """
        with LOCK:
            return [self._entries[job_id][1] for _, job_id in self._order]

    def page(self, key: int, job_id: str | None, limit: int) -> list[tuple[int, str, T]]:
        """Return the first k jobs after (key, id), each with its key and id; O(log n + k).

        A key is a run time in µs since the epoch in UTC, and 2**62 for a job that is paused.

        >>> for key, job_id, job in index.page(0, None, 50): ...

        :param job_id: the id after which the page begins; None for all jobs from the key on.
        :param limit: the most jobs to return.
        :raises TypeError: if `key` or `limit` is not a whole number, or the id neither a str nor
            None.
        :raises OverflowError: if the key is not from -2**62 to 2**62.
        :raises ValueError: if the limit is negative.
        """
        limit = min(operator.index(limit), sys.maxsize)
        key = operator.index(key)
        if not -PAUSED <= key <= PAUSED:
            raise OverflowError(f"key must be -2**62 to 2**62, not {key}")
        exact = "" if job_id is None else required_id(exact_id(job_id), job_id)
        if limit < 0:
            raise ValueError(f"limit must be 0 or more, not {limit}")
        with LOCK:
            bisect = self._order.bisect_left if job_id is None else self._order.bisect_right
            places = islice(self._order.islice(bisect((key, exact))), limit)
            return [(key, job_id, self._entries[job_id][1]) for key, job_id in places]

    def __iter__(self) -> Iterator[T]:
        return iter(self.all())

    def clear(self) -> None:
        """Remove every job; O(n).

        >>> index.clear()
        """
        with LOCK:
            _dropped_at_the_end, self._entries = self._entries, {}
            self._order.clear()

    def add_many(self, jobs: Iterable[T]) -> list[str]:
        """Add k jobs; return the ids refused, in the order given; O(k log k + k log n).

        An id is refused where a loop over `add` would raise ConflictingIdError. So a second job
        with the same id is refused, too.

        >>> index.add_many([first, second])
        []

        :raises TypeError: or another error about a bad job; then nothing has changed.
        """
        return self._put_many(jobs, add=True, replace=False)

    def replace_many(self, jobs: Iterable[T]) -> list[str]:
        """Replace k jobs; return the ids not found, in the order given; O(k log k + k log n).

        Of several jobs with the same id, the last one stays.

        >>> index.replace_many([first, second])
        []

        :raises TypeError: or another error about a bad job; then nothing has changed.
        """
        return self._put_many(jobs, add=False, replace=True)

    def put_many(self, jobs: Iterable[T]) -> None:
        """Add k jobs, each replacing a job with the same id; O(k log k + k log n).

        >>> index.put_many([first, second])

        :raises TypeError: or another error about a bad job; then nothing has changed.
        """
        self._put_many(jobs, add=True, replace=True)

    def remove_many(self, job_ids: Iterable[str]) -> list[str]:
        """Remove k jobs; return the ids not found, in the order given; O(k log n).

        >>> index.remove_many(["first", "second"])
        []

        :raises TypeError: if an id can't be hashed; then nothing has changed.
        """
        ids = [(given, exact_id(given)) for given in list(job_ids)]
        with LOCK:
            removed = [self._pop(job_id) for _, job_id in ids]
        return [
            given if job_id is None else job_id
            for (given, job_id), entry in zip(ids, removed, strict=True)
            if entry is None
        ]

    def _has(self, job_id: str | None) -> bool:
        with LOCK:
            return job_id in self._entries

    def _pop(self, job_id: str | None) -> tuple[int, T] | None:
        """Under the lock, remove an id and return its entry, or None."""
        entry = self._entries.pop(job_id, None)  # type: ignore[arg-type]
        if entry:
            self._order.remove((entry[0], job_id))  # type: ignore[arg-type]
        return entry

    def _put(self, items: dict[str, tuple[int, T]]) -> dict[str, tuple[int, T]]:
        """Under the lock, put the items; return what they replace, to be dropped without it."""
        replaced = {i: self._entries[i] for i in items.keys() & self._entries.keys()}
        for job_id, (key, _) in replaced.items():
            self._order.remove((key, job_id))
        self._order.update((key, job_id) for job_id, (key, _) in items.items())
        self._entries.update(items)
        return replaced

    def _put_many(self, jobs: Iterable[T], *, add: bool, replace: bool) -> list[str]:
        read: list[tuple[str, tuple[int, T] | None]] = []
        accepted = set()
        for job in list(jobs):
            given = job.id
            job_id = exact_id(given)
            there = self._has(job_id) or job_id in accepted
            if replace if there else add:
                job_id = required_id(job_id, given)
                accepted.add(job_id)
                read.append((job_id, (key_of_job(job, job_id), job)))
            else:  # refused, so nobody needs its run time
                read.append((given if job_id is None else job_id, None))
        items: dict[str, tuple[int, T]] = {}
        refused = []
        with LOCK:
            for job_id, entry in read:
                if entry and (replace if job_id in self._entries or job_id in items else add):
                    items[job_id] = entry
                else:
                    refused.append(job_id)
            _dropped_at_the_end = self._put(items)
        return refused

    def _check(self) -> None:
        """Verify every invariant; raise AssertionError if one is broken."""
        with LOCK:
            self._order._check()  # type: ignore[attr-defined]
            assert list(self._order) == sorted((key, i) for i, (key, _) in self._entries.items())
            assert all(type(job_id) is str for job_id in self._entries)
