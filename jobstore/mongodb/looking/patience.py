"""Commands that read the whole collection, and may take minutes."""

from collections.abc import Callable
from typing import TypeVar

from pymongo.errors import PyMongoError

from ..connection import Connection
from ..slow_line.paced import timed_out

__all__ = ["MANY_SECONDS", "patiently"]

MANY_SECONDS = 300.0  # time limit of a command that takes longer than usual
Result = TypeVar("Result")


def patiently(connection: Connection, command: Callable[[], Result]) -> Result:
    """Run a command, with a longer time limit if the usual one is too short for so many jobs.

    :raises pymongo.errors.PyMongoError: in an outage, after the usual time limit.
    """
    try:
        with connection.limit():
            return command()
    except PyMongoError as error:
        if not timed_out(error):
            raise
    connection.now()  # raises in an outage
    with connection.limit(MANY_SECONDS):
        return command()
