"""Counts what a store does, for its status, its presence and its metrics.

Counters cost nothing for each job: a cycle counts its jobs at once. Each counter is changed by
one thread at a time: by that of the cycle, or by the holder of `io_lock`.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import ParamSpec

from .documents import Document

__all__ = ["LATENESS", "SECONDS", "Counters", "Histogram"]

Arguments = ParamSpec("Arguments")

# Upper bounds of buckets, in seconds.
LATENESS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
JOBS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


class Histogram:
    """Counts values in buckets, as Prometheus's histograms do.

    :param bounds: the upper bounds of the buckets, in order. One more bucket has no bound.
    :ivar counts: the number of values in each bucket, not cumulative.
    :ivar sum: the sum of all values.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value; O(log buckets)."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def observe_since(self, now: float, times: Sequence[float]) -> None:
        """Count how long ago each of k times was; O(buckets * log k), and a sum.

        :param times: in ascending order, at most `now`.
        """
        rest = len(times)
        for bucket, bound in enumerate(self.bounds):
            earlier = bisect_left(times, now - bound, 0, rest)
            self.counts[bucket] += rest - earlier
            rest = earlier
            if not rest:
                break
        self.counts[-1] += rest
        self.sum += sum(map(now.__sub__, times))

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self.counts)


class Counters:
    """The counters of one store, since it was made.

    :ivar fired: jobs handed out to the scheduler.
    :ivar cycles: cycles that have ended.
    :ivar flush_failures: flushes that failed.
    :ivar flush_failures_in_a_row: the last flushes that failed, one after the other.
    :ivar guards_lost: writes that lost to a change by another process.
    :ivar claims_lost: jobs that a claim wanted, and other schedulers won.
    :ivar leases_lost: claimed jobs whose lease ended before they were fired.
    :ivar doubles: runs of which the store knows that another scheduler ran them, too.
    :ivar quarantined: jobs that this store put into quarantine.
    :ivar double_at, lease_lost_at: when the last of them was noticed, by the monotonic clock; None
        before.
    :ivar failing_since: when the first of the cycles failed that have failed in a row, by the
        monotonic clock; None if the last one did not fail.
    :ivar cycle_ended_at: when the last cycle ended, by the monotonic clock; None before.
    :ivar cycle_seconds: how long the last cycle took.
    """

    def __init__(self) -> None:
        self.fired = self.cycles = 0
        self.flush_failures = self.flush_failures_in_a_row = 0
        self.guards_lost = self.claims_lost = self.leases_lost = self.doubles = 0
        self.quarantined = 0
        self.double_at: float | None = None
        self.lease_lost_at: float | None = None
        self.forget_cycle()
        self.cycle_ended_at: float | None = None
        self.cycle_seconds: float | None = None
        self.lateness = Histogram(LATENESS)  # of each job, at its hand-out
        self.batch_sizes = Histogram(JOBS)  # of the cycles that handed out jobs
        self.cycle_times, self.claim_times, self.flush_times = map(Histogram, [SECONDS] * 3)

    def handed_out(self, now: float, run_times: Sequence[float]) -> None:
        """Count the jobs of a cycle.

        :param now: the scheduler's time, in seconds since the epoch.
        :param run_times: the jobs' run times, in order.
        """
        self.fired += len(run_times)
        self.batch_sizes.observe(len(run_times))
        self.lateness.observe_since(now, run_times)

    def forget_cycle(self) -> None:
        """Forget the cycles that are under way, failing or awaited: their scheduler has ended."""
        self._cycle_thread: int | None = None
        self._cycle_began_at = 0.0
        self._awaited: float | None = None  # the next cycle, in seconds since the epoch
        self.failing_since: float | None = None

    def cycle_begins(self) -> None:
        """Note the begin of a cycle, in the thread that will end it.

        The other calls about a cycle change nothing without a cycle of the calling thread: an
        application may ask a store for its due jobs, or for the next run time.
        """
        self._cycle_began_at, self._cycle_thread = time.monotonic(), get_ident()

    def cycle_fails(self) -> None:
        """Note that the cycle can't read the due jobs, or can't write or read after them."""
        if self.failing_since is None and self._cycle_thread == get_ident():
            self.failing_since = time.monotonic()

    def cycle_has_jobs(self) -> None:
        """Note that the cycle knows the due jobs, also if there are none."""
        if self._cycle_thread == get_ident():
            self.failing_since = None

    def cycle_ends(self, next_run_time: float | None) -> None:
        """Count a cycle.

        :param next_run_time: when the scheduler will begin the next one, in seconds since the
            epoch; None if it waits for no job.
        """
        if self._cycle_thread != get_ident():
            return
        self._awaited = next_run_time
        self.cycle_ended_at = time.monotonic()
        self.cycle_seconds = self.cycle_ended_at - self._cycle_began_at
        self._cycle_thread = None
        self.cycles += 1
        self.cycle_times.observe(self.cycle_seconds)

    def expected(self, now: float) -> float | None:
        """Return the seconds until the next cycle, or None if the scheduler waits for no job.

        Negative if the cycle is late, and while a cycle lasts, since its begin.

        :param now: in seconds since the epoch.
        """
        thread, awaited = self._cycle_thread, self._awaited
        if thread is not None:
            return self._cycle_began_at - time.monotonic()
        return None if awaited is None else awaited - now

    def ran_twice(self, number: int) -> None:
        """Count runs that another scheduler ran, too."""
        if number:
            self.doubles += number
            self.double_at = time.monotonic()

    def lost_leases(self, number: int) -> None:
        """Count claimed jobs whose lease ended before they were fired."""
        if number:
            self.leases_lost += number
            self.lease_lost_at = time.monotonic()

    def counting_flushes(self, flush: Callable[Arguments, None]) -> Callable[Arguments, None]:
        """Return a function that flushes, and counts each call."""

        def counted(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
            began_at = time.monotonic()
            try:
                flush(*args, **kwargs)
            except BaseException:
                self.flush_failures += 1
                self.flush_failures_in_a_row += 1
                raise
            self.flush_failures_in_a_row = 0
            self.flush_times.observe(time.monotonic() - began_at)

        return counted

    def to_document(self) -> Document:
        """Return the counters that other processes may read, for the scheduler's presence."""
        return {
            "fired": self.fired,
            "cycles": self.cycles,
            "flush_failures": self.flush_failures,
            "guards_lost": self.guards_lost,
            "claims_lost": self.claims_lost,
            "leases_lost": self.leases_lost,
            "doubles": self.doubles,
            "quarantined": self.quarantined,
            "lateness": list(self.lateness.counts),
        }
