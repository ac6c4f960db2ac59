"""The command `top`: the schedulers at work, redrawn each second."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from math import inf
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.live import Live

from ..mongodb import MongoDBJobStore
from ..mongodb.counters import LATENESS
from ..mongodb.health.load import load
from .as_json import to_json
from .failures import WRONG, CommandError, text_of
from .keyboard import SUSPEND, has_keys, pressed_keys
from .options import Json, TargetUrl
from .output import Output
from .rates import Rate, Rates
from .target import limited, open_store
from .top_view import Sample, screen

__all__ = ["top"]

SECONDS = 1.0  # between two looks
PATIENCE = 0.2  # seconds that a key, a signal or a resize may wait


def top(target: TargetUrl = None, as_json: Json = False) -> None:
    """Watch the schedulers: jobs per second, lateness, backlog, quarantine and leases.

    The display is redrawn each second; q ends it. Schedulers report every 5 s, so their figures are
    those of the last 5 s. With --json, each second one object is printed, until Ctrl-C.

    Examples:

    \b
      jobstore top mongodb://localhost/apscheduler.jobs
      jobstore top --json
    """
    with open_store(target) as (store, collection):
        watch = Watch(store, str(collection))
        if as_json:
            write_json(watch)
            return
        console = Console()
        if not console.is_terminal or console.is_dumb_terminal:
            raise CommandError("top needs a terminal that can move the cursor: use --json", WRONG)
        with watch.in_background(), signals() as received:
            while follow(watch, console, received) == SUSPEND:
                os.kill(0, signal.SIGTSTP)  # the shell stops the pipeline, and later goes on here
    if received:
        raise typer.Exit(128 + received[0])


class Watch:
    """Looks at a collection each second.

    :ivar sample: the last look; if it failed, the one before, with the error.
    """

    def __init__(self, store: MongoDBJobStore, title: str) -> None:
        self._store, self._title = store, title
        self._rates = Rates()
        self.sample = self._look()

    def _look(self) -> Sample:
        with limited(self._store.client):
            found = load(self._store)
        self._rates = self._rates.updated(found.schedulers)
        return Sample(self._title, datetime.now(timezone.utc), found, self._rates)

    def look(self) -> None:
        """Look again; an error becomes part of the sample."""
        try:
            self.sample = self._look()
        except Exception as error:  # also of documents that no driver can read
            self.sample = self.sample._replace(error=text_of(error))

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Look each second in a thread: a server that hangs must not delay a key."""
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(SECONDS):
                self.look()

        threading.Thread(target=run, name="jobstore-top", daemon=True).start()
        try:
            yield
        finally:
            ended.set()


@contextmanager
def signals() -> Iterator[list[int]]:
    """Yield a list that gets the numbers of SIGINT and SIGTERM.

    They raise nothing, so that none interrupts the drawing, or the repair of the terminal.
    """
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def follow(watch: Watch, console: Console, received: list[int]) -> str:
    """Draw until a key or a signal ends it; return that key."""
    ending = "q: quit" if has_keys() else "Ctrl-C: quit"
    drawn: Any = None
    with (
        pressed_keys() as keys,
        Live(
            console=console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live,
    ):
        while not received:
            state = watch.sample, console.size, int(time.time())
            if state != drawn:
                now = datetime.now(timezone.utc)
                live.update(screen(watch.sample, *console.size, now, ending), refresh=True)
                drawn = state
            for key in keys(PATIENCE):
                if key in ("q", "Q", SUSPEND):
                    return key
    return ""


def write_json(watch: Watch) -> None:
    """Print an object each second, until the reader closes the output, or a signal comes."""
    output = Output()
    while True:
        output.json(to_object(watch.sample))
        output.flush()
        time.sleep(SECONDS)
        watch.look()


def to_object(sample: Sample) -> dict[str, Any]:
    """Return a sample as an object of JSON."""
    load, rates = sample.load, sample.rates
    found = {
        "at": sample.at,
        "error": sample.error or None,
        **figures(rates.total),
        **load._asdict(),
        "schedulers": [each._asdict() | figures(rates.of(each)) for each in load.schedulers],
    }
    return {name: to_json(value) for name, value in found.items()}


def figures(rate: Rate) -> dict[str, float | None]:
    """Return the figures of a rate; JSON has no infinity, so the last bound stands for more."""
    p50, p99 = (rate.lateness(share) for share in (0.5, 0.99))
    bounds = {"lateness_p50": p50, "lateness_p99": p99}
    return {
        "jobs_per_second": rate.jobs,
        **{name: LATENESS[-1] if bound == inf else bound for name, bound in bounds.items()},
    }
