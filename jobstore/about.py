"""The texts by which jobs are searched: function, name, executor, trigger, tags."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from apscheduler.job import Job

__all__ = [
    "TRIGGER_KINDS",
    "About",
    "Tags",
    "about_job",
    "check_tags",
    "kind_of",
    "kind_of_class",
    "tags_of",
]

Tags = Callable[[Job], Iterable[str]]

# The classes of APScheduler's triggers, by the names that their texts begin with.
TRIGGER_KINDS = {
    "apscheduler.triggers.calendarinterval:CalendarIntervalTrigger": "calendarinterval",
    "apscheduler.triggers.combining:AndTrigger": "and",
    "apscheduler.triggers.combining:OrTrigger": "or",
    "apscheduler.triggers.cron:CronTrigger": "cron",
    "apscheduler.triggers.date:DateTrigger": "date",
    "apscheduler.triggers.interval:IntervalTrigger": "interval",
}


class About(NamedTuple):
    """The texts by which a job is searched.

    :ivar func: the job's function, as ``module:name``.
    :ivar name: the job's name.
    :ivar executor: the alias of the job's executor.
    :ivar trigger: ``"cron"``, ``"interval"``, ``"date"``, ``"and"``, ``"or"``,
        ``"calendarinterval"``, or the class of any other trigger, as ``module:name``.
    :ivar tags: what the store's argument `tags` returned for the job, sorted, each once.
    """

    func: str | None
    name: str | None
    executor: str | None
    trigger: str | None
    tags: tuple[str, ...] = ()


def about_job(job: Job, tags: Tags | None = None) -> About:
    """Return the texts of a job.

    :param tags: returns the job's tags; None means none.
    :raises TypeError: if they are no iterable of strings; names the value and the job.
    """
    kind = kind_of_class(job.trigger.__class__)
    return About(job.func_ref, job.name, job.executor, kind, tags_of(job, tags) if tags else ())


def check_tags(tags: object) -> None:
    """Refuse a store's argument `tags` that can't be called.

    :raises ValueError: names the value, and the values allowed.
    """
    if tags is not None and not callable(tags):
        raise ValueError(f"tags is {tags!r}: it must be a function of a job, or None")


def kind_of_class(cls: type) -> str:
    """Return the kind of a trigger's class.

    :param cls: its `__class__`, not its `type`: a fast cron trigger stands for the stock one.
    """
    return kind_of(cls.__module__, cls.__qualname__)


def kind_of(module: str, name: str) -> str:
    """Return the kind of a trigger by the name of its class."""
    full_name = f"{module}:{name}"
    return TRIGGER_KINDS.get(full_name, full_name)


def tags_of(job: Job, tags: Tags) -> tuple[str, ...]:
    """Ask for a job's tags, and check them.

    :raises TypeError: if they are no iterable of strings; names the value and the job.
    """
    found: Any = tags(job)
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise TypeError(f"tags returned {found!r} for job {job.id!r}: it must be a list of strings")
    found = list(found)
    for tag in found:
        if not isinstance(tag, str):
            raise TypeError(f"tags returned {tag!r} for job {job.id!r}: each tag must be a string")
    return tuple(sorted({str.__str__(tag) for tag in found}))
