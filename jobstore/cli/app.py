"""The program: its commands, its errors, and its exit codes."""

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from .demo import demo
from .doctor import doctor
from .failures import INTERRUPTED, PIPE_CLOSED, WRONG, CommandError, hide, text_of
from .health import health
from .history import history
from .index import index
from .looking import count, ls, show
from .output import PipeClosedError
from .printable import printable
from .quarantine import list_quarantined, restore
from .schedulers import schedulers
from .signing import sign, verify
from .stats import stats
from .target import VARIABLE
from .top import top
from .why import why

__all__ = ["app", "run"]

UsageError: Any = typer.BadParameter.__base__  # typer names it, but click or typer may define it
NO_LOG = logging.NullHandler()
PLAIN: dict[str, Any] = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="jobstore",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # they would show local variables, such as the password
    context_settings=PLAIN,
)


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version, and the index in use, and exit."),
    ] = False,
) -> None:
    """Look into the jobs of a MongoDB collection while schedulers run them.

    Jobs are shown without their code. Only `quarantine restore`, `index` and `sign` write.

    TARGET is mongodb://host/database.collection, with any options of MongoDB's URLs. It may be
    left out if $JOBSTORE_URL is set. The defaults are the database apscheduler, and the collection
    jobs.

    Examples:

    \b
      export JOBSTORE_URL=mongodb://localhost/apscheduler.jobs
      jobstore stats
      jobstore ls --due 5m
      jobstore show nightly-report
    """


QUARANTINE = """List the jobs in quarantine, or restore them.

No scheduler runs these jobs: each could not be restored or run when it was due. Without a command,
list is meant.

Examples:

\b
  jobstore quarantine mongodb://localhost/apscheduler.jobs
  jobstore quarantine restore nightly-report
"""


class Quarantine(TyperGroup):
    """Commands, of which `list` is the default."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command."""
        if not args or args[0] not in (*self.commands, *PLAIN["help_option_names"]):
            args = ["list", *args]
        return super().parse_args(ctx, args)


quarantine = typer.Typer(
    cls=Quarantine, rich_markup_mode=None, context_settings=PLAIN, help=QUARANTINE
)
app.command(context_settings=PLAIN)(ls)
app.command(context_settings=PLAIN)(show)
app.command(context_settings=PLAIN)(count)
app.command(context_settings=PLAIN)(stats)
app.command(context_settings=PLAIN)(why)
app.command(context_settings=PLAIN)(history)
app.command(context_settings=PLAIN)(health)
app.command(context_settings=PLAIN)(schedulers)
app.command(context_settings=PLAIN)(doctor)
app.command(context_settings=PLAIN)(top)
app.add_typer(quarantine, name="quarantine")
quarantine.command("list", context_settings=PLAIN)(list_quarantined)
quarantine.command(context_settings=PLAIN)(restore)
app.command(context_settings=PLAIN)(index)
app.command(context_settings=PLAIN)(verify)
app.command(context_settings=PLAIN)(sign)
app.command(context_settings=PLAIN)(demo)


def run(arguments: Sequence[str]) -> int:
    """Run a command, and return the exit code; an error is one line on stderr."""
    secrets = [*arguments, os.environ.get(VARIABLE, "")]

    def fail(message: str, code: int) -> int:
        line = printable(hide(" ".join(message.split()), secrets))
        print(f"jobstore: {line}", file=sys.stderr)
        return code

    prepare()
    try:
        with terminable():
            code = get_command(app).main(
                list(arguments) or ["--help"], prog_name="jobstore", standalone_mode=False
            )
            sys.stdout.flush()
        if not arguments:
            return WRONG
        return code if isinstance(code, int) else 0
    except UsageError as error:
        path = error.ctx.command_path if error.ctx else "jobstore"
        return fail(f"{error.format_message().rstrip('.')} -- see {path} --help", error.exit_code)
    except CommandError as failure:
        return fail(str(failure), failure.code)
    except (PipeClosedError, BrokenPipeError):
        drop_output()
        return PIPE_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except SystemExit as error:  # by SIGTERM
        return error.code if isinstance(error.code, int) else 1
    except Exception as error:
        return fail(text_of(error), 1)


def prepare() -> None:
    """Let nothing but our own lines reach the terminal."""
    logging.getLogger("apscheduler").addHandler(NO_LOG)  # the stores' loggers, too, are below it
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as an exception, so that the terminal gets its cursor back."""

    def terminate(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def drop_output() -> None:
    """Discard the rest of the output: the interpreter would complain at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
