"""The command `quarantine`: lists the jobs that no scheduler runs, and restores them."""

from datetime import datetime, timezone
from typing import Annotated, Any

import typer

from ..mongodb import MongoDBJobStore, QuarantinedJob
from .as_json import to_json
from .failures import CommandError
from .keys import KEYS, Allow, check_allow, check_keys, current_directory_on_path
from .options import Json, TargetUrl
from .output import Output, Part
from .printable import printable
from .table import Column, Table
from .target import limited, open_store, split_words
from .times import absolute, iso, relative

__all__ = ["list_quarantined", "restore"]

COLUMNS = [
    Column("ID", 16),
    Column("SINCE"),
    Column("REASON", 48),
    Column("WAS DUE (UTC)"),
]
NEEDED = 3
NAMED = 5  # ids in an error
PAGE = 1000  # ids in a query


def list_quarantined(target: TargetUrl = None, as_json: Json = False) -> None:
    """List the jobs in quarantine, with the reasons.

    Into a pipe go the id, the time since when, the run time, and the reason, between tabs.

    Examples:

    \b
      jobstore quarantine mongodb://localhost/apscheduler.jobs
      jobstore quarantine --json
    """
    with open_store(target) as (store, _):
        jobs = store.quarantined()
    output = Output()
    now = datetime.now(timezone.utc)
    if as_json:
        for job in jobs:
            output.json(to_json(job))
    elif not output.is_terminal:
        for job in jobs:
            output.record([printable(job.id), iso(job.since), iso(job.next_run_time), reason(job)])
    elif jobs:
        rows: list[list[Part]] = [
            [printable(job.id), since(job, now), reason(job), absolute(job.next_run_time)]
            for job in jobs
        ]
        table = Table(COLUMNS, rows, output.width, NEEDED)
        table.write_head(output)
        table.write(output, rows)
    else:
        output.line("no jobs in quarantine")


def since(job: QuarantinedJob, now: datetime) -> str:
    """Return how long a job has been in quarantine."""
    return relative(job.since, now) if isinstance(job.since, datetime) else printable(job.since)


def reason(job: QuarantinedJob) -> str:
    """Return the reason as a text that is safe to print."""
    return printable(job.reason)


def restore(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET|ID",
            help="TARGET, unless $JOBSTORE_URL is set, and the ids of jobs; none: all that did not "
            "end their processes.",
            show_default=False,
        ),
    ] = None,
    keys: Annotated[str | None, KEYS] = None,
    allow: Allow = None,
) -> None:
    """Take jobs that load again out of quarantine.

    The ids of these jobs are printed. The command imports the jobs' code and unpickles them: run it
    where their program runs, in its environment and its directory. Modules are found in the current
    directory, too.

    With --keys, only jobs with a valid signature are unpickled. Without it, run the command only if
    you trust the collection; it refuses to restore jobs that have signatures.

    The exit code is 1 if some of the jobs stay in quarantine.

    Examples:

    \b
      jobstore quarantine restore mongodb://localhost/apscheduler.jobs
      jobstore quarantine restore nightly-report
      jobstore quarantine restore --keys myapp.keys:signing_keys --allow 'myapp.*'
    """
    target, ids = split_words(words or [])
    with current_directory_on_path():
        if keys is not None:
            check_keys(keys)
        check_allow(allow)
        trust: dict[str, Any] = {"signing_keys": keys, "allow": allow or None}
        with open_store(target, writes=True, **trust) as (store, _):
            put_back(store, ids, keys is not None)


def put_back(store: MongoDBJobStore, ids: list[str], has_keys: bool) -> None:
    """Restore jobs, and print their ids."""
    output = Output()
    marked = [job.id for job in store.quarantined()]
    if not has_keys:
        check_unsigned(store, [job_id for job_id in marked if not ids or job_id in ids])
    for job_id in store.restore_quarantined(ids or None):
        output.line(printable(job_id))
    if unknown := [job_id for job_id in ids if job_id not in marked]:
        raise CommandError(f"not in quarantine: {', '.join(unknown)}")
    check_left(store, ids)


def check_unsigned(store: MongoDBJobStore, job_ids: list[Any]) -> None:
    """Refuse to restore signed jobs without keys: their signatures would not be checked.

    :raises CommandError: names such a job.
    """
    for start in range(0, len(job_ids), PAGE):
        query = {"_id": {"$in": job_ids[start : start + PAGE]}, "signature": {"$ne": None}}
        with limited(store.client):
            found = store.collection.find_one(query, ["_id"])
        if found:
            raise CommandError(
                f"job {str(found['_id'])!r} has a signature: give --keys, so that signatures are "
                "checked before any code runs"
            )


def check_left(store: MongoDBJobStore, ids: list[str]) -> None:
    """Report the jobs that are not back.

    :raises CommandError: if there are any.
    """
    jobs = [job for job in store.quarantined() if not ids or job.id in ids]
    if jobs:
        named = "; ".join(f"{job.id}: {job.reason}" for job in jobs[:NAMED])
        more = f"; and {len(jobs) - NAMED:,} more" if len(jobs) > NAMED else ""
        raise CommandError(f"{len(jobs):,} jobs stay in quarantine ({named}{more})")
