"""What the tests of the MongoDB store share: jobs, schedulers whose cycles are run by hand, ..."""

import threading
import time
from datetime import datetime, timedelta, timezone

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from pymongo import monitoring

START = datetime(2020, 1, 1, tzinfo=timezone.utc)
YEARS = 10 * 365 * 86400  # seconds: one run is due, and the next is far


def at(seconds):
    return START + timedelta(seconds=seconds)


def note(*args, **kwargs):
    """What jobs do."""


def job(name, seconds=0, *, every=YEARS, args=(), scheduler=None, **options):
    """A job due so many seconds after START, or paused; it ends where `every` is None."""
    run_time = None if seconds is None else at(seconds)
    trigger = (
        DateTrigger(run_time or START, "UTC")
        if every is None
        else IntervalTrigger(seconds=every, start_date=at(seconds or 0), timezone="UTC")
    )
    defaults = {
        "func": note,
        "trigger": trigger,
        "executor": "default",
        "args": args,
        "kwargs": {},
        "name": name,
        "misfire_grace_time": None,
        "coalesce": True,
        "max_instances": 1,
        "next_run_time": run_time,
    }
    return Job(scheduler or BY_HAND, id=name, **{**defaults, **options})


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


def until(condition, seconds=30):
    """Wait until it is so; return what it is then."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.005)
    return result


def names(store):
    """The ids of all documents."""
    return sorted(document["_id"] for document in store.collection.find())


def run_times(store):
    """The run times of all documents, by id."""
    return {document["_id"]: document["next_run_time"] for document in store.collection.find()}


def job_commands(event):
    """Whether a command is one on the jobs, and not of the driver's own."""
    return event.command_name in {"find", "getMore", "insert", "update", "delete", "aggregate"}


class Commands(monitoring.CommandListener):
    """Lists the names of the commands that a client sends: MongoClient(event_listeners=[...])."""

    def __init__(self):
        self.names = []

    def started(self, event):
        if job_commands(event):
            self.names.append(event.command_name)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


def in_thread(call, *args):
    """Call it in another thread, wait, and return what it returned."""
    result = []
    thread = threading.Thread(target=lambda: result.append(call(*args)))
    thread.start()
    thread.join(30)
    return result[0]
