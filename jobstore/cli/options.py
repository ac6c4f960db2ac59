"""Arguments and options that several commands have."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

import typer

from ..where import Where

__all__ = [
    "TARGET",
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


def text(metavar: str, description: str) -> Any:
    """Return an option that takes a text, and may be left out."""
    return typer.Option(metavar=metavar, help=description, show_default=False)


TARGET: Any = typer.Argument(
    metavar="TARGET",
    help="mongodb://host/database.collection; $JOBSTORE_URL if left out.",
    show_default=False,
)
TargetUrl = Annotated[str | None, TARGET]
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
    text("M:F", "Only jobs of this function."),
]
Name = Annotated[
    str | None,
    text("NAME", "Only jobs of this name."),
]
Executor = Annotated[
    str | None,
    text("ALIAS", "Only jobs of this executor."),
]
Trigger = Annotated[
    str | None,
    text("KIND", "Only jobs of this trigger: cron, interval, date, ..., or module:Class."),
]
Tag = Annotated[
    str | None,
    text("TAG", "Only jobs with this tag."),
]
IdPrefix = Annotated[
    str | None,
    text("P", "Only jobs whose ids begin so."),
]
Limit = Annotated[
    int,
    typer.Option(parser=whole(0), metavar="N", help="List at most so many jobs; 0 lists all."),
]
After = Annotated[
    str | None,
    text("KEY", "List the jobs after this one, by its key."),
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
