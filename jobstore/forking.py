"""Gives a forked process new locks for its schedulers.

At the fork, another thread of the parent may hold a lock. The child doesn't have that thread, so
nobody there would ever release the lock. The data that the locks guard is usable in the child:
each store repairs its own state.
"""

import os
import weakref
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from apscheduler.schedulers.base import BaseScheduler

__all__ = ["renew_locks_after_fork"]

LOCKS = "_executors_lock", "_jobstores_lock", "_listeners_lock"

_schedulers: "weakref.WeakSet[BaseScheduler]" = weakref.WeakSet()


def renew_locks_after_fork(scheduler: BaseScheduler) -> None:
    """Register a scheduler: a forked process then finds its locks free."""
    _schedulers.add(scheduler)


def _renew_locks(scheduler: BaseScheduler) -> None:
    """Replace the locks.

    Releasing the old ones would not do: a `with` statement around the fork releases its own again.
    """
    vars(scheduler).update({name: scheduler._create_lock() for name in LOCKS})
    event = vars(scheduler).get("_event")  # holds a lock, too
    if event is not None:
        vars(scheduler)["_event"] = type(event)()
    for executor in scheduler._executors.values():
        executor._lock = scheduler._create_lock()
        pool = getattr(executor, "_pool", None)
        if isinstance(pool, ThreadPoolExecutor):
            pool._shutdown_lock = Lock()


def _forked() -> None:
    for scheduler in list(_schedulers):
        _renew_locks(scheduler)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
