"""Converts many jobs to documents, and names all bad jobs in a single error."""

import sys
from collections.abc import Callable, Iterable

from apscheduler.job import Job
from apscheduler.jobstores.base import TransientJobError
from pymongo.errors import DocumentTooLarge

from ..base import TransientJobsError, first_few
from .documents import Document, DocumentId

__all__ = ["to_documents"]


def to_documents(jobs: Iterable[Job], to_document: Callable[[Job], Document]) -> list[Document]:
    """Make the documents of all jobs; an error comes after all jobs have been tried.

    :raises TransientJobsError: if the first bad job's function can't be imported by name, and
        neither can those of other jobs; names these jobs.
    :raises pymongo.errors.DocumentTooLarge: if the first bad job is too large; names ten such jobs.
    :raises Exception: otherwise, the first bad job's error. From Python 3.11 on, a note names all
        bad jobs if the error's text doesn't.
    """
    documents: list[Document] = []
    bad: list[tuple[DocumentId, Exception]] = []
    for job in jobs:
        try:
            document = to_document(job)
        except Exception as error:
            if bad:
                error.__traceback__ = None  # else it keeps the job's state, which may be large
            bad.append((getattr(job, "id", None), error))
        else:
            if not bad:
                documents.append(document)
    if bad:
        raise _combined_error(bad)
    return documents


def _combined_error(bad: list[tuple[DocumentId, Exception]]) -> Exception:
    first = bad[0][1]
    same_type = [(job_id, error) for job_id, error in bad if type(error) is type(first)]
    combined, names_all = first, False
    if isinstance(first, TransientJobError | DocumentTooLarge):
        names_all = len(same_type) == len(bad)
        if len(same_type) > 1:
            combined = _error_naming_all(first, same_type)
            combined.__cause__ = first
    if not names_all and sys.version_info >= (3, 11):
        reasons = [f"{job_id!r} ({type(error).__name__}: {error})" for job_id, error in bad]
        combined.add_note(f"jobs that can't be stored, {len(bad):,} in all: {first_few(reasons)}")
    return combined


def _error_naming_all(first: Exception, same_type: list[tuple[DocumentId, Exception]]) -> Exception:
    if isinstance(first, TransientJobError):
        return TransientJobsError([job_id for job_id, _ in same_type])
    return DocumentTooLarge(first_few([error for _, error in same_type]))
