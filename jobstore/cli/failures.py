"""Errors as one line of text, without passwords."""

import re
from collections.abc import Sequence

from pymongo.errors import (
    ConfigurationError,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from .printable import printable

__all__ = [
    "INTERRUPTED",
    "NO_SUCH_JOB",
    "PIPE_CLOSED",
    "WRONG",
    "CommandError",
    "hide",
    "short",
    "text_of",
]

FAILED = 1
WRONG = 2
NO_SUCH_JOB = 3
INTERRUPTED = 130  # as shells report Ctrl-C: 128 plus the signal's number
PIPE_CLOSED = 141
UNAUTHORIZED = 13
AUTHENTICATION_FAILED = 18
SECRET_OPTION = re.compile(r"(password=|session_token:)[^&;\s'\")]+", re.IGNORECASE)
CREDENTIALS = re.compile(r"(?<=://)\S*@")
SECRET = re.compile(r"\A(?:[\w+]+://)?([^@]*:.*)@", re.DOTALL)  # "user:password@", in an argument


class CommandError(Exception):
    """Ends a command with a line on stderr.

    :ivar code: the exit code.
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def hide(text: str, arguments: Sequence[str] = ()) -> str:
    """Replace user names and passwords of connection strings by ``***``.

    :param arguments: the arguments of the command; the text may quote one that is no valid URL.
    """
    for argument in arguments:
        if found := SECRET.search(argument):
            for quoted in (found[1], repr(found[1])[1:-1]):
                text = text.replace(f"{quoted}@", "***@")
    return SECRET_OPTION.sub(r"\1***", CREDENTIALS.sub("***@", text))


def text_of(error: BaseException) -> str:
    """Describe an error in one line, and say what to do."""
    if isinstance(error, ServerSelectionTimeoutError):
        return f"no answer from the server: {short(error)} -- does it run at this address?"
    if isinstance(error, PyMongoError) and (error.timeout or isinstance(error, NetworkTimeout)):
        return (
            f"the server did not answer in time: {short(error)} -- see whether it hangs, or set a "
            "longer timeoutMS in the URL"
        )
    if isinstance(error, OperationFailure) and error.code == UNAUTHORIZED:
        return f"the user lacks a right: {short(error)} -- the page of the command line lists them"
    if isinstance(error, OperationFailure) and error.code == AUTHENTICATION_FAILED:
        return (
            f"{short(error)} -- see the user name and the password, and name the database that has "
            "the user, as in ?authSource=admin"
        )
    if isinstance(error, ConfigurationError):
        return f"TARGET: {short(error)}"
    if isinstance(error, PyMongoError | OSError):
        return short(error)
    return f"{type(error).__name__}: {short(error)}"


def short(error: BaseException) -> str:
    """Return an error's text without the parts that only developers of drivers read."""
    text = str(error)
    for end in (", full error: ", ", Timeout: ", " (configured timeouts: ", " to execute command "):
        text = text.partition(end)[0]
    return printable(" ".join(text.split())).rstrip(". ")
