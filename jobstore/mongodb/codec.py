"""Converts jobs to documents and back: each state is pickled, checked and unpickled here.

No state is unpickled before its signature has been checked, if the store has keys.
"""

import logging
import pickle
from datetime import datetime, timezone, tzinfo
from sys import intern
from typing import Any

from apscheduler.job import Job
from apscheduler.jobstores.base import TransientJobError
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from bson import encode
from pymongo.errors import DocumentTooLarge

from .._states import advance
from ..about import Tags
from ..describe import binary
from ..run_times import UnreadableError, to_datetime
from .about_field import about_field
from .documents import INTERRUPTS, Document, Record, exact_str, timestamp
from .trust.allowed import Allowed
from .trust.signatures import TRUSTED, Signatures
from .trust.untrusted import UntrustedError

__all__ = ["MAX_DOCUMENT", "Codec"]

MAX_DOCUMENT = 16 * 1024 * 1024  # bytes: https://www.mongodb.com/docs/manual/reference/limits/


class Codec:
    """Converts the jobs of a store.

    :param signatures: signs states, and checks them; None without keys.
    :param allowed: refuses classes and functions; None allows all.
    :ivar trusted: the signature of a state that this store has made, until the state is written.
    :ivar protocol: the pickle protocol for the jobs' states.
    :ivar tags: returns a job's tags; None if there are none.
    """

    def __init__(
        self,
        protocol: int = pickle.HIGHEST_PROTOCOL,
        tags: Tags | None = None,
        signatures: Signatures | None = None,
        allowed: Allowed | None = None,
    ) -> None:
        self.protocol, self.tags = protocol, tags
        self.signatures, self._allowed = signatures, allowed
        self.trusted = TRUSTED if signatures else None

    def open(self, logger: logging.Logger) -> None:
        """Get the keys; called by each start.

        :raises Exception: if the callable of the store's keys fails.
        """
        if self.signatures:
            self.signatures.keys.logger = logger
            self.signatures.keys.load()

    # To documents

    def to_document(self, job: Job) -> Document:
        """Make a job's document.

        It has no field `about` if only that would make it larger than 16 MiB.

        :raises TransientJobError: if the job's function can't be imported by name.
        :raises UnicodeEncodeError: if the job's id, or a tag, has no UTF-8 encoding.
        :raises TypeError: if a tag is no string.
        :raises OverflowError: if the run time is outside the years 1 to 9999 in UTC.
        :raises ValueError: if the job has a class or function that isn't allowed.
        :raises pymongo.errors.DocumentTooLarge: naming the job and its size, over 16 MiB.
        """
        job_id = exact_str(job.id)
        job_id.encode()  # raises here, before any batch is stored
        state = self.dump(job)
        if self._allowed:
            self._check_new(job, state, self._allowed)
        document = {
            "_id": job_id,
            "next_run_time": timestamp(job.next_run_time),
            "job_state": state,
            "about": about_field(job, state, self.tags),
        }
        if self.signatures:
            document["signature"] = self.signatures.sign(job_id, state)
        if len(state) > MAX_DOCUMENT // 2 and len(encode(document)) > MAX_DOCUMENT:
            del document["about"]
            _check_size(document)
        return document

    def dump(self, job: Job) -> bytes:
        """Pickle a job's state.

        :raises TransientJobError: if the job's function can't be imported by name.
        :raises pymongo.errors.DocumentTooLarge: naming the job and its size, over 16 MiB.
        """
        if not job.func_ref:
            raise TransientJobError(job.id)
        state = pickle.dumps(job.__getstate__(), self.protocol)
        if len(state) > MAX_DOCUMENT // 2:
            _check_size({"_id": job.id, "next_run_time": 0.0, "job_state": state})
        return state

    def with_run_time(self, record: Record, run_time: float | None) -> tuple[bytes, Any]:
        """Return a record's state with another run time, and `trusted`.

        If the state can't be unpickled, the record's state and signature are returned unchanged.

        The run time keeps its zone: some triggers compute the next run from the local date. A state
        without a run time gets one in its trigger's zone. All else in the state keeps its very
        bytes where possible (see `advance`).

        :raises UntrustedError: if the state may not be unpickled.
        """
        try:
            changed = self._loads(record)
            old = changed["next_run_time"]
            zone = getattr(old, "tzinfo", None) or _zone_of(changed["trigger"])
            new = None if run_time is None else datetime.fromtimestamp(run_time, zone)
            state = advance(record.state, old, new)
            if state is None:
                changed["next_run_time"] = new
                # The pickler writes equal strings once only if they are one object, as a job's keys
                # are.
                changed = {intern(key): value for key, value in changed.items()}
                protocol = record.state[1] if record.state.startswith(b"\x80") else 0
                state = pickle.dumps(changed, protocol)
        except (*INTERRUPTS, UntrustedError):
            raise
        except BaseException:
            return record.state, record.signature  # the document's run time is the one in force
        return state, self.trusted

    def _check_new(self, job: Job, state: bytes, allowed: Allowed) -> None:
        """Refuse a job that the store would not run."""
        try:
            allowed.check_func(job.func_ref)
            allowed.loads(state)
        except UntrustedError as reason:
            raise ValueError(f"job {job.id!r} can't be stored: {reason}") from reason

    # From documents

    def restore(self, record: Record, scheduler: BaseScheduler | None, alias: str | None) -> Job:
        """Make the job of a record; the run time is the document's, not that of the pickled state.

        :raises UnreadableError: if that fails, or if the job lacks a part that it needs.
        :raises UntrustedError: if the state may not be unpickled; nothing of it was.
        :raises Exception: if the callable of the store's keys fails at its first call.
        """
        run_time = to_datetime(record.run_time)
        state = self._loads(record)
        try:
            job = Job.__new__(Job)
            job.__setstate__(state)
            if not isinstance(job.id, str) or str.__str__(job.id) != record.id:
                raise UnreadableError(f"its state is that of job {job.id!r}")
            if type(job.id) is not str:
                job.id = record.id  # not an object of a subclass
            if not isinstance(job.trigger, BaseTrigger):
                raise UnreadableError(f"its trigger is a {type(job.trigger).__name__}")
            if run_time is None:
                job.next_run_time = None
            elif job.next_run_time != run_time and not _is_same_instant(
                job.next_run_time, run_time
            ):
                zone = getattr(job.next_run_time, "tzinfo", None) or getattr(
                    scheduler, "timezone", timezone.utc
                )
                job.next_run_time = run_time.astimezone(zone)
        except (*INTERRUPTS, UnreadableError):
            raise
        except BaseException as error:  # restoring runs code of users
            raise UnreadableError(_describe(error)) from error
        job._scheduler = scheduler
        job._jobstore_alias = alias
        return job

    def restore_runnable(
        self, record: Record, scheduler: BaseScheduler | None, alias: str | None
    ) -> Job:
        """Make the job of a record, to run in this scheduler.

        :raises UnreadableError: if the job can't be restored, or if the scheduler lacks its
            executor.
        """
        job = self.restore(record, scheduler, alias)
        if scheduler is not None:
            try:
                scheduler._lookup_executor(job.executor)
            except Exception:
                raise UnreadableError(f"there is no executor {job.executor!r} here") from None
        return job

    def _loads(self, record: Record) -> Any:
        """Unpickle a state, if that is safe: the only place that unpickles any.

        :raises UnreadableError: if it can't, or may not, be unpickled.
        """
        if self.signatures:
            self.signatures.check(record.id, record.state, record.signature)
        state = binary(record.state)
        try:
            if self._allowed is None:
                return pickle.loads(state)
            return self._allowed.load_job(state)
        except (*INTERRUPTS, UnreadableError):
            raise
        except BaseException as error:  # unpickling runs code of users
            raise UnreadableError(_describe(error)) from error


def _check_size(document: Document) -> None:
    """Refuse a document that MongoDB can't store."""
    size = len(encode(document))
    if size > MAX_DOCUMENT:
        raise DocumentTooLarge(
            f"job {document['_id']!r} takes {size:,} bytes, and a MongoDB document at most "
            f"{MAX_DOCUMENT:,}: keep its large arguments elsewhere, and pass references to them"
        )


def _is_same_instant(value: Any, run_time: datetime) -> bool:
    """Compare by timestamp: across zones, `==` is False for times in a fold or a gap."""
    return isinstance(value, datetime) and timestamp(value) == timestamp(run_time)


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
