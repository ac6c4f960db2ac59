"""What is in a job's document, as it is read and compared; no database here.

Documents have the fields of APScheduler's own store: ``_id``, the job's id; ``next_run_time``,
seconds since the epoch, or null if the job is paused; ``job_state``, the pickle of
``job.__getstate__()``. This store may add fields: ``quarantine`` (see `writes.quarantine`),
``acquired_by`` and ``acquired_until`` (see `sharing.lease`), ``attempts`` (see
`recovery.recovering`), ``held`` (see `overdue.held`), ``about`` (see `about_field`), and
``signature`` (see `trust.signatures`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple, Protocol, overload
from zoneinfo import ZoneInfo

from apscheduler.job import Job
from bson import encode

from ..run_times import END_OF_TIME, MIN_TIME, UnreadableError, to_datetime

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
    "exact_str",
    "hashable_id",
    "is_included",
    "sort_key",
    "subdocument",
    "timestamp",
    "to_datetime",
]

Document = dict[str, Any]
DocumentId = Any  # a job's id is a str; other programs may have stored documents with any `_id`
IdKey = str | bytes  # a dict's key for any `_id`: see `hashable_id`
Fields = Sequence[str] | Document  # the fields of documents to read

# Read along with `_id`.
FIELDS = ["next_run_time", "job_state", "quarantine", "acquired_by", "signature"]
STANDARD_ZONES = (timezone, ZoneInfo)  # a wall time, with its fold, has one offset there
INTERRUPTS = KeyboardInterrupt, SystemExit
REPLACEMENT = "\ufffd"  # read in place of bytes that are not UTF-8


class Record(NamedTuple):
    """A job's document as it was read; a guarded write requires that it hasn't changed.

    :ivar claim: the fencing token of the last claim, if schedulers share the collection.
    :ivar signature: the field `signature`, which anybody may have written; in a shorter form in a
        mirror; `TRUSTED` if this process has made the state.
    """

    id: DocumentId
    run_time: Any
    state: Any
    claim: Any = None
    signature: Any = None

    def equals(self, other: "Record | None") -> bool:
        """Whether a guard can't tell the two apart: it doesn't compare signatures."""
        return other is not None and self[:4] == other[:4]

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
        run_time, state = get("next_run_time"), get("job_state")
        fields = document["_id"], run_time, state, get("acquired_by"), get("signature")
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


def subdocument(document: Document, name: str) -> Mapping[str, Any]:
    """Return a field that has parts, such as a mark; an empty one if its value has none.

    Others may have written a list, in which a query finds parts, too.
    """
    value = document.get(name)
    return value if isinstance(value, dict) else {}


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


def sort_key(job: Job) -> tuple[bool, float, str]:
    """Return the key that sorts jobs by run time and id, paused ones last."""
    run_time = timestamp(job.next_run_time)
    return run_time is None, run_time or 0.0, job.id
