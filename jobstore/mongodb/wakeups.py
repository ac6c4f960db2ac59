"""Wake-ups: call the scheduler when a job becomes due earlier than the scheduler expects."""

import threading
from math import inf
from typing import Any

from apscheduler.schedulers.base import BaseScheduler

from ..waking import wake

__all__ = ["Wakeups"]


class Wakeups:
    """Compares reported run times with the one that the scheduler awaits; thread-safe.

    In a cycle the scheduler awaits nothing. The earliest run time reported meanwhile is compared
    when the cycle ends. APScheduler doesn't say which thread runs the scheduler. So any thread that
    calls `get_due_jobs` and then `get_next_run_time` counts as waiting.
    """

    def __init__(self) -> None:
        self.set_scheduler(None)

    def set_scheduler(self, scheduler: BaseScheduler | None) -> None:
        """Choose the scheduler to wake, or none; called before its first cycle."""
        self._lock = threading.Lock()  # a new one: after a fork the old one may be held
        self._scheduler = scheduler
        # By thread, run times in seconds since the epoch:
        self._awaited: dict[int, float] = {}  # awaited now
        self._in_cycle: dict[int, float] = {}  # the earliest one reported during the cycle
        self._overdue: dict[int, float] = {}  # awaited and already past at the last check

    @property
    def awaited(self) -> float | None:
        """The run time that the calling thread awaits; infinity if no job's, None in a cycle."""
        with self._lock:
            return self._awaited.get(threading.get_ident())

    def cycle_begins(self) -> None:
        """Note that the calling thread has begun a cycle."""
        with self._lock:
            self._awaited.pop(threading.get_ident(), None)
            self._in_cycle[threading.get_ident()] = inf

    def cycle_ends(self, run_time: float | None) -> None:
        """Note the run time that the calling thread now awaits, and wake it if that is too late.

        :param run_time: in seconds since the epoch; None if there is no job to wait for.
        """
        with self._lock:
            earliest = self._in_cycle.pop(threading.get_ident(), None)
            if earliest is None:
                return  # the thread has begun no cycle
            self._awaited[threading.get_ident()] = inf if run_time is None else run_time
        self.notify(earliest)

    def notify(self, run_time: Any) -> None:
        """Wake the scheduler if it awaits a later run time than this one.

        :param run_time: of a changed job, in seconds since the epoch; any other value is ignored.
        """
        if not isinstance(run_time, int | float) or isinstance(run_time, bool):
            return
        with self._lock:
            for thread, earliest in self._in_cycle.items():
                self._in_cycle[thread] = min(earliest, run_time)
            late = [thread for thread, awaited in self._awaited.items() if run_time < awaited]
            self._awaited |= dict.fromkeys(late, run_time)  # each is woken once
        if late:
            self.wake()

    def check_clock(self, now: float) -> None:
        """Wake the scheduler if its awaited run time was past at two checks, by the wall clock.

        The scheduler waits by the monotonic clock. That clock may stand still while the machine
        sleeps, and doesn't follow the wall clock when that is set. At the first check the scheduler
        may be about to wake up by itself.

        :param now: in seconds since the epoch.
        """
        with self._lock:
            overdue = {each: time for each, time in self._awaited.items() if -inf < time <= now}
            late = [each for each, time in overdue.items() if self._overdue.get(each) == time]
            self._overdue = overdue
            self._awaited |= dict.fromkeys(late, -inf)  # each is woken once
        if late:
            self.wake()

    def wake(self) -> None:
        """Wake the scheduler, if there is one and it is running."""
        wake(self._scheduler)
