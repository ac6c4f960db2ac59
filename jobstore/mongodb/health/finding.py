"""A finding: one statement about the health of a store, a collection or a server."""

from typing import Literal, NamedTuple

__all__ = ["LEVELS", "Finding", "Level"]

Level = Literal["well", "degraded", "down"]
LEVELS: tuple[Level, ...] = ("well", "degraded", "down")  # the exit codes 0, 1 and 2


class Finding(NamedTuple):
    """One statement about the health of a store, a collection or a server.

    :ivar level: ``"well"``, ``"degraded"`` if jobs may be late, double or kept from running, or
        ``"down"`` if no job fires.
    :ivar name: a short name, such as ``"flush"``, which stays the same between releases.
    :ivar text: the finding, with its values.
    :ivar advice: what to do about it; empty if there is nothing to do.
    """

    level: Level
    name: str
    text: str
    advice: str = ""
