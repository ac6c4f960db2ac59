"""Whether a scheduler's executors can still take jobs."""

import concurrent.futures.thread as pools

from apscheduler.schedulers.base import BaseScheduler

__all__ = ["NoExecutorError", "check_executors", "pools_are_closed"]


class NoExecutorError(RuntimeError):
    """Due jobs stay due: APScheduler would lose the runs that no executor takes."""


def pools_are_closed() -> bool:
    """Whether thread pools take no more work, as the main thread has ended.

    Other threads may live on, and the scheduler's among them.
    """
    return bool(getattr(pools, "_shutdown", False))


def check_executors(scheduler: BaseScheduler | None) -> None:
    """Refuse to hand out jobs to thread pools that are closed.

    :raises NoExecutorError: if an executor of the scheduler has such a pool.
    """
    if scheduler is None or not pools_are_closed():
        return
    for executor in list(scheduler._executors.values()):
        if isinstance(getattr(executor, "_pool", None), pools.ThreadPoolExecutor):
            raise NoExecutorError(
                "Due jobs stay due: thread pools take no work after the main thread has ended; "
                "keep it alive as long as the scheduler runs"
            )
