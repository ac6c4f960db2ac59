"""Schedulers whose cycles are run by the benchmark."""

from datetime import datetime, timezone
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler

__all__ = ["ManualScheduler", "NullExecutor", "started"]


class NullExecutor(BaseExecutor):
    """Takes every job, and runs none: it has ended before it is counted as running."""

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._instances[job.id] -= 1


class ManualScheduler(BaseScheduler):
    """A scheduler whose cycles are run by the benchmark."""

    def wakeup(self) -> None:
        pass

    def shutdown(self, wait: bool = True) -> None:
        super().shutdown(wait)


def started(store: Any, executor: BaseExecutor | None = None) -> ManualScheduler:
    scheduler = ManualScheduler(
        jobstores={"default": store},
        executors={"default": executor or NullExecutor()},
        timezone=timezone.utc,
    )
    scheduler.start()
    return scheduler
