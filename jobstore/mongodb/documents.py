"""Converts jobs to documents and back; no database here.

Documents have the fields of APScheduler's own store: ``_id``, the job's id; ``next_run_time``,
seconds since the epoch, or null if the job is paused; ``job_state``, the pickle of
``job.__getstate__()``. This store may add fields: ``quarantine`` (see `writes.quarantine`),
``acquired_by`` and ``acquired_until`` (see `sharing.lease`), ``attempts`` (see
`recovery.recovering`), ``held`` (see `overdue.held`), and ``about`` (see `about_field`).
"""

import pickle
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone, tzinfo
from sys import intern
from typing import Any, NamedTuple, Protocol, overload
from zoneinfo import ZoneInfo

from apscheduler.job import Job
from apscheduler.jobstores.base import TransientJobError
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from bson import encode
from pymongo.errors import DocumentTooLarge

from .._states import advance
from ..about import Tags
from ..describe import binary
from ..run_times import END_OF_TIME, MIN_TIME, UnreadableError, to_datetime
from .about_field import about_field

__all__ = [
    "END_OF_TIME",
    "FIELDS",
    "INTERRUPTS",
    "MIN_TIME",
    "REPLACEMENT",
    "STANDARD_ZONES",
    "CountedRecord",
    "Document",
    "DocumentId",
    "Fields",
    "HasTime",
    "IdKey",
    "Record",
    "UnreadableError",
    "dump",
    "exact_str",
    "hashable_id",
    "is_included",
    "restore",
    "restore_runnable",
    "sort_key",
    "timestamp",
    "to_datetime",
    "to_document",
    "with_run_time",
]

Document = dict[str, Any]
DocumentId = Any  # a job's id is a str; other programs may have stored documents with any `_id`
IdKey = str | bytes  # a dict's key for any `_id`: see `hashable_id`
Fields = Sequence[str] | Document  # the fields of documents to read

FIELDS = ["next_run_time", "job_state", "quarantine", "acquired_by"]  # read along with `_id`
MAX_DOCUMENT = 16 * 1024 * 1024  # bytes: https://www.mongodb.com/docs/manual/reference/limits/
STANDARD_ZONES = (timezone, ZoneInfo)  # a wall time, with its fold, has one offset there
INTERRUPTS = KeyboardInterrupt, SystemExit
REPLACEMENT = "\ufffd"  # read in place of bytes that are not UTF-8


class Record(NamedTuple):
    """A job's document as it was read; a guarded write requires that it hasn't changed.

    :ivar claim: the fencing token of the last claim, if schedulers share the collection.
    """

    id: DocumentId
    run_time: Any
    state: Any
    claim: Any = None

    @property
    def next_run_time(self) -> datetime | None:
        """The run time as a datetime; a `JobIndex` sorts records by it, as it does jobs.

        :raises UnreadableError: if the stored value is no run time.
        """
        run_time: datetime | None = to_datetime(self.run_time)
        return run_time

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Record":
        """Make the record of a document that was read."""
        get = document.get
        fields = document["_id"], get("next_run_time"), get("job_state"), get("acquired_by")
        return tuple.__new__(cls, fields)  # twice as fast as `cls(...)`: a mirror makes a million


class HasTime(Protocol):
    """A job that is left out of searches as long as it has this run time."""

    @property
    def run_time(self) -> Any:
        """The `next_run_time` that was read from the job's document."""


class CountedRecord(Record):
    """A record whose document has a count of attempts, which the job's next write removes.

    The guard doesn't compare the count.
    """

    __slots__ = ()


def dump(job: Job, protocol: int) -> bytes:
    """Pickle a job's state.

    :raises TransientJobError: if the job's function can't be imported by name.
    :raises pymongo.errors.DocumentTooLarge: naming the job and its size, over 16 MiB.
    """
    if not job.func_ref:
        raise TransientJobError(job.id)
    state = pickle.dumps(job.__getstate__(), protocol)
    if len(state) > MAX_DOCUMENT // 2:
        size = len(encode({"_id": job.id, "next_run_time": 0.0, "job_state": state}))
        if size > MAX_DOCUMENT:
            raise DocumentTooLarge(
                f"job {job.id!r} takes {size:,} bytes, and a MongoDB document at most "
                f"{MAX_DOCUMENT:,}: keep its large arguments elsewhere, and pass references to them"
            )
    return state


@overload
def timestamp(run_time: datetime) -> float: ...


@overload
def timestamp(run_time: datetime | None) -> float | None: ...


def timestamp(run_time: datetime | None) -> float | None:
    """Convert a run time to seconds since the epoch; a naive one is UTC, as in the stock store.

    :raises OverflowError: if it is outside the years 1 to 9999 in UTC.
    """
    if run_time is None:
        return None
    if type(run_time.tzinfo) not in STANDARD_ZONES and run_time.utcoffset() is None:
        run_time = run_time.replace(tzinfo=timezone.utc)
    seconds = run_time.timestamp()
    if not MIN_TIME <= seconds < END_OF_TIME:
        raise OverflowError(f"{run_time!r} is outside the years 1 to 9999 in UTC")
    return seconds


def is_included(job_id: DocumentId, run_time: Any, exclude: Mapping[IdKey, HasTime]) -> bool:
    """Whether a search includes a job: not if `exclude` has its id with the same run time.

    If the id is not UTF-8, the run time doesn't matter: several such ids are read as the same id.
    """
    # `get` once: other threads may change `exclude`.
    if not exclude or (excluded := exclude.get(hashable_id(job_id))) is None:
        return True
    return bool(excluded.run_time != run_time) and REPLACEMENT not in str(job_id)


def hashable_id(job_id: DocumentId) -> IdKey:
    """Convert an `_id` of any type to a dict's key."""
    return job_id if type(job_id) is str else encode({"": job_id})


def exact_str(job_id: DocumentId) -> DocumentId:
    """Convert an id of a subclass of `str` to a `str`; other types stay."""
    return str.__str__(job_id) if isinstance(job_id, str) else job_id


def to_document(job: Job, protocol: int, tags: Tags | None = None) -> Document:
    """Make a job's document.

    It has no field `about` if only that would make it larger than 16 MiB.

    :param tags: the store's argument.
    :raises TransientJobError: if the job's function can't be imported by name.
    :raises UnicodeEncodeError: if the job's id, or a tag, has no UTF-8 encoding.
    :raises TypeError: if a tag is no string.
    :raises OverflowError: if the run time is outside the years 1 to 9999 in UTC.
    :raises pymongo.errors.DocumentTooLarge: naming the job and its size, over 16 MiB.
    """
    job_id = exact_str(job.id)
    job_id.encode()  # raises here, before any batch is stored
    state = dump(job, protocol)
    document = {
        "_id": job_id,
        "next_run_time": timestamp(job.next_run_time),
        "job_state": state,
        "about": about_field(job, state, tags),
    }
    if len(state) > MAX_DOCUMENT // 2 and len(encode(document)) > MAX_DOCUMENT:
        del document["about"]
    return document


def restore(record: Record, scheduler: BaseScheduler | None, alias: str | None) -> Job:
    """Make the job of a record; the run time is the document's, not that of the pickled state.

    :raises UnreadableError: if that fails, or if the job lacks a part that it needs.
    """
    try:
        run_time = to_datetime(record.run_time)
        state = binary(record.state)
        job = Job.__new__(Job)
        job.__setstate__(pickle.loads(state))
        if not isinstance(job.id, str) or str.__str__(job.id) != record.id:
            raise UnreadableError(f"its state is that of job {job.id!r}")
        if type(job.id) is not str:
            job.id = record.id  # not an object of a subclass
        if not isinstance(job.trigger, BaseTrigger):
            raise UnreadableError(f"its trigger is a {type(job.trigger).__name__}")
        if run_time is None:
            job.next_run_time = None
        elif job.next_run_time != run_time and not _is_same_instant(job.next_run_time, run_time):
            zone = getattr(job.next_run_time, "tzinfo", None) or getattr(
                scheduler, "timezone", timezone.utc
            )
            job.next_run_time = run_time.astimezone(zone)
    except (*INTERRUPTS, UnreadableError):
        raise
    except BaseException as error:  # unpickling runs code of users
        raise UnreadableError(_describe(error)) from error
    job._scheduler = scheduler
    job._jobstore_alias = alias
    return job


def _is_same_instant(value: Any, run_time: datetime) -> bool:
    """Compare by timestamp: across zones, `==` is False for times in a fold or a gap."""
    return isinstance(value, datetime) and timestamp(value) == timestamp(run_time)


def restore_runnable(record: Record, scheduler: BaseScheduler | None, alias: str | None) -> Job:
    """Make the job of a record, to run in this scheduler.

    :raises UnreadableError: if the job can't be restored, or if the scheduler lacks its executor.
    """
    job = restore(record, scheduler, alias)
    if scheduler is not None:
        try:
            scheduler._lookup_executor(job.executor)
        except Exception:
            raise UnreadableError(f"there is no executor {job.executor!r} here") from None
    return job


def sort_key(job: Job) -> tuple[bool, float, str]:
    """Return the key that sorts jobs by run time and id, paused ones last."""
    run_time = timestamp(job.next_run_time)
    return run_time is None, run_time or 0.0, job.id


def with_run_time(state: bytes, run_time: float | None) -> bytes:
    """Set the run time in a pickled state; return the state unchanged if it can't be unpickled.

    The run time keeps its zone: some triggers compute the next run from the local date. A state
    without a run time gets one in its trigger's zone. All else in the state keeps its very bytes
    where possible (see `advance`).
    """
    try:
        changed = pickle.loads(state)
        old = changed["next_run_time"]
        zone = getattr(old, "tzinfo", None) or _zone_of(changed["trigger"])
        new = None if run_time is None else datetime.fromtimestamp(run_time, zone)
        if (advanced := advance(state, old, new)) is not None:
            return advanced
        changed["next_run_time"] = new
        # The pickler writes equal strings once only if they are one object, as a job's keys are.
        changed = {intern(key): value for key, value in changed.items()}
        return pickle.dumps(changed, state[1] if state.startswith(b"\x80") else 0)
    except INTERRUPTS:
        raise
    except BaseException:
        return state  # the run time in the document is the one in force


def _zone_of(trigger: Any) -> tzinfo:
    """Return the zone of a trigger's run times; UTC if it is unknown."""
    candidates = [trigger]
    for each in candidates:
        zone = getattr(each, "timezone", None)
        if isinstance(zone, tzinfo):
            return zone
        candidates += getattr(each, "triggers", ())  # of a combined trigger
    return timezone.utc


def _describe(error: BaseException) -> str:
    """Format an error and its cause, in characters that BSON can store."""
    try:
        text = f"{type(error).__name__}: {error}"
        cause = error.__cause__
        if cause is not None:  # such as the ImportError behind APScheduler's LookupError
            text += f" ({type(cause).__name__}: {cause})"
    except INTERRUPTS:
        raise
    except BaseException:
        text = type(error).__name__
    return text[:500].encode("utf-8", "backslashreplace").decode()
