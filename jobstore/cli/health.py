"""The command `health`: findings about a collection and its schedulers, and an exit code."""

import typer
from pymongo.errors import PyMongoError

from ..mongodb.health.collection import Judged, judge
from ..mongodb.health.finding import LEVELS
from .failures import CommandError, text_of
from .findings import write_wrapped
from .options import Json, TargetUrl
from .output import Output
from .printable import printable
from .target import open_store

__all__ = ["health"]

DOWN = LEVELS.index("down")


def health(target: TargetUrl = None, as_json: Json = False) -> None:
    """Judge the health of a collection and its schedulers, one line a finding.

    The exit code is 0 if all is well, 1 if jobs may be late, double or kept from running, and 2 if
    no scheduler fires jobs, or the server can't be reached.

    A scheduler that is well has one line. Into a pipe go the level, the scheduler or the
    collection, the finding's name, its text, and advice, between tabs.

    Examples:

    \b
      jobstore health mongodb://localhost/apscheduler.jobs
      jobstore health --json || send-alert
    """
    try:
        with open_store(target) as (store, _):
            level, judged = judge(store)
    except CommandError as error:
        raise CommandError(str(error), DOWN) from error
    except PyMongoError as error:
        raise CommandError(text_of(error), DOWN) from error
    write(judged, Output(), as_json)
    raise typer.Exit(LEVELS.index(level))


def write(judged: list[Judged], output: Output, as_json: bool) -> None:
    """Write a line for each finding; a terminal gets headings, and wrapped lines."""
    heading = None
    for about, finding in judged:
        if as_json:
            output.json({"about": about, **finding._asdict()})
        elif not output.is_terminal:
            level, *cells = finding
            output.record([level, *(printable(each) or "-" for each in (about, *cells))])
        else:
            if about != heading:
                output.line((printable(about), "bold"))
            write_wrapped(finding, output)
        heading = about
