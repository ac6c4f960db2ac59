"""The command line: ``jobstore``, or ``python -m jobstore``. It needs the extra ``cli``."""

import sys
from collections.abc import Sequence

from .. import __version__, backend

__all__ = ["main"]

EXTRA = {"typer", "rich", "pymongo"}  # what the extra installs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    The code is 0 after success, 1 after a failure, 2 for wrong arguments, 3 if there is no such
    job, 130 after Ctrl-C, 141 if the output's reader has closed it, and 143 after SIGTERM.
    The commands `health` and `doctor` return 0, 1 or 2, by their worst finding.

    >>> main(["--version"])
    jobstore 0.1.0 (index: c)
    0

    :param arguments: the command and its arguments; None for those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["--version"]:  # needs nothing
        print(f"jobstore {__version__} (index: {backend})")
        return 0
    try:
        from .app import run
    except ImportError as error:
        missing = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        if (missing.name or "").partition(".")[0] not in EXTRA:
            raise
        print(
            f"jobstore: the command line needs {missing.name}: pip install 'jobstore[cli]'",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return run(arguments)
