"""A forked process gets new locks for its schedulers.

Another thread of the parent may hold the old ones. The child has no such thread, so nobody would
release them there. The state that they guard is sound in the child: each store cleans up its own.
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
    """See to it that forked processes find the scheduler's locks free."""
    _schedulers.add(scheduler)


def _renew_locks(scheduler: BaseScheduler) -> None:
    """Replace the locks: a `with` statement around the fork still releases the lock that it has."""
    vars(scheduler).update({name: scheduler._create_lock() for name in LOCKS})
    event = vars(scheduler).get("_event")  # has a lock of its own
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
