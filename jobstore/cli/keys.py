"""The options `--keys` and `--allow`: which states the program trusts."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from ..mongodb.arguments import check_trust
from ..mongodb.trust.keys import Keys
from .failures import WRONG, CommandError

__all__ = [
    "KEYS",
    "Allow",
    "KeysReference",
    "check_allow",
    "check_keys",
    "current_directory_on_path",
]

KEYS: Any = typer.Option(
    "--keys",
    metavar="MODULE:NAME",
    help="The signing keys, as the store's argument signing_keys names them. Its module is "
    "imported, from the current directory, too.",
    show_default=False,
)
KeysReference = Annotated[str, KEYS]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="PATTERN",
        help="Classes and functions that jobs may name, such as 'myapp.*'; may be repeated.",
        show_default=False,
    ),
]


@contextmanager
def current_directory_on_path() -> Iterator[None]:
    """Let modules be found in the current directory, as ``python -m`` does."""
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")


def check_keys(reference: str) -> None:
    """Get the keys once, so that a mistake is an error before anything is read.

    :raises CommandError: names the fault of the keys, and shows none, not even one that was
        given in place of its name.
    """
    if ":" not in reference:
        raise CommandError("--keys must name the keys as MODULE:NAME", WRONG)
    try:
        Keys(reference, b"").load()
    except Exception as error:
        raise CommandError(f"--keys: {reason_of(error)}", WRONG) from error


def check_allow(patterns: list[str] | None) -> None:
    """Refuse patterns that the store refuses.

    :raises CommandError: names them.
    """
    try:
        check_trust("quarantine", patterns)
    except ValueError as error:
        raise CommandError(f"--allow: {error}", WRONG) from error


def reason_of(error: BaseException) -> str:
    """Describe an error of the keys, or of the module that has them, without showing a key.

    Only errors that name a module or a file are shown: the text of others might have a key.
    """
    chain = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    for each in reversed(chain):  # the first one says which module or file is missing
        if isinstance(each, ImportError | OSError) or type(each) is LookupError:
            return f"{type(each).__name__}: {each}"
    if len(chain) == 1 and str(error).startswith("signing_keys"):
        return str(error)
    return f"its module raised {type(chain[-1]).__name__}"
