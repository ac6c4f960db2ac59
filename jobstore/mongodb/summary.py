"""Sums up log messages about jobs: one line for each reason, with a count and the first ten ids."""

import logging
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from ..base import first_few
from .documents import DocumentId

__all__ = ["Line", "Summary", "logged_summary"]

MAX_REASONS = 10  # lines of a kind: reasons that contain ids would make one for each job
# Reasons that differ only in an object's address are the same: pickle of Python 3.14 and later
# writes the function that it can't pickle.
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Line(NamedTuple):
    """The level and the formats of a log line, for one job and for several with the same reason.

    :ivar singular: takes the id, and the reason if there is one.
    :ivar plural: takes the number of jobs, their first ids, and the reason if there is one.
    """

    level: int
    singular: str
    plural: str


class Summary:
    """Collects log messages about single jobs, from any thread."""

    def __init__(self) -> None:
        self._noted: deque[tuple[Line, DocumentId, str | None]] = deque()

    def add(self, line: Line, job_id: DocumentId, reason: object = None) -> None:
        """Add a job to a line, with a reason if the line's formats take one."""
        text = None if reason is None else ADDRESS.sub("", str(reason))
        self._noted.append((line, job_id, text))

    def log(self, logger: logging.Logger) -> None:
        """Log the messages since the last call; at most ten lines of a kind.

        If there are more reasons, the last line gives the first of the others, and their number.
        """
        if not self._noted:
            return
        kinds: dict[Line, dict[str | None, list[DocumentId]]] = {}
        with suppress(IndexError):  # another thread may take the last ones
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
    """Yield a summary, and log it at the end, also after an error."""
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
