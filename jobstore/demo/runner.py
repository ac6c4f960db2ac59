"""The demo: runs both sides one after the other, shows them live, and prints their table.

Each side is a child process, `jobstore.demo.side`, which reports in lines of JSON.
"""

import io
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from types import FrameType
from typing import IO

from rich.console import Console
from rich.live import Live

from .plan import Plan, Sample, SideName
from .stores import KINDS
from .view import NAMES, State, live_view, result_table

__all__ = ["Demo"]


class Demo:
    """One run of the demo.

    >>> Demo(Plan("memory", jobs=100_000, interval=5, seconds=15)).run()
    0
    """

    def __init__(self, plan: Plan) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # for a terminal without µ
        self.plan = plan
        self.console = Console()
        self.pairs: dict[SideName, tuple[Sample, Sample]] = {}
        self.child: subprocess.Popen[str] | None = None
        self.interrupted: int | None = None  # the number of the signal
        self.failure = ""

    def run(self) -> int:
        """Run both sides, print the table, and return the exit code.

        The code is 0 after success and 1 after a failure. After a signal it is 128 plus the
        signal's number, so 130 after Ctrl-C.
        """
        with self._interruptible(), KINDS[self.plan.store].server() as self.plan.where:
            display: AbstractContextManager[Live | None] = nullcontext()
            if sys.stdout.isatty():
                display = Live(console=self.console, auto_refresh=False, transient=True)
            with display as live:
                for side in NAMES:
                    self._follow(side, live)
                    if self.failure or self.interrupted:
                        break
            samples = {side: last for side, (_, last) in self.pairs.items()}
            state: State
            state = "interrupted" if self.interrupted else "failed" if self.failure else "finished"
            self.console.print(result_table(self.plan, samples, state))
        if self.interrupted:
            return 128 + self.interrupted
        if self.failure:
            print(self.failure, file=sys.stderr)
            return 1
        return 0

    def _follow(self, side: SideName, live: Live | None) -> None:
        """Run one side to its end, and keep and show its samples."""
        with tempfile.TemporaryFile("w+") as errors:
            for sample in self._samples(side, errors):
                before = self.pairs[side][1] if side in self.pairs else Sample()
                self.pairs[side] = before, sample
                if live:
                    live.update(live_view(self.plan, self.pairs), refresh=True)
            done = side in self.pairs and self.pairs[side][1].phase == "done"
            if not done and not self.interrupted:
                errors.seek(0)
                code = self.child.returncode if self.child else None
                self.failure = f"the {side!r} side ended early, code {code}:\n{errors.read()}"

    def _samples(self, side: SideName, errors: IO[str]) -> Iterator[Sample]:
        plan = json.dumps(asdict(self.plan))
        command = [sys.executable, "-m", f"{__package__}.side", plan, side]
        # In a session of its own the child gets no Ctrl-C from the terminal: we end it.
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        ) as self.child:
            try:
                if self.interrupted:  # while the child started
                    return
                assert self.child.stdout
                for line in self.child.stdout:
                    yield Sample(**json.loads(line))
            finally:
                self.child.kill()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM kill the child, whose closed output then ends the loops.

        The signals raise nothing, so they do no harm while we draw or start a process.
        """

        def interrupt(number: int, frame: FrameType | None) -> None:
            self.interrupted = number
            if self.child:
                self.child.kill()

        before = {each: signal.signal(each, interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
