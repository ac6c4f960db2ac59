"""Wakes a scheduler from any thread."""

import logging

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import STATE_RUNNING, BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

__all__ = ["can_be_woken", "wake"]


def can_be_woken(scheduler: BaseScheduler | None) -> bool:
    """Whether any thread may call the scheduler's `wakeup`.

    APScheduler's schedulers with a thread or an asyncio loop allow that. The gevent scheduler
    derives from one of them, but its event belongs to one thread's hub.
    """
    kinds = BackgroundScheduler, BlockingScheduler, AsyncIOScheduler
    modules = {kind.__module__ for kind in type(scheduler).__mro__}
    return isinstance(scheduler, kinds) and "apscheduler.schedulers.gevent" not in modules


def wake(scheduler: BaseScheduler | None) -> None:
    """Wake the scheduler if it is running; an asyncio scheduler would run jobs even if not."""
    if scheduler is not None:
        try:
            if scheduler.state == STATE_RUNNING:
                scheduler.wakeup()
        except Exception as error:  # for example, its loop is closed: then it doesn't wait
            logging.getLogger(__name__).debug("Unable to wake the scheduler: %s", error)
