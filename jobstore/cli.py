"""The command line, ``python -m jobstore``."""

import argparse
import sys
from collections.abc import Callable, Sequence
from math import isfinite

from . import __version__, backend
from .demo.plan import Plan
from .demo.stores import KINDS

__all__ = ["main"]

DAY = 86400.0

DEMO = """\
Run APScheduler's own, unmodified BackgroundScheduler on this package's job store, then on
APScheduler's store, each in a separate process, and print both sides' figures in one table.

The jobs' function is empty, and the executor calls it in the scheduler's thread. So the figures
show the cost of scheduling, store included, without that of a thread pool. Ctrl-C ends the demo
early and prints the table so far, with exit code 130; so does SIGTERM, with exit code 143.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code.

    The code is 0 after success, 1 after a failure, 2 for wrong arguments (argparse exits itself),
    130 after Ctrl-C, and 143 after SIGTERM.
    """
    options = _parser().parse_args(arguments)
    try:
        from .demo.runner import Demo  # needs rich, an extra; --help works without it
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        print("the demo needs rich: pip install rich", file=sys.stderr)
        return 1
    jobs = options.jobs or KINDS[options.store].jobs
    plan = Plan(options.store, jobs, options.interval, options.seconds)
    return Demo(plan).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobstore", description="Faster job stores for APScheduler 3.x."
    )
    version = f"jobstore {__version__} (index: {backend})"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    demo = commands.add_parser(
        "demo",
        help="run a scheduler on this store, then on the stock store, and compare them",
        description=DEMO,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument(
        "--jobs",
        type=_whole,
        metavar="N",
        help="the number of interval jobs (default: 100000, or 20000 with mongodb; the stock store "
        "needs minutes to add more)",
    )
    demo.add_argument(
        "--interval",
        type=_seconds(0.001),
        default=5.0,
        metavar="S",
        help="seconds between two runs of a job; the jobs are spread evenly over them (default: 5)",
    )
    demo.add_argument(
        "--seconds",
        type=_seconds(0.1),
        default=15.0,
        metavar="S",
        help="how many seconds each side runs, after adding its jobs (default: 15)",
    )
    demo.add_argument(
        "--store",
        choices=sorted(KINDS),
        default="memory",
        help="the store to compare with its stock counterpart (default: memory)",
    )
    return parser


def _whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return number


def _seconds(least: float) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not (isfinite(number) and least <= number <= DAY):
            raise argparse.ArgumentTypeError(
                f"must be a number of seconds from {least:g} to {DAY:.0f}, not {text!r}"
            )
        return number

    return seconds
