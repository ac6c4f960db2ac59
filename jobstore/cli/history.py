"""The command `history`: lists the records of a job's runs and incidents."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any

import typer
from bson import json_util
from pymongo.errors import OperationFailure

from ..mongodb import MongoDBJobStore
from ..mongodb.connection import UNAUTHORIZED
from ..mongodb.history.lives import name_of
from ..mongodb.history.record import HistoryRecord
from .as_json import to_json
from .failures import WRONG, CommandError
from .moments import moment
from .options import TARGET, Json, whole
from .output import Output
from .printable import printable
from .table import Column, Table
from .target import open_store
from .times import absolute, iso

__all__ = ["history", "id_of", "record_of", "target_of"]

COLUMNS = [
    Column("TIME (UTC)"),
    Column("WHAT"),
    Column("RUN TIME (UTC)"),
    Column("DETAIL", 16),
    Column("SECONDS", to_right=True),
    Column("RUNS", to_right=True),
    Column("BY", 12),
]
NEEDED = 4


def history(
    targets: Annotated[list[str] | None, TARGET] = None,
    *,
    job_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="The job's id; - for the schedulers' own records."),
    ],
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="Only records from 12:00, 2026-11-29T12:00, or the last 5m on.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(parser=whole(1), metavar="N", help="List at most so many, the latest."),
    ] = 1000,
    as_json: Json = False,
) -> None:
    """List the records of a job's runs and incidents, the oldest first.

    Schedulers with the argument history keep them. Into a pipe go the time, the kind, the run time,
    the seconds, the number of runs, the detail, and the scheduler, between tabs.

    Examples:

    \b
      jobstore history mongodb://localhost/apscheduler.jobs nightly-report
      jobstore history nightly-report --since 12:00
      jobstore history - --since 1d --json
    """
    with open_store(target_of(targets, "history")) as (store, _):
        which = None if job_id == "-" else id_of(store, job_id)
        records = store.history(which, since, limit)
    output = Output()
    if as_json:
        for record in records:
            output.json(to_json(record))
    elif not output.is_terminal:
        for record in records:
            output.record(record_of(record))
    elif records:
        rows = [row_of(each) for each in records]
        table = Table(COLUMNS, rows, output.width, NEEDED)
        table.write_head(output)
        table.write(output, rows)
    else:
        output.line("no records")


def target_of(targets: list[str] | None, command: str) -> str | None:
    """Return TARGET, None if it was left out.

    :raises CommandError: if there are more arguments.
    """
    if targets and len(targets) > 1:
        raise CommandError(
            f"{len(targets) + 1} arguments are given: {command} takes [TARGET] ID", WRONG
        )
    return targets[0] if targets else None


def id_of(store: MongoDBJobStore, job_id: str) -> Any:
    """Return the id that a text stands for.

    It is the text itself, unless only what it is in JSON is the id of a job, or of records.
    """
    try:
        other: Any = json_util.loads(job_id)
    except Exception:  # of any kind, from a text that is no JSON
        return job_id
    ids = [job_id] if other is None else [job_id, other]
    for is_known in (store.describe, partial(has_records, store)):
        for each in ids:
            if is_known(each):
                return each
    return job_id


def has_records(store: MongoDBJobStore, job_id: Any) -> bool:
    """Whether there are records of a job, and this user may read them."""
    try:
        return bool(store.history(job_id, limit=1))
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return False


def record_of(record: HistoryRecord) -> list[str]:
    """Return a record's cells, for a program."""
    return [
        iso(record.at),
        printable(record.kind),
        iso(record.run_time),
        "-" if record.seconds is None else f"{record.seconds:.6f}",
        str(record.runs),
        printable(record.detail) or "-",
        printable(record.by) or "-",
    ]


def row_of(record: HistoryRecord) -> list[str]:
    """Return a record's cells, for a person."""
    until = f"until {absolute(record.until)} " if record.until else ""
    return [
        absolute(record.at),
        printable(record.kind),
        absolute(record.run_time),
        printable(until + record.detail) or "-",
        "-" if record.seconds is None else f"{record.seconds:.3f}",
        str(record.runs),
        printable(name_of(record.by)),
    ]
