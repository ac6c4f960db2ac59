"""Other schedulers that use the jobs of a collection: which ones matter, and how to say so."""

import logging
import time
from collections.abc import Collection, Iterable
from math import inf

from .identity import is_of_this_process, shown
from .scheduler import Scheduler

__all__ = ["Report", "is_settled", "leftovers_in", "named", "others_in", "refusal"]

SETTLED_SECONDS = 1.0  # then a scheduler that starts paused has said so
REPEAT_SECONDS = 600.0  # between two warnings of the same others
MAX_NAMED = 10


def others_in(
    found: Iterable[Scheduler], name: str | None, shares: bool, living: Collection[str | None]
) -> list[Scheduler]:
    """Return the schedulers that fire the same jobs without sharing them, or wait to do so.

    :param name: the own presence.
    :param shares: whether the own store shares the jobs; then others that share don't matter.
    :param living: the names of the stores that live in this process. A store that was dropped
        leaves its document.
    """
    return [
        each
        for each in found
        if each.id != name
        and each.alive
        and each.state in ("firing", "waiting")
        and not (shares and each.shares)
        and (each.id in living or not is_of_this_process(each.id))
    ]


def leftovers_in(found: Iterable[Scheduler], own_names: Collection[str | None]) -> list[str]:
    """Return the documents of other processes, whose schedulers perhaps ended in mid-cycle.

    A scheduler that fired no jobs has left nothing to recover.
    """
    return [
        each.id
        for each in found
        if each.id not in own_names
        and not is_of_this_process(each.id)
        and each.state not in ("paused", "waiting", "idle")
    ]


def is_settled(scheduler: Scheduler) -> bool:
    """Whether a scheduler has shown its state for some time after its start.

    A scheduler that starts can't tell yet that it will be paused.
    """
    seen, started = scheduler.seen, scheduler.started
    if seen is None or started is None:
        return True
    return (seen - started).total_seconds() >= SETTLED_SECONDS


def named(schedulers: Iterable[Scheduler]) -> str:
    """Name some schedulers for people: ``web-1:4711 (mirrored, seen 3 s ago)``."""
    listed = list(schedulers)
    names = [
        f"{shown(each.name)} ({shown(each.mode)}, seen {max(0.0, each.age or 0):.0f} s ago)"
        for each in listed[:MAX_NAMED]
    ]
    more = [f"{len(listed) - MAX_NAMED} more"] if len(listed) > MAX_NAMED else []
    return ", ".join(names + more)


def refusal(collection: str, others: list[Scheduler]) -> str:
    """Return the text of the error with which a start refuses others."""
    expiries = [
        (each.expires - each.seen).total_seconds() - (each.age or 0)
        for each in others
        if each.expires and each.seen
    ]
    return (
        f'others is "refuse", but another scheduler uses {collection}: {named(others)}. Shut it '
        f"down first; if it has crashed, wait {max(expiries, default=0):.0f} s. Or say shared=True "
        'in all schedulers, or others="wait"'
    )


class Report:
    """Logs the others when they appear, and every ten minutes while they stay."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._next_at = -inf  # by the monotonic clock

    def report(self, logger: logging.Logger, collection: str, others: list[Scheduler]) -> None:
        """Log an error, if there are new others or the last one was logged long ago."""
        names = {each.id for each in others}
        is_new = not names <= self._known
        self._known = names
        if others and (is_new or time.monotonic() >= self._next_at):
            self._next_at = time.monotonic() + REPEAT_SECONDS
            logger.error(
                "Other schedulers fire the jobs of %s without sharing them: %s. Every job runs "
                'twice while both run: set shared=True in all of them, or others="wait"',
                collection,
                named(others),
            )
