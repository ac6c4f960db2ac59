"""The commands `ls`, `show` and `count`."""

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Annotated, Any

import typer
from bson import json_util

from ..describe import JobInfo
from ..mongodb import MongoDBJobStore
from ..where import Where
from .as_json import to_json
from .details import write_details
from .failures import NO_SUCH_JOB, WRONG, CommandError
from .listing import write_records, write_table
from .options import (
    TARGET,
    After,
    Due,
    Executor,
    Func,
    IdPrefix,
    Json,
    Limit,
    Name,
    Paused,
    Quarantined,
    Tag,
    TargetUrl,
    Trigger,
    filters,
)
from .output import Output
from .target import open_store

__all__ = ["count", "ls", "pages", "show"]

PAGE = 1000


def ls(
    target: TargetUrl = None,
    paused: Paused = False,
    due: Due = None,
    func: Func = None,
    name: Name = None,
    executor: Executor = None,
    trigger: Trigger = None,
    tag: Tag = None,
    id_prefix: IdPrefix = None,
    quarantined: Quarantined = False,
    limit: Limit = 50,
    after: After = None,
    as_json: Json = False,
) -> None:
    """List jobs, those that are due first.

    A job has to meet all conditions. Into a pipe go all columns, between tabs: id, next run time,
    state, function, trigger, executor, name.

    Examples:

    \b
      jobstore ls mongodb://localhost/apscheduler.jobs
      jobstore ls --due 5m --executor default
      jobstore ls --func reports:send --limit 0 --json
    """
    where = filters(paused, due, func, name, executor, trigger, tag, id_prefix, quarantined)
    with open_store(target) as (store, _):
        listing = pages(store, where, after, limit)
        output = Output()
        if as_json:
            for page in listing:
                for job in page:
                    output.json({**to_json(job), "key": job.key})
        elif output.is_terminal:
            write_table(listing, output, limit)
        else:
            write_records(listing, output)


def pages(
    store: MongoDBJobStore, where: Where, after: JobInfo | str | None, limit: int
) -> Iterator[list[JobInfo]]:
    """Yield the jobs in pages of 1,000; 0 is no limit."""
    left = limit
    while True:
        size = min(PAGE, left) if limit else PAGE
        page = find(store, where, after, size)
        if page:
            yield page
        left -= len(page)
        if len(page) < size or (limit and not left):
            return
        after = page[-1]


def find(
    store: MongoDBJobStore, where: Where, after: JobInfo | str | None, size: int
) -> list[JobInfo]:
    """Read a page.

    :raises CommandError: if the key that a user gave is none.
    """
    try:
        return store.find(where, after=after, limit=size)
    except (ValueError, TypeError) as error:
        if not isinstance(after, str):
            raise
        raise CommandError(f"--after is {after!r}: it must be the key of a job", WRONG) from error


def show(
    targets: Annotated[list[str] | None, TARGET] = None,
    *,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    as_json: Json = False,
) -> None:
    """Show one job, with its arguments.

    The job's code is not imported. The exit code is 3 if there is no such job. An id that is no
    string is given as extended JSON.

    Examples:

    \b
      jobstore show mongodb://localhost/apscheduler.jobs nightly-report
      jobstore show nightly-report --json
      jobstore show '{"$oid": "6749a1b2c3d4e5f601234567"}'
    """
    if targets and len(targets) > 1:
        raise CommandError(f"{len(targets) + 1} arguments are given: show takes [TARGET] ID", WRONG)
    with open_store(targets[0] if targets else None) as (store, collection):
        job = describe(store, job_id)
        if job is None:
            raise CommandError(f"there is no job {job_id!r} in {collection}", NO_SUCH_JOB)
        output = Output()
        if as_json:
            output.json({**to_json(job), "key": job.key})
            return
        write_details(job, datetime.now(timezone.utc), output)


def describe(store: MongoDBJobStore, job_id: str) -> JobInfo | None:
    """Read the job with an id, or with the id that its extended JSON stands for."""
    job = store.describe(job_id)
    if job is not None:
        return job
    try:
        other: Any = json_util.loads(job_id)
    except Exception:  # of any kind, from a text that is no JSON
        return None
    return store.describe(other)


def count(
    target: TargetUrl = None,
    paused: Paused = False,
    due: Due = None,
    func: Func = None,
    name: Name = None,
    executor: Executor = None,
    trigger: Trigger = None,
    tag: Tag = None,
    id_prefix: IdPrefix = None,
    quarantined: Quarantined = False,
) -> None:
    """Count jobs.

    The options are those of ls.

    Examples:

    \b
      jobstore count mongodb://localhost/apscheduler.jobs
      jobstore count --due 0s
      jobstore count --func reports:send --paused
    """
    where = filters(paused, due, func, name, executor, trigger, tag, id_prefix, quarantined)
    with open_store(target) as (store, _):
        Output().record([str(store.count(where))])
