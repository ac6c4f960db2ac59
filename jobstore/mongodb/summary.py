"""Log lines about jobs: one for each reason, which counts the jobs and names the first ten."""

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from ..base import first_few
from .documents import DocumentId

__all__ = ["Line", "Summary", "logged_summary"]

MAX_REASONS = 10  # lines of a kind; reasons that name each job would be a line for each


class Line(NamedTuple):
    """How a line reads for one job, and for several with the same reason.

    :ivar one: a format of the id, and of the reason where there is one.
    :ivar many: a format of the number of jobs, of their first ids, and of the reason.
    """

    level: int
    singular: str
    plural: str


class Summary:
    """Collects notes of single jobs for the log; any thread may add one."""

    def __init__(self) -> None:
        self._noted: deque[tuple[Line, DocumentId, str | None]] = deque()

    def add(self, line: Line, job_id: DocumentId, reason: object = None) -> None:
        """Note a job."""
        self._noted.append((line, job_id, None if reason is None else str(reason)))

    def log(self, logger: logging.Logger) -> None:
        """Log the notes since the last time.

        Jobs whose reasons are many share a line, which gives the first of these reasons.
        """
        if not self._noted:
            return
        kinds: dict[Line, dict[str | None, list[DocumentId]]] = {}
        with suppress(IndexError):  # another thread may log the last ones
            while True:
                line, job_id, reason = self._noted.popleft()
                kinds.setdefault(line, {}).setdefault(reason, []).append(job_id)
        for line, reasons in kinds.items():
            for reason, job_ids in _merge_rest(reasons).items():
                why = () if reason is None else (reason,)
                if len(job_ids) == 1:
                    logger.log(line.level, line.singular, job_ids[0], *why)
                else:
                    number = f"{len(job_ids):,}"
                    logger.log(line.level, line.plural, number, first_few(job_ids), *why)


@contextmanager
def logged_summary(logger: logging.Logger) -> Iterator[Summary]:
    """Collect lines, and log them in the end, whatever happens."""
    lines = Summary()
    try:
        yield lines
    finally:
        lines.log(logger)


def _merge_rest(reasons: dict[str | None, list[DocumentId]]) -> dict[str | None, list[DocumentId]]:
    if len(reasons) <= MAX_REASONS:
        return reasons
    ordered = list(reasons.items())
    first, rest = ordered[: MAX_REASONS - 1], ordered[MAX_REASONS - 1 :]
    shared = f"{rest[0][0]} (and {len(rest) - 1:,} other reasons)"
    return {**dict(first), shared: [job_id for _, job_ids in rest for job_id in job_ids]}
