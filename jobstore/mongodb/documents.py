"""Jobs to documents and back; no database here.

A document is what the stock store writes: ``_id``, the job's id; ``next_run_time``, seconds since
the epoch, or null if the job is paused; ``job_state``, the pickle of ``job.__getstate__()``. Ours
may carry more fields: ``quarantine`` (see `jobstore.mongodb.quarantine`), ``acquired_by`` and
``acquired_until`` (see `jobstore.mongodb.lease`), and ``attempts`` (see
`jobstore.mongodb.recovery`).
"""

import pickle
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple, Protocol, overload

from apscheduler.job import Job
from apscheduler.jobstores.base import TransientJobError
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.util import datetime_to_utc_timestamp
from bson import encode
from pymongo.errors import DocumentTooLarge

__all__ = [
    "END_OF_TIME",
    "FIELDS",
    "INTERRUPTS",
    "MIN_TIME",
    "REPLACEMENT",
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
DocumentId = Any  # a job's id is a str; others may have stored a document under anything
IdKey = str | bytes  # of a dict, see `hashable_id`
Fields = Sequence[str] | Document  # of documents, to be read

FIELDS = ["next_run_time", "job_state", "quarantine", "acquired_by"]  # and _id: all that is read
MIN_TIME = datetime_to_utc_timestamp(datetime.min)  # seconds: what a datetime can say
END_OF_TIME = datetime_to_utc_timestamp(datetime.max.replace(microsecond=0)) + 1  # the year 10000
MAX_DOCUMENT = 16 * 1024 * 1024  # bytes: https://www.mongodb.com/docs/manual/reference/limits/
INTERRUPTS = KeyboardInterrupt, SystemExit
REPLACEMENT = "\ufffd"  # stands for bytes that are not UTF-8 in an id that was read


class UnreadableError(Exception):
    """The job in a document can't be made here, and why."""


class Record(NamedTuple):
    """A job's document as it was read: what a guarded write demands to find unchanged.

    The claim is the token of who has acquired it last, if many schedulers share the collection.
    """

    id: DocumentId
    run_time: Any
    state: Any
    claim: Any = None

    @property
    def next_run_time(self) -> datetime | None:
        """Its run time; with that and its id, a `JobIndex` takes it for a job.

        :raises UnreadableError: if it is none.
        """
        run_time: datetime | None = to_datetime(self.run_time)
        return run_time

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Record":
        """Take what counts out of a document that was read."""
        get = document.get
        fields = document["_id"], get("next_run_time"), get("job_state"), get("acquired_by")
        return tuple.__new__(cls, fields)  # half of the time: a mirror makes a million of them


class HasTime(Protocol):
    """A job that was seen at a run time, and is to be looked at anew when that changes."""

    @property
    def run_time(self) -> Any:
        """The job's run time, as its document had it."""


class CountedRecord(Record):
    """One whose document has a count of attempts, which the write that comes of it takes away.

    The count itself is no part of the guard.
    """

    __slots__ = ()


def dump(job: Job, protocol: int) -> bytes:
    """Pickle a job's state.

    :raises TransientJobError: if its function can't be imported by name.
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
                f"{MAX_DOCUMENT:,}: keep its large arguments elsewhere, and pass where they are"
            )
    return state


@overload
def timestamp(run_time: datetime) -> float: ...


@overload
def timestamp(run_time: datetime | None) -> float | None: ...


def timestamp(run_time: datetime | None) -> float | None:
    """Convert a run time as the stock store does, which takes a naive one for UTC.

    :raises OverflowError: if it is beyond the years 1 to 9999 in UTC.
    """
    if run_time is None:
        return None
    if run_time.utcoffset() is None:
        run_time = run_time.replace(tzinfo=timezone.utc)
    seconds = run_time.timestamp()
    if not MIN_TIME <= seconds < END_OF_TIME:
        raise OverflowError(f"{run_time!r} is beyond the years 1 to 9999 in UTC")
    return seconds


def is_included(job_id: DocumentId, run_time: Any, exclude: Mapping[IdKey, HasTime]) -> bool:
    """Whether the scheduler has to wake up for a job: not if `exclude` has it with this run time.

    Ids that are not UTF-8 are read with replacement characters, so several may have one key.
    """
    if (
        not exclude or (excluded := exclude.get(hashable_id(job_id))) is None
    ):  # other threads may change it
        return True
    return bool(excluded.run_time != run_time) and REPLACEMENT not in str(job_id)


def hashable_id(job_id: DocumentId) -> IdKey:
    """Make a dict's key of any `_id`."""
    return job_id if type(job_id) is str else encode({"": job_id})


def exact_str(job_id: DocumentId) -> DocumentId:
    """Make an id of a class derived from `str` its characters."""
    return str.__str__(job_id) if isinstance(job_id, str) else job_id


def to_document(job: Job, protocol: int) -> Document:
    """Make a job's document.

    :raises TransientJobError: if its function can't be imported by name.
    :raises pymongo.errors.DocumentTooLarge: naming the job and its size, over 16 MiB.
    """
    job_id = exact_str(job.id)
    job_id.encode()  # now, and not when the batches before its own are stored
    return {
        "_id": job_id,
        "next_run_time": timestamp(job.next_run_time),
        "job_state": dump(job, protocol),
    }


def restore(record: Record, scheduler: BaseScheduler | None, alias: str | None) -> Job:
    """Make the job of a document, due when the document says, whatever its state says.

    :raises UnreadableError: if that can't be done, or the job is not whole.
    """
    try:
        run_time = to_datetime(record.run_time)
        if not isinstance(record.state, bytes):
            kind = (
                "missing"
                if record.state is None
                else f"a {type(record.state).__name__}, not binary"
            )
            raise UnreadableError(f"its job_state is {kind}")
        job = Job.__new__(Job)
        job.__setstate__(pickle.loads(record.state))
        if not isinstance(job.id, str) or str.__str__(job.id) != record.id:
            raise UnreadableError(f"its state is that of job {job.id!r}")
        if type(job.id) is not str:
            job.id = record.id  # of a derived class just its characters
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
    except BaseException as error:  # what a state runs is anybody's code
        raise UnreadableError(_describe(error)) from error
    job._scheduler = scheduler
    job._jobstore_alias = alias
    return job


def _is_same_instant(value: Any, run_time: datetime) -> bool:
    """Whether it is the same instant; between zones, one that a clock skips equals no other."""
    return isinstance(value, datetime) and timestamp(value) == timestamp(run_time)


def restore_runnable(record: Record, scheduler: BaseScheduler | None, alias: str | None) -> Job:
    """Make the job of a document that is to run in this scheduler.

    :raises UnreadableError: if it can't be made, or its executor isn't here.
    """
    job = restore(record, scheduler, alias)
    if scheduler is not None:
        try:
            scheduler._lookup_executor(job.executor)
        except Exception:
            raise UnreadableError(f"there is no executor {job.executor!r} here") from None
    return job


def sort_key(job: Job) -> tuple[bool, float, str]:
    """Sort jobs by run time and id, paused ones last."""
    run_time = timestamp(job.next_run_time)
    return run_time is None, run_time or 0.0, job.id


def with_run_time(state: bytes, run_time: float | None) -> bytes:
    """Give a pickled state another run time; one that can't be unpickled stays as it is."""
    try:
        changed = pickle.loads(state)
        zone = getattr(changed["next_run_time"], "tzinfo", None) or timezone.utc
        changed["next_run_time"] = (
            None if run_time is None else datetime.fromtimestamp(run_time, zone)
        )
        return pickle.dumps(changed, state[1] if state.startswith(b"\x80") else 0)
    except INTERRUPTS:
        raise
    except BaseException:
        return state  # the document's own time is what counts


@overload
def to_datetime(value: float) -> datetime: ...


@overload
def to_datetime(value: object) -> datetime | None: ...


def to_datetime(value: object) -> datetime | None:
    """Convert a document's run time back.

    :raises UnreadableError: if it is none.
    """
    if type(value) is float and MIN_TIME <= value < END_OF_TIME:
        return datetime.fromtimestamp(value, timezone.utc)
    if value is None:
        return None
    if type(value) is not float and (not isinstance(value, int) or isinstance(value, bool)):
        raise UnreadableError(f"its next_run_time is a {type(value).__name__}: {value!r}")
    if not MIN_TIME <= value < END_OF_TIME:
        raise UnreadableError(
            f"its next_run_time is {value!r}, which is no time from year 1 to 9999"
        )
    return datetime.fromtimestamp(value, timezone.utc)


def _describe(error: BaseException) -> str:
    """Say what was raised, in characters that BSON takes."""
    try:
        text = f"{type(error).__name__}: {error}"
        cause = error.__cause__
        if cause is not None:  # a module that is missing, under APScheduler's LookupError
            text += f" ({type(cause).__name__}: {cause})"
    except INTERRUPTS:
        raise
    except BaseException:
        text = type(error).__name__
    return text[:500].encode("utf-8", "backslashreplace").decode()
