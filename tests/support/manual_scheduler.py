"""Schedulers whose cycles a test runs one by one."""

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.base import BaseScheduler


class Submissions(BaseExecutor):
    """Records every submitted job, and calls `then(job)` within the cycle.

    The scheduler would only log an error of `then`. So the error is kept, and `ByHand` raises it.
    """

    def __init__(self, then=None):
        super().__init__()
        self.submitted = []
        self.then = then
        self.errors = []

    def _do_submit_job(self, job, run_times):
        self.submitted.append((job.id, run_times))

    def submit_job(self, job, run_times):
        super().submit_job(job, run_times)
        self._instances.pop(job.id, None)
        if self.then:
            try:
                self.then(job)
            except Exception as error:
                self.errors.append(error)


class ByHand(BaseScheduler):
    """A real scheduler whose cycles a test runs by calling `_process_jobs()`."""

    def wakeup(self):
        pass

    executor = None

    def shutdown(self, wait=True):
        super().shutdown(wait)

    def _process_jobs(self):
        wait = super()._process_jobs()
        if self.executor and self.executor.errors:
            raise self.executor.errors.pop()
        return wait


BY_HAND = ByHand(timezone="UTC")


def by_hand(store, then=None):
    """Start a scheduler on a store. Its attribute `executor` has the submitted jobs."""
    scheduler = ByHand(timezone="UTC", jobstore_retry_interval=10)
    scheduler.executor = Submissions(then)
    scheduler.add_executor(scheduler.executor, "default")
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    return scheduler
