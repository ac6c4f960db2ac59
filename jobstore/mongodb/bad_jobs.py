"""Jobs that can't become documents: of many jobs, one error names all the bad ones."""

import sys
from collections.abc import Iterable
from typing import Any

from apscheduler.job import Job
from apscheduler.jobstores.base import TransientJobError
from pymongo.errors import DocumentTooLarge

from ..base import TransientJobsError, first_few
from .documents import DocumentId, to_document

__all__ = ["documents_of"]


def documents_of(jobs: Iterable[Job], protocol: int) -> list[dict[str, Any]]:
    """Make the jobs' documents; if some jobs are bad, look at all of them before the error.

    :raises TransientJobsError: if several jobs' functions can't be imported by name.
    :raises Exception: else the first bad job's error. From Python 3.11 on, a note names the jobs
        that the error's text doesn't.
    """
    documents: list[dict[str, Any]] = []
    bad: list[tuple[DocumentId, Exception]] = []
    for job in jobs:
        try:
            document = to_document(job, protocol)
        except Exception as error:
            if bad:
                error.__traceback__ = None  # it would keep the job's state, which may be large
            bad.append((getattr(job, "id", None), error))
        else:
            if not bad:
                documents.append(document)
    if bad:
        raise _together(bad)
    return documents


def _together(bad: list[tuple[DocumentId, Exception]]) -> Exception:
    first = bad[0][1]
    alike = [(job_id, error) for job_id, error in bad if type(error) is type(first)]
    together, names_all = first, False
    if isinstance(first, TransientJobError | DocumentTooLarge):
        names_all = len(alike) == len(bad)
        if len(alike) > 1:
            together = _of_kind(first, alike)
            together.__cause__ = first
    if not names_all and sys.version_info >= (3, 11):
        reasons = [f"{job_id!r} ({type(error).__name__}: {error})" for job_id, error in bad]
        together.add_note(f"jobs that can't be stored, {len(bad):,} in all: {first_few(reasons)}")
    return together


def _of_kind(first: Exception, alike: list[tuple[DocumentId, Exception]]) -> Exception:
    if isinstance(first, TransientJobError):
        return TransientJobsError([job_id for job_id, _ in alike])
    return DocumentTooLarge(first_few([error for _, error in alike]))
