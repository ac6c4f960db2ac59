"""The command `demo`: compares a scheduler on our store with one on the stock store."""

from collections.abc import Callable
from enum import Enum
from typing import Annotated

import typer

from ..demo.plan import Plan, StoreName
from .options import whole

__all__ = ["demo"]

DAY = 86400.0


class Kind(str, Enum):
    """The stores to compare."""

    MEMORY = "memory"
    MONGODB = "mongodb"


def seconds_from(least: float) -> Callable[[object], float]:
    """Return a function that converts a text to a number of seconds, `least` or more."""

    def convert(text: object) -> float:
        try:
            number = float(str(text))
        except ValueError:
            number = float("nan")
        if not least <= number <= DAY:
            raise typer.BadParameter(
                f"must be a number of seconds from {least:g} to {DAY:.0f}, not {text!r}"
            )
        return number

    return convert


def demo(
    jobs: Annotated[
        int | None,
        typer.Option(
            parser=whole(1),
            metavar="N",
            help="The number of interval jobs; 100000, or 20000 with mongodb, if left out.",
            show_default=False,
        ),
    ] = None,
    interval: Annotated[
        float,
        typer.Option(
            parser=seconds_from(0.001),
            metavar="S",
            help="Seconds between two runs of a job; the jobs are spread evenly over them.",
        ),
    ] = 5.0,
    seconds: Annotated[
        float,
        typer.Option(
            parser=seconds_from(0.1),
            metavar="S",
            help="How many seconds each side runs, after adding its jobs.",
        ),
    ] = 15.0,
    store: Annotated[
        Kind, typer.Option(help="The store to compare with its stock counterpart.")
    ] = Kind.MEMORY,
) -> None:
    """Compare a scheduler on this package's store with one on the stock store.

    Both are APScheduler's own, unmodified BackgroundScheduler, each in a separate process. The
    jobs' function is empty, and the executor calls it in the scheduler's thread. So the figures
    show the cost of scheduling, store included, without that of a thread pool. Ctrl-C ends the demo
    early and prints the table so far, with exit code 130; so does SIGTERM, with exit code 143.

    Examples:

    \b
      jobstore demo
      jobstore demo --store mongodb --jobs 50000
    """
    from ..demo.runner import Demo  # not before: the other commands don't need it
    from ..demo.stores import KINDS

    name: StoreName = store.value
    plan = Plan(name, jobs or KINDS[name].jobs, interval, seconds)
    raise typer.Exit(Demo(plan).run())
