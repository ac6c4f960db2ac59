"""The display of `top`: one screen, which fits the terminal."""

from collections.abc import Callable
from datetime import datetime, timezone
from math import inf
from typing import Any, NamedTuple

from rich.text import Text

from ..mongodb.health.backlog import MOST_COUNTED
from ..mongodb.health.facts import count_of
from ..mongodb.health.load import Load
from ..mongodb.presence.scheduler import Scheduler
from .output import Output, Part
from .printable import printable
from .rates import Rate, Rates
from .scheduler_states import STYLES, state_of
from .table import Column, Table
from .times import absolute

__all__ = ["Sample", "screen"]

UNITS = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)]
LEAST = 24  # columns of a scheduler's name
NEEDED = 4  # columns that are never left out
NONE = "-"


class Sample(NamedTuple):
    """One look at a collection.

    :ivar title: the collection's name.
    :ivar at: when it was read.
    :ivar load: the last load that could be read.
    :ivar rates: the rates of its schedulers.
    :ivar error: why a later look failed; empty if none did.
    """

    title: str
    at: datetime
    load: Load
    rates: Rates
    error: str = ""


class Page(Output):
    """An output that collects its lines."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.lines: list[Text] = []

    def line(self, *parts: Part) -> None:
        """Add a line."""
        self.lines.append(self.text(*parts))


def screen(sample: Sample, width: int, height: int, now: datetime, ending: str) -> Text:
    """Return the whole screen.

    :param ending: how to end the program.
    """
    page = Page(width)
    write_head(page, sample, now, ending)
    page.line()
    schedulers = sorted(sample.load.schedulers, key=lambda each: (not each.alive, each.name))
    space = height - len(page.lines) - 2  # for the table's head, and for the line below it
    write_schedulers(page, schedulers[: max(space, 1)], sample.rates)
    if (more := len(schedulers) - max(space, 1)) > 0:
        page.line((f"and {more:,} more", "dim"))
    return Text("\n", no_wrap=True, overflow="crop").join(page.lines[:height])


def write_head(page: Page, sample: Sample, now: datetime, ending: str) -> None:
    """Write the figures of the whole collection."""
    load, rate = sample.load, sample.rates.total
    title = printable(sample.title)
    time = f"{absolute(now.astimezone(timezone.utc))} UTC"
    gap = " " * max(page.width - len(title) - len(time) - len(ending) - 4, 1)
    page.line((title, "bold"), gap, time, "    ", (ending, "dim"))
    page.line(
        (f"{rate_text(rate.jobs)} jobs/s", "bold"),
        f"   lateness p50 {lateness_text(rate, 0.5)}, p99 {lateness_text(rate, 0.99)}",
    )
    oldest = f", the oldest by {span(load.oldest_overdue)}" if load.oldest_overdue else ""
    page.line(
        (f"{count_text(load.overdue)} overdue{oldest}", "yellow" if load.overdue else ""),
        "   ",
        (f"{count_text(load.quarantined)} in quarantine", "red" if load.quarantined else ""),
        "   ",
        f"{count_text(load.leased)} leased",
    )
    if sample.error:
        age = span((now - sample.at).total_seconds())
        page.line((printable(f"{age} old: {sample.error}"), "bold red"))


def count_text(count: int) -> str:
    """Return a number of jobs that is counted up to a bound."""
    return f"{count:,}{'+' if count >= MOST_COUNTED else ''}"


def rate_text(rate: float | None) -> str:
    """Return a rate with as many digits as it needs."""
    if rate is None:
        return NONE
    return f"{rate:,.0f}" if rate >= 10 or rate == int(rate) else f"{rate:.1f}"


def lateness_text(rate: Rate, share: float) -> str:
    """Return the bound of the lateness of a share of the jobs.

    >>> lateness_text(rate, 0.99)
    '<25ms'
    """
    bound = rate.lateness(share)
    if bound is None:
        return NONE
    if bound == inf:
        return ">1h"
    return f"<{bound * 1000:g}ms" if bound < 1 else f"<{bound:g}s"


def span(seconds: float) -> str:
    """Return a time in its largest unit.

    >>> span(90)
    '1m'
    """
    for unit, length in UNITS:
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return "0s"


class Cell(NamedTuple):
    """A column of the table, and how to fill it."""

    column: Column
    part: Callable[[Scheduler, Rate], Part]


def counter(title: str, name: str) -> Cell:
    """Return the column of a counter that should stay at 0."""

    def part(scheduler: Scheduler, rate: Rate) -> Part:
        value = count_of(scheduler.counters.get(name))
        return f"{value:,.0f}", "yellow" if value else ""

    return Cell(Column(title, to_right=True), part)


def field(title: str, name: str, text: Callable[[float], str]) -> Cell:
    """Return the column of a number in the status."""

    def part(scheduler: Scheduler, rate: Rate) -> Part:
        value: Any = scheduler.status.get(name)
        return NONE if value is None or not scheduler.alive else text(count_of(value))

    return Cell(Column(title, to_right=True), part)


def right(title: str, part: Callable[[Scheduler, Rate], Part]) -> Cell:
    """Return a column that is aligned to the right."""
    return Cell(Column(title, to_right=True), part)


def state_part(scheduler: Scheduler, rate: Rate) -> Part:
    """Return the state in its colour."""
    state = state_of(scheduler)
    return printable(state), STYLES.get(state, "")


def up(scheduler: Scheduler, rate: Rate) -> Part:
    """Return the time from the start to the last presence."""
    if scheduler.started is None or scheduler.seen is None:
        return NONE
    return span((scheduler.seen - scheduler.started).total_seconds())


CELLS = [
    Cell(Column("SCHEDULER", LEAST, keep_end=True), lambda each, rate: printable(each.name)),
    Cell(Column("STATE"), state_part),
    right("JOBS/S", lambda each, rate: rate_text(rate.jobs)),
    right("P99", lambda each, rate: lateness_text(rate, 0.99)),
    right("P50", lambda each, rate: lateness_text(rate, 0.5)),
    Cell(Column("MODE"), lambda each, rate: printable(each.mode or NONE)),
    right("SEEN", lambda each, rate: NONE if each.age is None else span(each.age)),
    field("CYCLE", "cycle", lambda seconds: f"{seconds * 1000:,.0f}ms"),
    field("UNWRITTEN", "pending", lambda jobs: f"{jobs:,.0f}"),
    field("LAG", "lag", span),
    counter("LEASES LOST", "leases_lost"),
    counter("DOUBLES", "doubles"),
    counter("QUARANTINED", "quarantined"),
    counter("FLUSHES FAILED", "flush_failures"),
    right("CLAIMS LOST", lambda each, rate: f"{count_of(each.counters.get('claims_lost')):,.0f}"),
    right("UP", up),
    Cell(Column("JOBSTORE"), lambda each, rate: printable(each.versions.get("jobstore", NONE))),
]


def write_schedulers(page: Page, schedulers: list[Scheduler], rates: Rates) -> None:
    """Write the table of schedulers."""
    if not schedulers:
        page.line(("no schedulers", "dim"))
        return
    rows = [[cell.part(each, rates.of(each)) for cell in CELLS] for each in schedulers]
    table = Table([cell.column for cell in CELLS], rows, page.width, NEEDED)
    table.write_head(page)
    table.write(page, rows)
