"""The command `stats`: counts of jobs, and the load of the next hour."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated

import typer

from ..mongodb.looking.statistics import Statistics
from .as_json import to_json
from .options import Json, TargetUrl, whole
from .output import Output, Part
from .printable import BAR, printable
from .progress import progress_bar
from .states import STYLES
from .table import GAP, Column, Table
from .target import Target, open_store
from .times import absolute

__all__ = ["stats", "write_bars"]

LEAST_BAR = 20  # characters
MAX_BAR = 60
UNREADABLE = "(unreadable)"
STEP = 5  # minutes for each bar
Top = Annotated[
    int, typer.Option(parser=whole(1), metavar="N", help="Show so many functions and executors.")
]


def stats(target: TargetUrl = None, top: Top = 10, as_json: Json = False) -> None:
    """Count jobs by state, function, executor and time.

    The load of the next hour counts each job's next run, and no later ones. Counts by function and
    executor rely on the field `about` of the documents. The states of documents without it are
    read, which takes longer: see the command index.

    Examples:

    \b
      jobstore stats mongodb://localhost/apscheduler.jobs
      jobstore stats --json
    """
    with (
        open_store(target) as (store, collection),
        progress_bar("reading undescribed jobs") as progress,
    ):
        found = store.statistics(progress)
    output = Output()
    if as_json:
        output.json(with_names(found))
    elif output.is_terminal:
        write_tables(found, collection, top, output)
    else:
        write_records(found, output)


def with_names(found: Statistics) -> dict[str, object]:
    """Return the statistics as an object of JSON."""
    return {
        **to_json(found._replace(funcs={}, executors={})),
        "funcs": [{"func": name, "jobs": jobs} for name, jobs in found.funcs.items()],
        "executors": [{"executor": name, "jobs": jobs} for name, jobs in found.executors.items()],
    }


def write_records(found: Statistics, output: Output) -> None:
    """Write a line for each count."""
    for name, jobs in found.states.items():
        output.record(["state", name, str(jobs)])
    for kind, counts in (("function", found.funcs), ("executor", found.executors)):
        for text, jobs in counts.items():
            output.record([kind, label_of(text), str(jobs)])
    for minute, jobs in enumerate(found.load):
        output.record(["due", (found.at + timedelta(minutes=minute)).isoformat(), str(jobs)])


def write_tables(found: Statistics, collection: Target, top: int, output: Output) -> None:
    """Write tables with bars, for a person."""
    title = printable(f"{found.jobs:,} jobs in {collection}")
    output.line((title, "bold"))
    output.line(f"{absolute(found.at)} UTC")
    states = [(name, STYLES.get(name, "red"), jobs) for name, jobs in found.states.items() if jobs]
    write_bars("STATE", states, output)
    for heading, counts in (("FUNCTION", found.funcs), ("EXECUTOR", found.executors)):
        write_bars(heading, list(first(counts, top)), output)
    loads = [sum(found.load[start : start + STEP]) for start in range(0, len(found.load), STEP)]
    if sum(loads):
        write_bars("NEXT RUN (UTC)", list(by_time(found.at, loads)), output)
    else:
        output.line()
        output.line("no runs in the next hour")


def first(counts: dict[str | None, int], top: int) -> Iterator[tuple[str, str, int]]:
    """Yield the largest counts, and the sum of the others."""
    items = list(counts.items())
    for name, jobs in items[:top]:
        yield label_of(name), "", jobs
    if others := items[top:]:
        yield f"{len(others):,} others", "dim", sum(jobs for _, jobs in others)


def by_time(at: datetime, loads: list[int]) -> Iterator[tuple[str, str, int]]:
    """Yield the number of runs from each time on."""
    for number, jobs in enumerate(loads):
        yield f"from {at + timedelta(minutes=number * STEP):%H:%M}", "", jobs


def label_of(name: str | None) -> str:
    """Return a name that is safe to print."""
    return UNREADABLE if name is None else printable(name)


def write_bars(heading: str, counts: list[tuple[str, str, int]], output: Output) -> None:
    """Write a table of counts, each with a bar."""
    if not counts:
        return
    largest = max(jobs for _, _, jobs in counts)
    columns = [Column(heading, 16, keep_end=True), Column("JOBS", to_right=True)]
    rows: list[list[Part]] = [[(name, style), f"{jobs:,}"] for name, style, jobs in counts]
    table = Table(columns, rows, output.width - LEAST_BAR - GAP, len(columns))
    space = min(output.width - table.width - GAP, MAX_BAR)
    output.line()
    table.write_head(output)
    for row, (_, _, jobs) in zip(rows, counts, strict=True):
        length = round(jobs / largest * space) if largest else 0
        table.write(output, [row], (BAR * max(length, bool(jobs)), "blue"))
