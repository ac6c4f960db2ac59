"""Which jobs `find` and `count` are to find."""

from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import Any

from .about import About

__all__ = ["Where", "check_time", "in_utc"]

TIMES = ("due_before", "due_after")
FLAGS = ("paused", "quarantined")


@dataclass(frozen=True, kw_only=True)
class Where:
    """Names jobs by their properties; a job has to have all that are given.

    Jobs come in order of (next run time, id), those without a run time last. They come in order of
    id if `id_prefix`, `func`, `name`, `executor`, `trigger` or `tag` is given, and neither
    `due_before` nor `due_after`: so an index can find them.

    >>> from jobstore import Where
    >>> nightly = Where(func="reports:send", executor="default", paused=False)

    :param id_prefix: the beginning of the job's id.
    :param due_before: the run time is before this one; a naive one is UTC.
    :param due_after: the run time is this one or later; a naive one is UTC.
    :param paused: whether the job has no run time, and is not in quarantine. A held job is paused.
    :param quarantined: whether the job is in quarantine.
    :param func: the job's function, as ``module:name``.
    :param name: the job's name.
    :param executor: the alias of the job's executor.
    :param trigger: the trigger's kind, such as ``"cron"``, ``"interval"``, ``"date"``, or the class
        of a trigger that is not APScheduler's, as ``module:name``.
    :param tag: one of the job's tags.
    :raises TypeError: names the first argument of another type.
    """

    id_prefix: str | None = None
    due_before: datetime | None = None
    due_after: datetime | None = None
    paused: bool | None = None
    quarantined: bool | None = None
    func: str | None = None
    name: str | None = None
    executor: str | None = None
    trigger: str | None = None
    tag: str | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            allowed: type = datetime if each.name in TIMES else bool if each.name in FLAGS else str
            if value is not None and not isinstance(value, allowed):
                raise TypeError(
                    f"{each.name} is {value!r}: it must be a {allowed.__name__} or None"
                )

    @property
    def is_by_time(self) -> bool:
        """Whether the jobs come in order of (next run time, id), and not of id alone."""
        if self.due_before is not None or self.due_after is not None:
            return True
        return self.id_prefix is None and self.tag is None and not self.needs_about

    @property
    def is_about_time(self) -> bool:
        """Whether the answer depends on the run times of jobs alone."""
        return self.is_by_time and self == Where(
            due_before=self.due_before, due_after=self.due_after, paused=self.paused
        )

    @property
    def needs_about(self) -> bool:
        """Whether the answer depends on texts that a job's state has."""
        texts = self.func, self.name, self.executor, self.trigger
        return any(text is not None for text in texts)

    def includes(
        self, job_id: Any, run_time: datetime | None, is_paused: bool, is_quarantined: bool
    ) -> bool:
        """Whether a job meets all conditions that do not concern its texts."""
        return (
            (
                self.id_prefix is None
                or (isinstance(job_id, str) and job_id.startswith(self.id_prefix))
            )
            and (self.paused is None or is_paused == self.paused)
            and (self.quarantined is None or is_quarantined == self.quarantined)
            and (
                self.due_before is None
                or (run_time is not None and run_time < in_utc(self.due_before))
            )
            and (
                self.due_after is None
                or (run_time is not None and run_time >= in_utc(self.due_after))
            )
        )

    def is_about(self, about: About) -> bool:
        """Whether a job's texts meet the conditions."""
        return (
            (self.func is None or about.func == self.func)
            and (self.name is None or about.name == self.name)
            and (self.executor is None or about.executor == self.executor)
            and (self.trigger is None or about.trigger == self.trigger)
            and (self.tag is None or self.tag in about.tags)
        )


def in_utc(time: datetime) -> datetime:
    """Return the time with a zone; a naive one is UTC."""
    return time.replace(tzinfo=timezone.utc) if time.utcoffset() is None else time


def check_time(name: str, value: object) -> None:
    """Refuse an argument that is neither a time nor None.

    :raises TypeError: names the argument and its value.
    """
    if value is not None and not isinstance(value, datetime):
        raise TypeError(f"{name} is {value!r}: it must be a datetime or None")
