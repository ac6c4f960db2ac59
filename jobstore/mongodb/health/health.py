"""The health of a store, for a web handler or a probe."""

from typing import Any, NamedTuple

from ..inspection import Inspection
from ..status import Status
from .finding import Finding, Level
from .findings import findings, worst

__all__ = ["Health", "health", "health_of"]


class Health(NamedTuple):
    """The health of a store.

    :ivar level: the worst level of the findings: ``"well"``, ``"degraded"`` if jobs may be late,
        double or kept from running, or ``"down"`` if the store fires no job.
    :ivar findings: one finding for each rule, in a fixed order, those that are well, too.
    """

    level: Level
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether the store fires jobs, or stands by: its level is not ``"down"``."""
        return self.level != "down"

    def as_dict(self) -> dict[str, Any]:
        """Return the level and the findings as objects of JSON."""
        return {"level": self.level, "findings": [each._asdict() for each in self.findings]}


def health(store: Inspection) -> Health:
    """Judge whether a store fires its jobs in time; sends no command.

    Call it in the process that runs the scheduler. Takes some 30 µs, and no lock.

    >>> jobstore.health(store).level
    'well'

    :param store: a `MongoDBJobStore`.
    :raises TypeError: for any other store.
    """
    if not isinstance(store, Inspection):
        raise TypeError(f"health() needs a MongoDBJobStore, not a {type(store).__name__}")
    return health_of(store, store.status())


def health_of(store: Inspection, status: Status) -> Health:
    """Judge a store by its status."""
    found = findings(status, runs=store._lifecycle.state != "idle")
    return Health(worst(found), tuple(found))
