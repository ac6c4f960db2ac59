"""The command `why`: says why a job ran, or did not run, at a time."""

from datetime import datetime
from typing import Annotated

import typer

from .as_json import to_json
from .details import LABEL, wrapped
from .failures import NO_SUCH_JOB, CommandError
from .history import id_of, target_of
from .moments import moment
from .options import TARGET, Json
from .output import Output
from .printable import printable
from .target import open_store
from .times import absolute

__all__ = ["why"]


def why(
    targets: Annotated[list[str] | None, TARGET] = None,
    *,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    at: Annotated[
        datetime | None,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="12:00, 2026-11-29T12:00, or 5m for five minutes ago; the last run if left out.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say why a job ran, or did not run, at a time.

    The run is meant that is nearest to TIME, less than a minute away. Times are in UTC, unless they
    have a zone, such as 12:00+01:00. The answer says which record or document shows it. Schedulers
    with the argument history keep records; without them, less is known.

    The exit code is 3 if no job and no record has the id. Into a pipe go the answer in a word, the
    time, the answer in words, and its source, between tabs.

    Examples:

    \b
      jobstore why mongodb://localhost/apscheduler.jobs nightly-report --at 12:00
      jobstore why nightly-report --at 2026-11-29T12:00:30+01:00
      jobstore why nightly-report --json
    """
    with open_store(target_of(targets, "why")) as (store, _):
        answer = store.why(id_of(store, job_id), at)
    if answer.kind == "no such job":
        raise CommandError(answer.text, NO_SUCH_JOB)
    output = Output()
    if as_json:
        output.json(to_json(answer))
        return
    if not output.is_terminal:
        text, source = printable(answer.text), printable(answer.source) or "-"
        output.record([answer.kind, answer.at.isoformat(), text, source])
        return
    lines = [("answer", answer.kind), ("at", f"{absolute(answer.at)} UTC"), ("why", answer.text)]
    if answer.source:
        lines.append(("shown by", answer.source))
    for label, text in lines:
        first, *others = wrapped(printable(text), output.width - LABEL)
        output.line((f"{label:{LABEL}}", "bold"), first)
        for each in others:
            output.line(" " * LABEL, each)
