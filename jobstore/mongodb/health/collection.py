"""The health of a collection: of all its schedulers, and of its jobs."""

from collections.abc import Iterable, Iterator
from types import NoneType
from typing import Any, NamedTuple, get_type_hints

from pymongo.errors import OperationFailure

from ..inspection import Inspection
from ..presence.scheduler import Scheduler
from ..status import Status
from .backlog import read_backlog, server_time
from .checks_collection import format_number, held, indexes, quarantine
from .checks_schedulers import others
from .doctor import Check, attempt, refused
from .facts import Facts, is_silent, joined, plural
from .finding import Finding, Level
from .findings import OF_COLLECTION, OF_SCHEDULERS, findings, overdue, worst

__all__ = ["Judged", "judge", "status_of"]

NOTHING_KNOWN: dict[str, Any] = {"connected": True, "pending": 0, "oldest": None, "lag": None}
NUMBERS = {int: (int,), float: (int, float), NoneType: (NoneType,)}


class Judged(NamedTuple):
    """A finding, and the scheduler or the collection that it is about.

    :ivar about: ``<host>:<pid>`` of a scheduler, or the name of the collection.
    """

    about: str
    finding: Finding


def judge(store: Inspection) -> tuple[Level, list[Judged]]:
    """Return the level of a collection, its findings, and those about its schedulers.

    Takes 8 commands or so.

    A scheduler that is well has one finding. The store need not be started.

    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    connection, name = store._connection, store.collection.full_name
    living: list[Scheduler] = []
    try:
        schedulers = store.schedulers()
        living = list(active(schedulers))
        found = [presence(schedulers)]
    except OperationFailure as error:
        found = [refused("schedulers", error, is_ours=True)]
    facts = Facts(connection, {}, (), living)
    for check in CHECKS:
        if facts.firing or check.name != "others":  # else both would say that none fires
            found += attempt(check, facts)
    by_scheduler = [(scheduler, about(scheduler)) for scheduler in living]
    judged = [Judged(name, each) for each in found]
    for scheduler, about_it in by_scheduler:
        judged += [Judged(scheduler.name, each) for each in about_it]
    return level_of(found, by_scheduler), judged


def late(facts: Facts) -> Iterator[Finding]:
    """Judge how late the due jobs are, by the server's clock."""
    backlog = read_backlog(facts.connection, server_time(facts.connection))
    status = Status(**NOTHING_KNOWN, overdue=backlog.overdue, oldest_overdue=backlog.oldest)
    yield overdue(status)


CHECKS = [
    Check("others", others),
    Check("format", format_number),
    Check("indexes", indexes),
    Check("quarantine", quarantine),
    Check("held", held),
    Check("overdue", late),
]


def level_of(found: list[Finding], schedulers: list[tuple[Scheduler, list[Finding]]]) -> Level:
    """Return the level of a collection: it is down only if no scheduler fires its jobs.

    A hot standby fires none, however well it is.

    :param found: the findings about the collection.
    :param schedulers: the living schedulers, each with its findings.
    """
    level = worst(found)
    levels = [(each.state, worst(about_it)) for each, about_it in schedulers]
    if level == "down" or {each for state, each in levels if state == "firing"} == {"down"}:
        return "down"
    return level if all(each == "well" for _, each in levels) else "degraded"


def active(schedulers: Iterable[Scheduler]) -> Iterator[Scheduler]:
    """Yield the schedulers that live, and that fire jobs, stand by or are paused."""
    for each in schedulers:
        if each.alive and each.state in ("firing", "waiting", "paused"):
            yield each


def presence(schedulers: list[Scheduler]) -> Finding:
    """Judge whether a scheduler fires the jobs."""
    living = list(active(schedulers))
    firing = [each for each in living if each.state == "firing"]
    if firing:
        standbys = sum(each.state == "waiting" for each in living)
        more = f", and {plural(standbys, 'hot standby')} may take over" if standbys else ""
        return Finding("well", "schedulers", f"{joined(firing)} may fire the jobs{more}")
    if paused := [each for each in living if each.state == "paused"]:
        return Finding(
            "down",
            "schedulers",
            f"no scheduler fires the jobs: {joined(paused)} is paused",
            "Call scheduler.resume() there",
        )
    if living:
        return Finding(
            "down",
            "schedulers",
            f"no scheduler fires the jobs: {joined(living)} wait as hot standbys",
            "Wait for the lease's time: one of them takes over. If none does, read its log",
        )
    gone = [each for each in schedulers if each.age is not None and each.state != "idle"]
    last = min(gone, key=lambda each: each.age or 0.0, default=None)
    seen = f": {last.name} was last seen {last.age:.0f} s ago" if last else ""
    return Finding(
        "down",
        "schedulers",
        f"no scheduler runs{seen}",
        "Start one. A scheduler with a stock store, or without the right to write to "
        "<collection>_meta, can't be seen here",
    )


def about(scheduler: Scheduler) -> list[Finding]:
    """Return the findings about a scheduler that are not well, or the one that it is well."""
    found = [
        each
        for each in findings(status_of(scheduler.status))
        if each.name not in (*OF_COLLECTION, *OF_SCHEDULERS)
    ]
    found = [each for each in found if each.level != "well"] or found[:1]
    if is_silent(scheduler):
        text = f"last seen {scheduler.age:.0f} s ago, though it writes its presence every 5 s"
        advice = "See whether its process runs and reaches the server. What follows is as old"
        found.insert(0, Finding("degraded", "presence", text, advice))
    return found


def status_of(values: dict[str, Any]) -> Status:
    """Make a status of what a scheduler, or anybody, wrote into its presence.

    Leaves out values of other types than those of `Status`, as a newer version may write them.
    """
    known = dict(NOTHING_KNOWN)
    for name, hint in get_type_hints(Status).items():
        value = values.get(name)
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            value = tuple(value)
        if name in values and fits(value, hint):
            known[name] = value
    return Status(**known)


def fits(value: object, hint: Any) -> bool:
    """Whether a value has one of the types that `Status` has."""
    if isinstance(value, tuple):
        return tuple[str, ...] in (hint, *getattr(hint, "__args__", ()))
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    kinds = getattr(hint, "__args__", (hint,))
    return isinstance(value, tuple(each for kind in kinds for each in NUMBERS.get(kind, ())))
