"""Checks that a scheduler's thread pools still take jobs."""

import concurrent.futures.thread as pools

from apscheduler.schedulers.base import BaseScheduler

__all__ = ["NoExecutorError", "check_executors", "pools_are_closed"]


class NoExecutorError(RuntimeError):
    """Raised instead of handing out due jobs: APScheduler loses runs that no executor takes."""


def pools_are_closed() -> bool:
    """Whether Python has closed all thread pools, because the main thread has ended.

    Other threads, such as the scheduler's, may live on.
    """
    return bool(getattr(pools, "_shutdown", False))


def check_executors(scheduler: BaseScheduler | None) -> None:
    """Refuse to hand out jobs to closed thread pools.

    :raises NoExecutorError: if thread pools are closed, and an executor of the scheduler has one.
    """
    if scheduler is None or not pools_are_closed():
        return
    for executor in list(scheduler._executors.values()):
        if isinstance(getattr(executor, "_pool", None), pools.ThreadPoolExecutor):
            raise NoExecutorError(
                "Due jobs stay due: thread pools take no work after the main thread has ended; "
                "keep it alive as long as the scheduler runs"
            )
