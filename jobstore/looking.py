"""Searches jobs that a store has as objects, for `find` and `count`.

Other threads may change the jobs meanwhile: a scheduler changes a job before it tells the store. So
a page in order of time shows the very times by which it is sorted, whatever the jobs have by now.
Then no page passes over a job, or shows it twice, that has stayed unchanged.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from heapq import nsmallest

from apscheduler.job import Job

from .about import Tags, kind_of_class, tags_of
from .describe import JobInfo, describe_job
from .where import Where, in_utc

__all__ = [
    "check_limit",
    "count_by_time",
    "count_jobs",
    "find_by_id",
    "find_by_time",
    "no_place",
    "pages_of",
]

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)
FIRST, LAST = (
    (end.replace(tzinfo=timezone.utc) - EPOCH) // MICROSECOND
    for end in (datetime.min, datetime.max)
)
UNTIMED = 2**62  # the key of a job without a run time, as in an index: after all others

# As in an index: the run time in µs since 1970, and the id. Then the job itself.
Entry = tuple[int, str, Job]
# Returns the first entries after a time and an id, or from the time on if the id is None.
Page = Callable[[int, str | None, int], list[Entry]]

MOST = 1000  # entries at a time, so that a search needs little memory


def find_by_time(
    page: Page, where: Where, after: JobInfo | str | None, limit: int, tags: Tags | None
) -> list[JobInfo]:
    """Return a page of jobs in order of time; O(log n + k) if `page` is, and k entries are read.

    :raises ValueError: as `find` does.
    """
    check_limit(limit)
    start, end = _start(where, after), _end(where)
    found: list[JobInfo] = []
    size = min(limit, MOST)
    while entries := page(*start, size):
        meant = {id(job) for job in _meant((job for _, _, job in entries), where, tags)}
        for key, _, job in entries:
            if key >= end:
                return found
            if id(job) in meant:
                found.append(_at_time(describe_job(job, tags), key))
                if len(found) == limit:
                    return found
        start = entries[-1][:2]
        size = MOST
    return found


def find_by_id(
    jobs: Iterable[Job],
    where: Where,
    after: JobInfo | str | None,
    limit: int,
    tags: Tags | None,
) -> list[JobInfo]:
    """Return a page of jobs in order of id; O(n + k log k).

    :raises ValueError: as `find` does.
    """
    check_limit(limit)
    last = None if after is None else place_of(after)[1]
    jobs = _meant(jobs, where, tags)
    if where.paused is not None:
        jobs = (job for job in jobs if (job.next_run_time is None) == where.paused)
    if last is not None:
        jobs = (job for job in jobs if _id_of(job) > last)
    return [describe_job(job, tags) for job in nsmallest(limit, jobs, key=_id_of)]


def count_jobs(jobs: Iterable[Job], where: Where, tags: Tags | None) -> int:
    """Count jobs; O(n)."""
    jobs = _meant(jobs, where, tags)
    if where.paused is not None:
        jobs = [job for job in jobs if (job.next_run_time is None) == where.paused]
    if where.due_after is not None or where.due_before is not None:
        start, end = _start(where, None)[0], _end(where)
        jobs = [job for job in jobs if start <= key_of(job.next_run_time) < end]
    return sum(1 for _ in jobs)


def count_by_time(due: Callable[[datetime], list[Job]], total: int, where: Where) -> int:
    """Count jobs where only their times matter; the cost of two calls of `due`.

    :param due: returns the jobs whose run time is a time or earlier, as an index does.
    :param total: the number of all jobs, those without a run time included.
    """

    def before(key: int) -> int:
        if key <= FIRST:
            return 0
        return total if key > UNTIMED else len(due(EPOCH + (min(key, LAST + 1) - 1) * MICROSECOND))

    return max(before(_end(where)) - before(_start(where, None)[0]), 0)


def pages_of(jobs: Iterable[Job]) -> Page:
    """Return a function that gives pages of these jobs, as an index does; O(n log n)."""
    entries = [(key_of(job.next_run_time), _id_of(job), job) for job in jobs]
    entries.sort(key=lambda entry: entry[:2])
    places = [entry[:2] for entry in entries]

    def page(key: int, job_id: str | None, limit: int) -> list[Entry]:
        start = (
            bisect_left(places, (key, ""))
            if job_id is None
            else bisect_right(places, (key, job_id))
        )
        return entries[start : start + limit]

    return page


def check_limit(limit: int) -> None:
    """Refuse a length of a page that is no whole number from 1 on."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueError(f"limit is {limit!r}: it must be a whole number from 1 on")


def place_of(after: JobInfo | str) -> tuple[int, str]:
    """Return the key and the id of the last job of a page.

    :raises ValueError: names a key that is not of a job with a string as its id.
    """
    try:
        if isinstance(after, JobInfo):
            key, job_id = key_of(after.next_run_time), after.id
        else:
            seconds, job_id = json.loads(after)
            if type(seconds) not in (int, float, type(None)):
                raise TypeError
            key = UNTIMED if seconds is None else round(seconds * 1_000_000)
        is_place = isinstance(job_id, str) and (FIRST <= key <= LAST or key == UNTIMED)
    except (TypeError, ValueError, OverflowError, RecursionError):  # also of hostile JSON
        is_place = False
    if not is_place:
        raise no_place(after)
    return key, str.__str__(job_id)


def no_place(after: object) -> ValueError:
    """Return the error of an argument `after` that is no place."""
    return ValueError(f"after is {after!r}: it must be a job that find returned, or its key")


def key_of(run_time: datetime | None) -> int:
    """Return a run time in µs since 1970; a job that has been given no time at all has none."""
    if run_time is None:
        return UNTIMED
    try:
        since_epoch = (run_time if run_time.tzinfo is timezone.utc else in_utc(run_time)) - EPOCH
        return since_epoch // MICROSECOND
    except Exception:  # of code of its time zone, too
        return UNTIMED


def _start(where: Where, after: JobInfo | str | None) -> tuple[int, str | None]:
    """Return the place after which a search in order of time begins; without an id, its time."""
    start: tuple[int, str | None] = (
        FIRST if where.due_after is None else key_of(where.due_after),
        None,
    )
    if where.paused:
        start = UNTIMED, None
    if after is not None:
        last = place_of(after)
        if last[0] >= start[0]:
            return last
    return start


def _end(where: Where) -> int:
    """Return the key before which such a search ends."""
    if where.quarantined:
        return FIRST
    if where.due_before is not None:
        return min(key_of(where.due_before), UNTIMED)
    return UNTIMED + (where.due_after is None and where.paused is not False)


def _id_of(job: Job) -> str:
    return str.__str__(job.id)  # a subclass may have an order of its own


class Kinds(dict[type, str]):
    """The kinds of triggers by their classes, so that a loop over jobs makes each text once."""

    def __missing__(self, cls: type) -> str:
        self[cls] = kind = kind_of_class(cls)
        return kind


def _at_time(info: JobInfo, key: int) -> JobInfo:
    """Return the description with the time by which a page is sorted."""
    run_time = None if key == UNTIMED else EPOCH + key * MICROSECOND
    return info._replace(next_run_time=run_time, paused=run_time is None)


def _meant(jobs: Iterable[Job], where: Where, tags: Tags | None) -> Iterable[Job]:
    """Return the jobs that meet all conditions but those of time; each is a quick loop."""
    if where.quarantined:
        return ()  # only a database has a quarantine
    if where.func is not None:
        jobs = [job for job in jobs if job.func_ref == where.func]
    if where.executor is not None:
        jobs = [job for job in jobs if job.executor == where.executor]
    if where.name is not None:
        jobs = [job for job in jobs if job.name == where.name]
    if where.id_prefix is not None:
        starts_with = str.startswith  # a subclass may have a method of its own
        jobs = [job for job in jobs if starts_with(job.id, where.id_prefix)]
    if where.trigger is not None:
        kinds = Kinds()
        jobs = [job for job in jobs if kinds[job.trigger.__class__] == where.trigger]
    if where.tag is not None:
        jobs = [job for job in jobs if tags is not None and where.tag in tags_of(job, tags)]
    return jobs
