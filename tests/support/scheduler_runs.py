"""Helpers for tests with real schedulers: a record of all runs, and start and end."""

import asyncio
from collections import defaultdict
from contextlib import contextmanager
from datetime import datetime, timezone
from threading import Condition, Event, Thread

from apscheduler.events import (
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
)
from apscheduler.schedulers.asyncio import AsyncIOScheduler

PATIENCE = 60  # seconds to wait for an event before a test fails


class Runs:
    """Records the run times of each job by event, and the results of its runs."""

    def __init__(self, scheduler):
        self.changed = Condition()
        self.times = defaultdict(lambda: defaultdict(list))
        self.returned = defaultdict(list)
        mask = EVENT_JOB_SUBMITTED | EVENT_JOB_EXECUTED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED
        scheduler.add_listener(self._note, mask)

    def _note(self, event):
        with self.changed:
            times = self.times[event.code][event.job_id]
            if hasattr(event, "scheduled_run_times"):
                times.extend(event.scheduled_run_times)
            else:
                times.append(event.scheduled_run_time)
            if event.code == EVENT_JOB_EXECUTED:
                self.returned[event.job_id].append(event.retval)
            self.changed.notify_all()

    def of(self, job_id, code=EVENT_JOB_EXECUTED):
        with self.changed:
            return self.times[code][job_id].copy()

    def wait(self, job_id, count, code=EVENT_JOB_EXECUTED):
        """Wait until the job has had `count` runs, and return their times."""
        with self.changed:
            times = self.times[code][job_id]
            assert self.changed.wait_for(lambda: len(times) >= count, PATIENCE), (job_id, times)
            return times.copy()

    def wait_more(self, *job_ids, count=3):
        """Wait until each of the jobs has had `count` more runs."""
        for job_id in job_ids:
            self.wait(job_id, len(self.of(job_id)) + count)


def sequence(first, step, count):
    return [first + step * n for n in range(count)]


def utc_now():
    return datetime.now(timezone.utc)


@contextmanager
def running(scheduler):
    """Start a scheduler of any kind in its own thread, and shut it down at the end."""

    async def run_loop():
        stopped = asyncio.Event()
        scheduler.add_listener(lambda event: stopped.set(), EVENT_SCHEDULER_SHUTDOWN)
        scheduler.start()
        await stopped.wait()

    started = Event()
    scheduler.add_listener(lambda event: started.set(), EVENT_SCHEDULER_STARTED)
    start = scheduler.start
    if isinstance(scheduler, AsyncIOScheduler):
        start = lambda: asyncio.run(run_loop())  # noqa: E731
    thread = Thread(target=start, daemon=True)
    thread.start()
    assert started.wait(PATIENCE)
    try:
        yield
    finally:
        scheduler.shutdown()
        thread.join(PATIENCE)
        assert not thread.is_alive()
