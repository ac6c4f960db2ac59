"""Schedulers whose cycles a test runs one by one."""

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.base import BaseScheduler


class Submissions(BaseExecutor):
    """Takes every job, notes what was submitted, and calls `then`, in the cycle.

    What that raises the scheduler only logs; so it is kept, for `ByHand` to raise.
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
    """A real scheduler whose cycles are run by the test: `_process_jobs()`."""

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
    """Start a scheduler on a store; its executor is `.executor`."""
    scheduler = ByHand(timezone="UTC", jobstore_retry_interval=10)
    scheduler.executor = Submissions(then)
    scheduler.add_executor(scheduler.executor, "default")
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    return scheduler
