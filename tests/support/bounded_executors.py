"""Executors whose runs in flight a test counts up and down, and a scheduler that is woken."""

from apscheduler.events import EVENT_JOB_EXECUTED, JobEvent
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore.in_flight import InFlight


class Woken(BackgroundScheduler):
    """Records its wake-ups; started paused, it runs no cycle by itself."""

    def __init__(self, **options):
        super().__init__(timezone="UTC", **options)
        self.wakeups = 0

    def wakeup(self):
        self.wakeups += 1
        super().wakeup()


class Countless(BaseExecutor):
    """An executor of an application, without APScheduler's count of runs in flight."""

    def __init__(self):
        pass

    def _do_submit_job(self, job, run_times):
        pass


def started(scheduler, bound):
    runs = InFlight(bound)
    runs.start(scheduler)
    return runs


def submit(scheduler, alias, *job_ids):
    """Let an executor count these runs as in flight, as it does with jobs that it takes."""
    executor = scheduler._executors[alias]
    for job_id in job_ids:
        executor._instances[job_id] += 1


def end(scheduler, alias, *job_ids, code=EVENT_JOB_EXECUTED):
    """Let an executor end these runs, and send their events."""
    for job_id in job_ids:
        events = [] if code is None else [JobEvent(code, job_id, "default")]
        scheduler._executors[alias]._run_job_success(job_id, events)


def ids(number, name="job"):
    return [f"{name} {n}" for n in range(number)]


def hand_out(runs, scheduler, alias, *job_ids):
    for job_id in job_ids:
        runs.hand_out(job_id, alias)
    submit(scheduler, alias, *job_ids)
