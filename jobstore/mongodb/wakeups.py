"""Wakes the scheduler when something has become due earlier than what it waits for."""

import logging
import threading
from math import inf
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import STATE_RUNNING, BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

__all__ = ["Wakeups", "can_be_woken"]


def can_be_woken(scheduler: BaseScheduler | None) -> bool:
    """Whether any thread may call the scheduler's `wakeup`.

    Those of APScheduler that run in a thread or an asyncio loop; gevent's is derived from one
    of them, but its event belongs to one thread's hub.
    """
    kinds = BackgroundScheduler, BlockingScheduler, AsyncIOScheduler
    modules = {kind.__module__ for kind in type(scheduler).__mro__}
    return isinstance(scheduler, kinds) and "apscheduler.schedulers.gevent" not in modules


class Wakeups:
    """Knows what the scheduler waits for; any thread may tell it of run times.

    In a cycle the scheduler waits for nothing: the earliest that is told meanwhile counts when
    the cycle has ended. Which thread is the scheduler's nobody says; so whoever asks what is due,
    and then when to ask again, is taken for one that waits.
    """

    def __init__(self) -> None:
        self.set(None)

    def set(self, scheduler: BaseScheduler | None) -> None:
        """Choose whom to wake, if anybody; before its first cycle."""
        self._lock = threading.Lock()  # a forked process may have got one that was held
        self._scheduler = scheduler
        self._awaited: dict[int, float] = {}  # by thread: the run time that it waits for
        self._meanwhile: dict[int, float] = {}  # by thread: what it was told in its cycle
        self._past: dict[int, float] = {}  # by thread: what it waited for, past at the last look

    @property
    def awaited(self) -> float | None:
        """What the calling thread waits for, infinity if for nothing; None in a cycle."""
        with self._lock:
            return self._awaited.get(threading.get_ident())

    def cycle_begins(self) -> None:
        """Note that the calling thread has asked what is due."""
        with self._lock:
            self._awaited.pop(threading.get_ident(), None)
            self._meanwhile[threading.get_ident()] = inf

    def cycle_ends(self, run_time: float | None) -> None:
        """Note what it will wait for, in seconds since the epoch; None: nothing."""
        with self._lock:
            meanwhile = self._meanwhile.pop(threading.get_ident(), None)
            if meanwhile is None:
                return  # it has not asked what is due
            self._awaited[threading.get_ident()] = inf if run_time is None else run_time
        self.notify(meanwhile)

    def notify(self, run_time: Any) -> None:
        """Wake the scheduler if this run time, of a job that was changed, is earlier."""
        if not isinstance(run_time, int | float) or isinstance(run_time, bool):
            return
        with self._lock:
            for thread, earliest in self._meanwhile.items():
                self._meanwhile[thread] = min(earliest, run_time)
            late = [thread for thread, awaited in self._awaited.items() if run_time < awaited]
            self._awaited |= dict.fromkeys(late, run_time)  # each is woken once
        if late:
            self.wake()

    def check_clock(self, now: float) -> None:
        """Wake the scheduler if what it waits for was past, by the wall clock, at two looks.

        It waits by a clock that nobody sets, and that may stand still while the machine sleeps.
        At the first look it may be about to come by itself.

        :param now: in seconds since the epoch.
        """
        with self._lock:
            past = {each: time for each, time in self._awaited.items() if -inf < time <= now}
            late = [each for each, time in past.items() if self._past.get(each) == time]
            self._past = past
            self._awaited |= dict.fromkeys(late, -inf)  # each is woken once
        if late:
            self.wake()

    def wake(self) -> None:
        """Wake the scheduler if it is running; asyncio's would run jobs even if it is not."""
        scheduler = self._scheduler
        if scheduler is not None:
            try:
                if scheduler.state == STATE_RUNNING:
                    scheduler.wakeup()
            except Exception as error:  # its loop is closed, say: then it doesn't wait either
                logging.getLogger(__name__).debug("Unable to wake the scheduler: %s", error)
