"""The command `doctor`: everything that a supporter would ask for."""

import typer

from .findings import exit_code, write_findings
from .options import Json, TargetUrl
from .output import Output
from .target import open_store

__all__ = ["doctor"]


def doctor(target: TargetUrl = None, as_json: Json = False) -> None:
    """Look at the server, the user's rights, the collection and its schedulers.

    Each finding that is not well says what to do. Nothing is written. The exit code is 0 if all is
    well, 1 if something is degraded, and 2 if no job fires, or the server does not answer.

    Examples:

    \b
      jobstore doctor mongodb://localhost/apscheduler.jobs
      jobstore doctor --json
    """
    with open_store(target, check=False) as (store, _):
        findings = store.doctor()
    write_findings(findings, Output(), as_json)
    raise typer.Exit(exit_code(findings))
