"""Schedulers for benchmarks, which run each cycle themselves."""

from datetime import datetime, timezone, tzinfo
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler

__all__ = ["ManualScheduler", "NullExecutor", "started"]


class NullExecutor(BaseExecutor):
    """Accepts every job without running it, and counts the job as ended at once."""

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._instances[job.id] -= 1


class ManualScheduler(BaseScheduler):
    """A scheduler without a thread: the benchmark calls `_process_jobs`."""

    def wakeup(self) -> None:
        pass

    def shutdown(self, wait: bool = True) -> None:
        super().shutdown(wait)


def started(
    store: Any, executor: BaseExecutor | None = None, zone: tzinfo = timezone.utc
) -> ManualScheduler:
    scheduler = ManualScheduler(
        jobstores={"default": store},
        executors={"default": executor or NullExecutor()},
        timezone=zone,
    )
    scheduler.start()
    return scheduler
