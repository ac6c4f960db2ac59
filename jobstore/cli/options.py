"""Arguments and options that several commands have."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Annotated

import typer

from ..where import Where

__all__ = [
    "After",
    "Due",
    "Executor",
    "Func",
    "IdPrefix",
    "Json",
    "Limit",
    "Name",
    "Paused",
    "Quarantined",
    "Tag",
    "TargetUrl",
    "Trigger",
    "filters",
    "whole",
]

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])", re.ASCII)


def duration(text: str) -> timedelta:
    """Convert a text such as ``5m``.

    :raises typer.BadParameter: if it is no duration.
    """
    try:
        if found := DURATION.fullmatch(text):
            return timedelta(**{UNITS[found[2]]: float(found[1])})
    except OverflowError:
        pass
    raise typer.BadParameter(f"{text!r} is no duration such as 30s, 5m, 2h or 1d")


def whole(least: int) -> Callable[[object], int]:
    """Return a function that converts a text to a whole number, `least` or more."""

    def convert(text: object) -> int:
        try:
            number = int(str(text))
        except ValueError:
            number = least - 1
        if number < least:
            raise typer.BadParameter(f"must be a whole number, {least} or more, not {text!r}")
        return number

    return convert


TargetUrl = Annotated[
    str | None,
    typer.Argument(
        metavar="TARGET",
        help="mongodb://host/database.collection; $JOBSTORE_URL if left out.",
        show_default=False,
    ),
]
Paused = Annotated[bool, typer.Option("--paused", help="Only jobs without a run time.")]
Quarantined = Annotated[bool, typer.Option("--quarantined", help="Only jobs in quarantine.")]
Due = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration,
        metavar="TIME",
        help="Only jobs that are due within 30s, 5m, 2h or 1d, or overdue.",
        show_default=False,
    ),
]
Func = Annotated[
    str | None,
    typer.Option(metavar="M:F", help="Only jobs of this function.", show_default=False),
]
Name = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only jobs of this name.", show_default=False),
]
Executor = Annotated[
    str | None,
    typer.Option(metavar="ALIAS", help="Only jobs of this executor.", show_default=False),
]
Trigger = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="Only jobs of this trigger: cron, interval, date, ..., or module:Class.",
        show_default=False,
    ),
]
Tag = Annotated[
    str | None,
    typer.Option(metavar="TAG", help="Only jobs with this tag.", show_default=False),
]
IdPrefix = Annotated[
    str | None,
    typer.Option(metavar="P", help="Only jobs whose ids begin so.", show_default=False),
]
Limit = Annotated[
    int,
    typer.Option(parser=whole(0), metavar="N", help="List at most so many jobs; 0 lists all."),
]
After = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="List the jobs after this one, by its key.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


def filters(
    paused: bool,
    due: timedelta | None,
    func: str | None,
    name: str | None,
    executor: str | None,
    trigger: str | None,
    tag: str | None,
    id_prefix: str | None,
    quarantined: bool,
) -> Where:
    """Return the condition that options express."""
    due_before = None
    if due is not None:
        try:
            due_before = datetime.now(timezone.utc) + due
        except OverflowError:
            due_before = datetime.max.replace(tzinfo=timezone.utc)
    return Where(
        id_prefix=id_prefix,
        due_before=due_before,
        paused=paused or None,
        quarantined=quarantined or None,
        func=func,
        name=name,
        executor=executor,
        trigger=trigger,
        tag=tag,
    )
