"""Builds errors about stored jobs that can't be used; their texts say why."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from apscheduler.job import Job
from pymongo.errors import PyMongoError

from ..base import ConflictingIdError, JobLookupError
from . import queries
from .connection import Connection
from .documents import Document, DocumentId, Record, UnreadableError, subdocument

__all__ = ["conflict_error", "quarantine_note", "unusable_error"]

IN_QUARANTINE = {"quarantine.since": {"$exists": True}}
MAX_SHOWN = 10


class UnusableJobError(JobLookupError):
    """Raised to change a job that is stored, but can't be restored here."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(job_id)
        self.job_id, self.reason = job_id, reason
        self.args = (
            f"Job {job_id} {reason.rstrip('.')}. "
            f"Fix that and call restore_quarantined([{job_id!r}]), "
            "or add it with replace_existing=True, or remove it",
        )

    def __reduce__(self) -> tuple[type[KeyError], tuple[str, str]]:
        return type(self), (self.job_id, self.reason)


class QuarantinedIdError(ConflictingIdError):
    """Raised to add a job whose id is that of a job in quarantine."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(job_id)
        self.job_id, self.reason = job_id, reason
        self.args = (
            f"{self.args[0]}, which {reason.rstrip('.')}. "
            "Replace it with replace_existing=True, or remove it",
        )

    def __reduce__(self) -> tuple[type[KeyError], tuple[str, str]]:
        return type(self), (self.job_id, self.reason)


def unusable_error(
    connection: Connection, document: Document, restore: Callable[[Record], Job]
) -> JobLookupError:
    """Build the error for a document whose job can't be restored here; 1 command.

    :param restore: makes the job of a record, or raises `UnreadableError`.
    """
    job_id = document["_id"]
    mark = _read_marks(connection, [job_id]).get(job_id)  # a mirror's documents have none
    if mark is not None:
        return UnusableJobError(job_id, f"is in {_describe(mark)}")
    try:
        restore(Record.of(document))
    except UnreadableError as error:
        return UnusableJobError(job_id, f"can't be restored here: {error}")
    return JobLookupError(job_id)


def conflict_error(connection: Connection, job_id: str) -> ConflictingIdError:
    """Build the error for an id that is taken; 1 command."""
    mark = _read_marks(connection, [job_id]).get(job_id)
    if mark is None:
        return ConflictingIdError(job_id)
    return QuarantinedIdError(job_id, f"is in {_describe(mark)}")


def quarantine_note(connection: Connection, job_ids: Sequence[str]) -> str:
    """List which of the jobs are in quarantine, and why, for an error; 1 or 2 commands.

    Returns an empty string if none is, or if the server can't be reached.
    """
    quarantined: list[str] = []
    with suppress(PyMongoError):
        quarantined = sorted(queries.stored_ids(connection, list(job_ids), IN_QUARANTINE))
    if not quarantined:
        return ""
    marks = _read_marks(connection, quarantined[:MAX_SHOWN])
    shown = ", ".join(f"{job_id} ({mark.get('reason')})" for job_id, mark in marks.items())
    more = f" and {len(quarantined) - MAX_SHOWN} more" if len(quarantined) > MAX_SHOWN else ""
    return f"; in quarantine: {shown}{more}"


def _read_marks(
    connection: Connection, job_ids: list[DocumentId]
) -> dict[DocumentId, Mapping[str, Any]]:
    """Read the jobs' `quarantine` fields; none if that fails, so that it hides no other error."""
    with suppress(PyMongoError), connection.limit():
        cursor = connection.jobs.find({"_id": {"$in": job_ids}, **IN_QUARANTINE}, ["quarantine"])
        return {each["_id"]: subdocument(each, "quarantine") for each in cursor.sort("_id")}
    return {}


def _describe(mark: Mapping[str, Any]) -> str:
    return f"quarantine since {str(mark.get('since'))[:16]} UTC: {mark.get('reason')}"
