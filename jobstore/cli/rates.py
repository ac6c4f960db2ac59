"""Rates and lateness of schedulers, from the counters of two presences of each."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import inf
from typing import NamedTuple

from ..mongodb.counters import LATENESS
from ..mongodb.health.facts import count_of
from ..mongodb.presence.scheduler import Scheduler

__all__ = ["Rate", "Rates"]


class Rate(NamedTuple):
    """The work of one or more schedulers, between the last two presences of each.

    :ivar jobs: jobs fired in a second; None before the second presence.
    :ivar late: how many of these jobs were in each bucket of `LATENESS`.
    """

    jobs: float | None = None
    late: tuple[float, ...] = ()

    def lateness(self, share: float) -> float | None:
        """Return the bound below which so great a share of the jobs was late; None without jobs.

        >>> rate.lateness(0.99)
        0.025
        """
        total = sum(self.late)
        if not total:
            return None
        bounds = (*LATENESS, inf)
        sums = accumulate(self.late)
        return next(
            bound for bound, sum_ in zip(bounds, sums, strict=True) if sum_ >= share * total
        )


Pairs = dict[str, tuple[Scheduler | None, Scheduler]]


class Rates:
    """Keeps the last two presences of each scheduler that differ.

    :param pairs: these presences, by the schedulers' ids.
    """

    def __init__(self, pairs: Pairs | None = None) -> None:
        self._pairs = pairs or {}

    def updated(self, schedulers: Iterable[Scheduler]) -> "Rates":
        """Return the rates after the schedulers were read again."""
        pairs: Pairs = {}
        for scheduler in schedulers:
            before, last = self._pairs.get(scheduler.id, (None, None))
            if last is not None and last.seen != scheduler.seen:
                before = last
            pairs[scheduler.id] = before, scheduler
        return Rates(pairs)

    def of(self, scheduler: Scheduler) -> Rate:
        """Return the rate of a scheduler that lives."""
        before, last = self._pairs.get(scheduler.id, (None, scheduler))
        if before is None or not last.alive or not before.seen or not last.seen:
            return Rate()
        seconds = (last.seen - before.seen).total_seconds()
        fired = count_of(last.counters.get("fired")) - count_of(before.counters.get("fired"))
        if seconds <= 0 or fired < 0:
            return Rate()
        pairs = zip(buckets(last), buckets(before), strict=True)
        return Rate(fired / seconds, tuple(max(now - then, 0) for now, then in pairs))

    @property
    def total(self) -> Rate:
        """The sum of all schedulers' rates."""
        rates = [self.of(last) for _, last in self._pairs.values()]
        known = [rate for rate in rates if rate.jobs is not None]
        if not known:
            return Rate()
        jobs = sum(rate.jobs or 0.0 for rate in known)
        return Rate(jobs, tuple(map(sum, zip(*(rate.late for rate in known), strict=True))))


def buckets(scheduler: Scheduler) -> Sequence[float]:
    """Return a scheduler's histogram of lateness; an empty one if it has none of this form."""
    found = scheduler.counters.get("lateness")
    if not isinstance(found, list) or len(found) != len(LATENESS) + 1:
        return [0] * (len(LATENESS) + 1)
    return [count_of(each) for each in found]
