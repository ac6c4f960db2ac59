"""Bounds the runs in flight: those that an executor has taken and not yet finished.

APScheduler gives every due job to its executor at once, and a pool's queue has no bound. A crash
loses that queue, and other machines can't help with it. So a store hands out only as many jobs as
their executors have room for. The rest stays due in the store.

An executor counts its runs in flight by job, so a store can count those of its own jobs. Each store
of a scheduler has the whole bound: a store that fills an executor must not starve another one.
APScheduler's events tell when runs end. They only decide when to count again, because a failed run
may send no event.
"""

import time
from bisect import bisect_left
from collections.abc import Collection, Iterable
from itertools import count
from math import inf
from typing import Literal

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MISSED,
    JobEvent,
)
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.base import BaseScheduler

from .waking import can_be_woken, wake

__all__ = ["Bound", "InFlight", "Rooms", "check_bound"]

Bound = Literal["auto"] | int | None
EVENTS = EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED  # the ends of runs
WINDOW_SECONDS = 0.2  # of work; "auto" allows as many runs in flight as end in this time
IDLE_SECONDS = 1.0  # then an executor is measured anew
# Of the bound, over the number of runs that have ended: the first few may be shorter than others.
MAX_GROWTH = 8
# Until another look at a full executor, whose failed runs may have sent no event.
RECHECK_SECONDS = 1.0
POLL_SECONDS = 0.1  # the same, where no thread may wake the scheduler
SPARE = 100  # jobs whose runs may have ended without an event, before a search for these


def check_bound(in_flight: Bound) -> None:
    """Refuse a value that is no bound.

    :raises ValueError: names the value, and the values allowed.
    """
    is_number = isinstance(in_flight, int) and not isinstance(in_flight, bool) and in_flight >= 1
    if not is_number and in_flight not in ("auto", None):
        raise ValueError(
            f'in_flight is {in_flight!r}: it must be "auto", None or a whole number from 1 on'
        )


class BoundedExecutor:
    """An executor, its bound, the store's jobs there, and the times at which runs have ended.

    :param limit: the maximum number of runs in flight; None for "auto".
    :param workers: how many runs it executes at a time; None if unknown.
    :ivar jobs: the ids of the jobs handed out, without most of those whose runs have ended.
    :ivar finished: when the jobs' last runs have ended, by id, in seconds of the monotonic clock. A
        submission with many run times counts once. Times before the last pause are later by that
        pause, as if the executor had worked on.
    :ivar wake_at: the number of ends at which to count the runs in flight again.

    Threads of the executor and of the scheduler use it without a lock: a signal's handler that
    shuts the scheduler down waits for the executor's threads, and may have interrupted the holder.
    A race leads to a check too early, never to a missed one.
    """

    def __init__(self, executor: BaseExecutor, limit: int | None, workers: int | None) -> None:
        self.executor = executor
        self._limit, self._workers = limit, workers
        self.jobs: dict[str, None] = {}
        self.finished: dict[str, float] = {}
        self._ends = count(1)
        self._ended = 0
        self._busy_since = self._last_end = -inf
        self.wake_at = inf

    @property
    def in_flight(self) -> int:
        """The executor's own count of runs in flight, of this store's jobs; O(their number)."""
        instances = self.executor._instances
        return sum(filter(None, map(instances.get, list(self.jobs))))

    @property
    def bound(self) -> int:
        """How many runs may be in flight.

        "auto" looks at the last 0.2 s of work. An executor that was idle has a shorter measure. So
        a burst of short jobs gets large batches at once, and not after many small ones.
        """
        if self._limit is not None:
            return self._limit
        now = time.monotonic()
        finished = list(self.finished.values())
        recent = len(finished) - bisect_left(finished, now - WINDOW_SECONDS)
        seconds = min(WINDOW_SECONDS, now - self._busy_since)
        growth = min(WINDOW_SECONDS / seconds, MAX_GROWTH) if seconds else MAX_GROWTH
        return max(2 * (self._workers or 1), int(recent * growth))

    @property
    def threshold(self) -> int:
        """The runs in flight at which to hand out more: half the bound, or a worker has none.

        A smaller number would leave workers idle. A larger one would cost a cycle for each run.
        """
        bound = self.bound
        busy = min(self._workers, bound) - 1 if self._workers else 0
        return max(bound // 2, busy)

    def forget_ended(self) -> None:
        """Forget most of the jobs that don't run, and the runs before the window of "auto"."""
        self.wake_at = inf
        if not self.in_flight:
            self._leave_out_pause()
        oldest = time.monotonic() - WINDOW_SECONDS
        for job_id, end in list(self.finished.items()):
            if end >= oldest:
                break
            self.finished.pop(job_id, None)
        if len(self.jobs) > 2 * self.in_flight + SPARE:
            instances = self.executor._instances
            self.jobs = {job_id: None for job_id in list(self.jobs) if instances.get(job_id)}

    def _leave_out_pause(self) -> None:
        """Count no time in which the executor had no jobs, as a late cycle is not its fault.

        Otherwise a late cycle would lower the bound, and the executor would wait again.
        """
        now, finished = time.monotonic(), list(self.finished.items())
        if finished and now - self._last_end < IDLE_SECONDS:
            pause = now - finished[-1][1]
            self.finished = {job_id: end + pause for job_id, end in finished}
            self._busy_since += pause
        else:
            self.finished = {}
            self._busy_since = now

    def run_ended(self, job_id: str) -> bool:
        """Count the end of a run; return whether it is time to count the runs in flight again."""
        self._last_end = time.monotonic()
        self.finished.pop(job_id, None)
        self.finished[job_id] = self._last_end  # as the last one
        ended = next(self._ends)  # in one step, for any number of threads
        self._ended = ended
        return ended >= self.wake_at

    def arm(self) -> bool:
        """Wait until enough runs have ended; return whether they have already."""
        ended = self._ended
        # Counted after `ended`: a run that ends in between leads to an early check, not to none.
        in_flight, threshold = self.in_flight, self.threshold
        self.wake_at = ended + max(1, in_flight - threshold)
        # Asked again: the run that was waited for may have ended before `wake_at` said so.
        return in_flight <= threshold or self._ended >= self.wake_at


class Rooms:
    """The places that the executors have free in one cycle, by the executors' aliases.

    :param free: the free places; an executor that is not named has no bound.
    :param has_unbounded: whether the scheduler has an executor without a bound.
    :ivar full: the aliases of executors that were asked for more places than they have.
    """

    def __init__(self, free: dict[str, int], has_unbounded: bool) -> None:
        self._free, self._has_unbounded = free, has_unbounded
        self.full: set[str] = set()

    @property
    def is_unlimited(self) -> bool:
        """Whether no executor has a bound, so that jobs need not be counted."""
        return not self._free

    @property
    def is_bounded(self) -> bool:
        """Whether every executor has a bound."""
        return not self._has_unbounded

    @property
    def total(self) -> float:
        """The sum of all free places."""
        return inf if self._has_unbounded else sum(self._free.values())

    def free(self, alias: str) -> float:
        """The free places of one executor."""
        return self._free.get(alias, inf)

    def take(self, alias: str) -> bool:
        """Take a place for one job; False if the executor has none."""
        free = self._free.get(alias)
        if free is None:
            return True
        if free <= 0:
            self.full.add(alias)
            return False
        self._free[alias] = free - 1
        return True


UNBOUNDED: dict[str, int] = {}


class InFlight:
    """Counts the places that a scheduler's executors have free, and wakes the scheduler for them.

    :param bound: the maximum number of the store's runs in flight with each executor. "auto" means
        twice the executor's workers, or as many runs as it finishes in 0.2 s, if that is more. With
        "auto", an executor has no bound if its number of workers is unknown. None means no bound at
        all.
    """

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._scheduler: BaseScheduler | None = None
        self._executors: dict[str, BoundedExecutor] = {}
        self._wakes = False

    def start(self, scheduler: BaseScheduler | None) -> None:
        """Listen to the scheduler's events; do nothing without a bound."""
        self.stop()
        self._wakes = can_be_woken(scheduler)
        if scheduler is None or self._bound is None or (self._bound == "auto" and not self._wakes):
            return
        self._scheduler = scheduler
        scheduler.add_listener(self._run_ended, EVENTS)

    def stop(self) -> None:
        """Listen no more."""
        scheduler, self._scheduler = self._scheduler, None
        if scheduler:
            scheduler.remove_listener(self._run_ended)
        self._executors = {}

    @property
    def recheck_seconds(self) -> float:
        """How long a scheduler may wait that looks for places again."""
        return RECHECK_SECONDS if self._wakes else POLL_SECONDS

    def rooms(self, closed: Collection[str] = ()) -> Rooms:
        """Count the free places of each executor; O(runs in flight).

        :param closed: the aliases of executors that take no jobs any more, and have no place.
        """
        none = dict.fromkeys(closed, 0) if closed else UNBOUNDED
        scheduler = self._scheduler  # read once: another thread may shut the store down
        if scheduler is None:
            return Rooms(none, True)
        executors = {
            alias: executor
            for alias, executor in list(scheduler._executors.items())
            if alias not in closed
        }
        self._executors = {
            alias: known
            for alias, executor in executors.items()
            if (known := self._bounded(alias, executor)) is not None
        }
        free = none.copy()
        for alias, executor in self._executors.items():
            executor.forget_ended()
            free[alias] = max(0, executor.bound - executor.in_flight)
        return Rooms(free, len(self._executors) < len(executors))

    def _bounded(self, alias: str, executor: BaseExecutor) -> BoundedExecutor | None:
        known = self._executors.get(alias)
        if known and known.executor is executor:
            return known
        if not hasattr(executor, "_instances"):
            return None
        workers = getattr(getattr(executor, "_pool", None), "_max_workers", None)
        if self._bound != "auto":
            return BoundedExecutor(executor, self._bound, workers)
        return BoundedExecutor(executor, None, workers) if workers else None

    def hand_out(self, job_id: str, alias: str) -> None:
        """Note that a job is about to be handed out to an executor."""
        executor = self._executors.get(alias)
        if executor:
            executor.jobs[job_id] = None

    def wait_for(self, aliases: Iterable[str] | None = None) -> bool:
        """Wake the scheduler once an executor has room for more; return whether one has now.

        :param aliases: the executors for which jobs wait; None for all with a bound.
        """
        executors = self._executors
        waiting = executors.values() if aliases is None else map(executors.get, aliases)
        return any(executor is None or executor.arm() for executor in waiting)

    def _run_ended(self, event: JobEvent) -> None:
        """Count a run that has ended; called in any thread."""
        for executor in list(self._executors.values()):
            is_ours = event.job_id in executor.jobs
            if is_ours and executor.run_ended(event.job_id) and self._wakes and executor.arm():
                executor.wake_at = inf  # before the wake-up: its cycle arms again
                wake(self._scheduler)
