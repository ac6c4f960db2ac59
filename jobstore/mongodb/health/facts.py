"""The facts on which several of the doctor's checks rely, each read once."""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from pymongo.errors import PyMongoError

from ..connection import Connection
from ..documents import Document
from ..presence.scheduler import Scheduler
from .finding import Finding

__all__ = ["Facts", "count_of", "is_silent", "joined", "plural", "reason_of", "unknown"]

NAMED = 5  # schedulers in a text
SILENT_SECONDS = 12.0  # two beats, and the time that they take
ENDS = ", full error: ", ", Timeout: ", " (configured timeouts: ", " to execute command "
LONGEST = 200  # characters of an error of the server


class Facts(NamedTuple):
    """A collection, its server, and its schedulers.

    :ivar hello: the server's answer to ``hello``.
    :ivar version: the server's version, such as ``(6, 0, 5)``.
    :ivar schedulers: those that live, by their presence.
    :ivar is_blind: whether the user may not read the presences; then `schedulers` is empty.
    """

    connection: Connection
    hello: Document
    version: tuple[int, ...]
    schedulers: Sequence[Scheduler]
    is_blind: bool = False

    @property
    def is_routed(self) -> bool:
        """Whether a mongos answers, which has no oplog and no parameters of storage."""
        return self.hello.get("msg") == "isdbgrid"

    @property
    def is_standalone(self) -> bool:
        """Whether the server belongs to no replica set."""
        return not self.is_routed and "setName" not in self.hello

    @property
    def nodes(self) -> int:
        """The number of nodes of the replica set that hold data, hidden ones apart."""
        return sum(len(self.hello.get(key, ())) for key in ("hosts", "passives"))

    @property
    def firing(self) -> list[Scheduler]:
        """The schedulers that fire jobs now."""
        return [each for each in self.schedulers if each.state == "firing"]


def count_of(value: object) -> float:
    """Return a value of a document if it is a number that counts something; else 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and 0 <= value < inf else 0  # type: ignore[operator,return-value]


def is_silent(scheduler: Scheduler) -> bool:
    """Whether a scheduler has left out two beats: it may have crashed, or stand still."""
    return (scheduler.age or 0.0) > SILENT_SECONDS


def joined(schedulers: Sequence[Scheduler]) -> str:
    """Name some schedulers, at most 5."""
    names = [each.name for each in schedulers[:NAMED]]
    more = len(schedulers) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def plural(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> plural(2, "job")
    '2 jobs'
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def unknown(name: str, error: PyMongoError, advice: str, is_needed: bool) -> Finding:
    """Return the finding of a check that the server refused.

    :param is_needed: whether the schedulers need the right that is missing.
    """
    text = f"can't tell: {reason_of(error)}"
    return Finding("degraded" if is_needed else "well", name, text, advice)


def reason_of(error: PyMongoError) -> str:
    """Return the text of an error without the parts that only developers of drivers read."""
    text = " ".join(str(error).split())
    for end in ENDS:
        text = text.partition(end)[0]
    return text[:LONGEST]
