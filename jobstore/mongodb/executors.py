"""Tells which executors of a scheduler take no jobs any more, as the main thread has ended."""

import concurrent.futures.process as processes
import concurrent.futures.thread as threads

from apscheduler.schedulers.base import BaseScheduler

__all__ = ["NoExecutorError", "check_executors", "pools_are_closed"]


class NoExecutorError(RuntimeError):
    """Raised instead of handing out due jobs: APScheduler loses runs that no executor takes."""


def pools_are_closed() -> bool:
    """Whether Python has closed all thread pools, because the main thread has ended.

    Other threads, such as the scheduler's, may live on.
    """
    return bool(getattr(threads, "_shutdown", False))


def _process_pools_are_closed() -> bool:
    """Whether Python has closed all process pools, because the main thread has ended."""
    return bool(getattr(processes, "_global_shutdown", False))


def _closed_executors(scheduler: BaseScheduler | None) -> set[str]:
    closed: list[type] = []
    if pools_are_closed():
        closed.append(threads.ThreadPoolExecutor)
    if _process_pools_are_closed():
        closed.append(processes.ProcessPoolExecutor)
    if scheduler is None or not closed:
        return set()
    return {
        alias
        for alias, executor in list(scheduler._executors.items())
        if isinstance(getattr(executor, "_pool", None), tuple(closed))
    }


def check_executors(scheduler: BaseScheduler | None) -> set[str]:
    """Return the aliases of the executors whose pools Python has closed, unless these are all.

    :raises NoExecutorError: if all executors of the scheduler are closed.
    """
    closed = _closed_executors(scheduler)
    if closed and scheduler is not None and closed.issuperset(scheduler._executors):
        raise NoExecutorError(
            "Due jobs stay due: thread and process pools take no work after the main thread has "
            "ended; keep it alive as long as the scheduler runs"
        )
    return closed
