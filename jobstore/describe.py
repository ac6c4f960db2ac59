"""A job's description from its document: nothing is imported, and nothing is called."""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

from apscheduler.job import Job

from .about import About, Tags, tags_of
from .inert.reader import read_state
from .inert.texts import MAX_TEXT, text_of
from .inert.triggers import kind_of_trigger, text_of_trigger
from .run_times import UnreadableError, to_datetime
from .where import in_utc

__all__ = [
    "JobInfo",
    "Lease",
    "QuarantineMark",
    "about_state",
    "binary",
    "describe",
    "describe_job",
    "stored_tags",
]

# What a job's state has to have, with the types that APScheduler writes.
TEXTS = ("id", "name", "func", "executor")
NUMBERS = ("misfire_grace_time", "coalesce", "max_instances")


class Lease(NamedTuple):
    """A claim of a job by one of the schedulers that share the collection.

    :ivar token: the fencing token of the claim, in hexadecimal digits.
    :ivar until: the end of the lease, by the server's clock. A time in the past shows that a
        scheduler ended, or stood still, with the job.
    """

    token: str
    until: datetime


class QuarantineMark(NamedTuple):
    """Why a job is in quarantine.

    :ivar reason: the error that restoring the job raised, or another reason.
    :ivar since: when the job was put into quarantine, by the server's clock; None if unknown.
    :ivar next_run_time: when the job was due; None if its document had no valid time.
    """

    reason: str
    since: datetime | None
    next_run_time: datetime | None


class JobInfo(NamedTuple):
    """A job as an operator sees it, also where its code can't be imported.

    Fields that the job's state should have are None if `unreadable` says why.

    :ivar id: the job's id. Other programs may have stored documents with an `_id` of any type.
    :ivar name: the job's name.
    :ivar func: the job's function, as ``module:name``.
    :ivar trigger: the trigger, as its `str`; the class of a trigger that is not APScheduler's, as
        ``module:name``.
    :ivar executor: the alias of the job's executor.
    :ivar args: the positional arguments, at most 500 characters of their `repr`.
    :ivar kwargs: the keyword arguments, likewise.
    :ivar misfire_grace_time: in seconds; None if a run is never too late.
    :ivar coalesce: whether several missed runs become one.
    :ivar max_instances: the maximum number of runs at the same time.
    :ivar next_run_time: the time in force, in UTC; None if the job is paused, or in quarantine.
    :ivar paused: whether the job has no run time, and is not in quarantine.
    :ivar quarantine: why the job is in quarantine; None if it is not.
    :ivar lease: the claim of a scheduler; None if there is none.
    :ivar held: the run time of a held job, in UTC; None if the job is not held.
    :ivar tags: the job's tags, as they were at the last write outside a cycle; in the
        memory store, as they are now.
    :ivar bytes: the size of the pickled state; None in the memory store.
    :ivar unreadable: why the document or its state is not that of a job; None if it is.
    """

    id: Any
    name: str | None
    func: str | None
    trigger: str | None
    executor: str | None
    args: str | None
    kwargs: str | None
    misfire_grace_time: int | None
    coalesce: bool | None
    max_instances: int | None
    next_run_time: datetime | None
    paused: bool
    quarantine: QuarantineMark | None = None
    lease: Lease | None = None
    held: datetime | None = None
    tags: tuple[str, ...] = ()
    bytes: int | None = None
    unreadable: str | None = None

    @property
    def about(self) -> About:
        """The texts by which `find` knows the job; None for each that can't be read."""
        kind = None if self.trigger is None else self.trigger.partition("[")[0]
        return About(self.func, self.name, self.executor, kind, self.tags)

    @property
    def key(self) -> str:
        """The job's place among all, to be given to `find` as `after`; a text of JSON."""
        run_time = None if self.next_run_time is None else self.next_run_time.timestamp()
        # JavaScript code is a subclass of `str`, and another type of BSON.
        if isinstance(self.id, str) and type(self.id).__module__ != "bson.code":
            return json.dumps([run_time, self.id])
        from bson import json_util  # only the MongoDB store has other ids

        return json_util.dumps([run_time, self.id], json_options=json_util.CANONICAL_JSON_OPTIONS)


def describe(document: Mapping[str, Any]) -> JobInfo:
    """Describe a job's document of MongoDB; O(length of its state), about 30 µs.

    Never raises an error of the document: `JobInfo.unreadable` says what is wrong with it.

    >>> describe(collection.find_one("report")).func
    'reports:send'

    :param document: the whole document, as `pymongo` reads it.
    """
    job_id, state, stored_time = map(document.get, ("_id", "job_state", "next_run_time"))
    run_time, unreadable = read_run_time(stored_time)
    job: dict[str, Any] = {}
    try:
        job = read_job(job_id, state)
    except UnreadableError as error:
        unreadable = str(error)
    mark = quarantine_mark(document.get("quarantine")) if run_time is None else None
    is_paused = stored_time is None and mark is None
    return JobInfo(
        id=job_id,
        name=job.get("name"),
        func=job.get("func"),
        trigger=text_of_trigger(job["trigger"]) if job else None,
        executor=job.get("executor"),
        args=text_of(job["args"]) if job else None,
        kwargs=text_of(job["kwargs"]) if job else None,
        misfire_grace_time=job.get("misfire_grace_time"),
        coalesce=bool(job["coalesce"]) if job else None,
        max_instances=job.get("max_instances"),
        next_run_time=run_time,
        paused=is_paused,
        quarantine=mark,
        lease=read_lease(document),
        held=held_time(document.get("held")) if is_paused else None,
        tags=stored_tags(document.get("about")),
        bytes=len(state) if isinstance(state, bytes) else None,
        unreadable=unreadable,
    )


def describe_job(job: Job, tags: Tags | None = None) -> JobInfo:
    """Describe a live job, without a call of its code; about 20 µs.

    :param tags: returns the job's tags; None means none.
    :raises TypeError: if a tag is no string; names it and the job.
    """
    run_time = job.next_run_time
    run_time = None if run_time is None else in_utc(run_time).astimezone(timezone.utc)
    return JobInfo(
        id=job.id,
        name=job.name,
        func=job.func_ref or text_of(job.func),
        trigger=text_of_trigger(job.trigger),
        executor=job.executor,
        args=text_of(job.args),
        kwargs=text_of(job.kwargs),
        misfire_grace_time=job.misfire_grace_time,
        coalesce=job.coalesce,
        max_instances=job.max_instances,
        next_run_time=run_time,
        paused=run_time is None,
        tags=tags_of(job, tags) if tags else (),
    )


def about_state(state: bytes) -> About:
    """Read the texts of a job from its pickled state; the state has no tags.

    :raises UnreadableError: if it is not the state of a job; says why.
    """
    job = read_job(None, state)
    return About(job["func"], job["name"], job["executor"], kind_of_trigger(job["trigger"]))


def read_job(job_id: Any, state: Any) -> dict[str, Any]:
    """Read a job's state, and check that it has all parts of a job.

    :param job_id: the id that the state should have; None is any.
    :raises UnreadableError: if it is not the state of this job; says why.
    """
    job = read_state(binary(state))
    version = job.get("version", 1)
    if version != 1:
        raise UnreadableError(f"its state has version {text_of(version, 20)}")
    for name in (*TEXTS, *NUMBERS, "trigger", "args", "kwargs"):
        if name not in job:
            raise UnreadableError(f"its state lacks {name!r}")
    for name in TEXTS:
        if type(job[name]) is not str:
            raise UnreadableError(f"its {name} is {text_of(job[name], 100)}, and no text")
    for name in NUMBERS:
        if not (job[name] is None or is_number(job[name])):
            raise UnreadableError(f"its {name} is {text_of(job[name], 100)}, and no number")
    if job_id is not None and job["id"] != job_id:
        raise UnreadableError(f"its state is that of job {text_of(job['id'], 100)}")
    if kind_of_trigger(job["trigger"]) is None:
        raise UnreadableError(f"its trigger is {text_of(job['trigger'], 100)}")
    return job


def binary(state: Any) -> bytes:
    """Return a document's `job_state` unchanged.

    :raises UnreadableError: if it is missing, or not binary.
    """
    if isinstance(state, bytes):
        return state
    kind = "missing" if state is None else f"a {type(state).__name__}, not binary"
    raise UnreadableError(f"its job_state is {kind}")


def is_number(value: Any) -> bool:
    """Whether this is a whole number that is short in digits."""
    return isinstance(value, int) and value.bit_length() <= 64


def read_run_time(value: Any) -> tuple[datetime | None, str | None]:
    """Convert a stored run time; return None with the reason if it is none."""
    try:
        return to_datetime(value), None
    except UnreadableError as error:
        return None, str(error)[:MAX_TEXT]  # the value may be a long text


def quarantine_mark(mark: Any) -> QuarantineMark | None:
    """Read the mark of a job in quarantine; None if it is no mark."""
    if not isinstance(mark, dict):
        return None
    reason, since = mark.get("reason"), mark.get("since")
    return QuarantineMark(
        reason if isinstance(reason, str) else text_of(reason),
        since if isinstance(since, datetime) else None,
        read_run_time(mark.get("next_run_time"))[0],
    )


def read_lease(document: Mapping[str, Any]) -> Lease | None:
    """Read the claim of a job; None if it is released, or was never claimed."""
    until = document.get("acquired_until")
    return Lease(str(document.get("acquired_by")), until) if isinstance(until, datetime) else None


def held_time(held: Any) -> datetime | None:
    """Read the run time of a held job; None if the job is not held."""
    return read_run_time(held.get("next_run_time"))[0] if isinstance(held, dict) else None


def stored_tags(about: Any) -> tuple[str, ...]:
    """Read the tags in a document's field `about`, also if its texts are stale."""
    tags = about.get("tags") if isinstance(about, dict) else None
    return tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()
