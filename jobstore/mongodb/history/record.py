"""A record of the history: one run of a job, or one incident."""

from datetime import datetime, timezone
from math import isfinite
from typing import Any, NamedTuple

from ..documents import Document

__all__ = ["JOB_KINDS", "KINDS", "PROBLEMS", "HistoryRecord", "history_text"]

# What may have happened, and for whom: the records of a job ...
JOB_KINDS = {
    "executed": "the run returned",
    "error": "the run raised an exception",
    "missed": "the run was later than misfire_grace_time allows, and was left out",
    "skipped": "max_instances runs of the job were in flight, and the run was left out",
    "coalesced": "several due runs were rolled into one",
    "refused": "the executor did not take the job, or is missing; the job stays due",
    "moved on": "a start gave the overdue job a later run time, or removed it",
    "held": "a start held the overdue job",
    "quarantined": "the job could not be restored or run",
    "lost": "the run's write lost to a change by another process",
    "double": "another scheduler ran the job, too",
    "added": "a caller added the job",
    "changed": "a caller changed the job, which has a run time after it",
    "paused": "a caller added or changed the job, which has no run time after it",
    "removed": "a caller removed the job",
}
# ... and those of a scheduler, which name no job.
SCHEDULER_KINDS = {
    "started": "a scheduler started",
    "stopped": "a scheduler shut down",
    "ended": "a scheduler ended without a shutdown, as a later one found",
    "took over": "a standby began to fire",
    "lost firing": "a scheduler could not renew its right to fire",
    "away": "a scheduler could not reach the database for some time",
    "dropped": "records of the history were dropped, as the buffer was full",
}
KINDS = {**JOB_KINDS, **SCHEDULER_KINDS}
PROBLEMS = KINDS.keys() - {"executed", "added", "changed"}  # what history="problems" keeps


def history_text(history: str | None) -> str:
    """Return the text of a record "started": the store's argument `history`."""
    return f'history="{history}"'


class HistoryRecord(NamedTuple):
    """One run of a job, or one incident.

    :ivar job_id: the job's id; None for an incident of a scheduler.
    :ivar kind: what happened, such as ``"executed"`` or ``"missed"``; the documentation lists all.
    :ivar at: when it happened, by the clock of the scheduler's machine.
    :ivar run_time: the run time that is meant; None if none is.
    :ivar seconds: how long a run took; None for other records.
    :ivar runs: how many runs are meant: those left out, or the records dropped.
    :ivar until: when an incident that lasted was over. After runs that were left out, the next run
        time of the job.
    :ivar detail: the error's first 500 characters, or another text.
    :ivar by: the name of the presence of the scheduler that is meant.
    """

    job_id: Any
    kind: str
    at: datetime
    run_time: datetime | None = None
    seconds: float | None = None
    runs: int = 1
    until: datetime | None = None
    detail: str = ""
    by: str = ""

    def to_document(self) -> Document:
        """Return the document of this record, without fields that say nothing."""
        job_id, kind, at, run_time, seconds, runs, until, detail, by = self
        document = {"job": job_id, "kind": kind, "time": at, "by": by}
        if run_time is not None:
            document["run_time"] = run_time
        if seconds is not None:
            document["seconds"] = seconds
        if runs != 1:
            document["runs"] = runs
        if until is not None:
            document["until"] = until
        if detail:
            document["detail"] = detail
        return document

    @classmethod
    def of(cls, document: Document) -> "HistoryRecord":
        """Read a document, which anybody may have written."""
        return cls(
            document.get("job"),
            str(document.get("kind")),
            _time(document.get("time")) or datetime.fromtimestamp(0, timezone.utc),
            _time(document.get("run_time")),
            _number(document.get("seconds")),
            int(_number(document.get("runs")) or 1),
            _time(document.get("until")),
            str(document.get("detail", "")),
            str(document.get("by", "")),
        )


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return value
    return None
