"""Wakes the scheduler when something has become due earlier than what it waits for."""

import logging
import threading
from math import inf
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

__all__ = ["Alarm", "can_be_woken"]


def can_be_woken(scheduler: BaseScheduler | None) -> bool:
    """Whether any thread may call the scheduler's `wakeup`.

    Those of APScheduler that run in a thread or an asyncio loop; gevent's is derived from one
    of them, but its event belongs to one thread's hub.
    """
    kinds = BackgroundScheduler, BlockingScheduler, AsyncIOScheduler
    modules = {kind.__module__ for kind in type(scheduler).__mro__}
    return isinstance(scheduler, kinds) and "apscheduler.schedulers.gevent" not in modules


class Alarm:
    """Knows what the scheduler waits for; any thread may tell it of run times.

    In a cycle the scheduler waits for nothing: the earliest that is told meanwhile counts when
    the cycle has ended.
    """

    def __init__(self) -> None:
        self._scheduler: BaseScheduler | None = None
        self._lock = threading.Lock()
        self._in_cycle = True  # until the first one has ended
        self._awaited = inf
        self._meanwhile = inf

    def set(self, scheduler: BaseScheduler | None) -> None:
        """Choose whom to wake, if anybody; before its first cycle."""
        self._lock = threading.Lock()  # a forked process may have got one that was held
        self._scheduler = scheduler
        self.cycle_begins()

    def cycle_begins(self) -> None:
        """Note that the scheduler asks what is due."""
        with self._lock:
            self._in_cycle = True
            self._meanwhile = inf

    def cycle_ends(self, run_time: float | None) -> None:
        """Note what the scheduler will wait for, in seconds since the epoch; None: nothing."""
        with self._lock:
            if not self._in_cycle:
                return  # somebody else has asked
            self._in_cycle = False
            self._awaited = inf if run_time is None else run_time
            meanwhile = self._meanwhile
        self.told(meanwhile)

    def told(self, run_time: Any) -> None:
        """Wake the scheduler if this run time, of a job that was changed, is earlier."""
        if type(run_time) is not float and type(run_time) is not int:
            return
        with self._lock:
            if self._in_cycle:
                self._meanwhile = min(self._meanwhile, run_time)
                return
            if not run_time < self._awaited:  # nor is NaN
                return
            self._awaited = run_time  # once
        self.ring()

    def ring(self) -> None:
        """Wake the scheduler."""
        scheduler = self._scheduler
        if scheduler is not None:
            try:
                scheduler.wakeup()
            except Exception as error:  # its loop is closed, say: then it doesn't wait either
                logging.getLogger(__name__).debug("Unable to wake the scheduler: %s", error)
