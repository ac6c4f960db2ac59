"""A list of jobs: a table for a person, or lines for a program."""

import shlex
import sys
from collections.abc import Iterator
from datetime import datetime, timezone

from ..describe import JobInfo
from .output import Output, Part
from .printable import printable
from .states import STYLES, state_of
from .table import Column, Table
from .times import absolute, iso, relative

__all__ = ["write_records", "write_table"]

COLUMNS = [
    Column("ID", 20),
    Column("NEXT RUN (UTC)"),
    Column("STATE"),
    Column("FUNCTION", 22, keep_end=True),
    Column("DUE"),
    Column("TRIGGER", 20),
    Column("EXECUTOR", 8),
    Column("NAME", 12),
]
NEEDED = 4  # of them, also on a narrow terminal


def write_records(listing: Iterator[list[JobInfo]], output: Output) -> None:
    """Write a line for each job, with all columns between tabs."""
    for page in listing:
        now = datetime.now(timezone.utc)
        for job in page:
            output.record(record_of(job, now))


def write_table(listing: Iterator[list[JobInfo]], output: Output, limit: int) -> None:
    """Write a table that fits the terminal, and say how to go on."""
    table, listed, last = None, 0, None
    for page in listing:
        now = datetime.now(timezone.utc)
        rows = [row_of(job, now) for job in page]
        if table is None:
            table = Table(COLUMNS, rows, output.width, NEEDED)
            table.write_head(output)
        table.write(output, rows)
        listed, last = listed + len(page), page[-1]
    if last is None:
        output.line("no jobs")
    elif listed == limit:
        hint = f"{listed:,} jobs listed. For more: --after {shlex.quote(last.key)}"
        print(hint, file=sys.stderr)


def row_of(job: JobInfo, now: datetime) -> list[Part]:
    """Return a job's cells, for a person."""
    state = state_of(job, now)
    return [
        printable(job.id),
        absolute(job.next_run_time),
        (state, STYLES[state]),
        text(job.func),
        relative(job.next_run_time, now),
        text(job.trigger),
        text(job.executor),
        text(job.name),
    ]


def record_of(job: JobInfo, now: datetime) -> list[str]:
    """Return a job's cells, for a program."""
    return [
        printable(job.id),
        iso(job.next_run_time),
        state_of(job, now),
        text(job.func),
        text(job.trigger),
        text(job.executor),
        text(job.name),
    ]


def text(value: str | None) -> str:
    """Return a text that is safe to print; ``-`` if there is none."""
    return "-" if value is None else printable(value)
