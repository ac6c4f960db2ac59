"""One side of the demo: a scheduler on one store, in a separate process.

`jobstore.demo.runner` starts ``python -m jobstore.demo.side PLAN SIDE``. This adds the jobs, weighs
the store and runs the scheduler. Twice a second it writes a `Sample` as a line of JSON; the last
one has the phase ``done``. Both sides run this same code; only the class of the store differs.
"""

import gc
import json
import os
import random
import sys
import threading
import time
import tracemalloc
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import cast

from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler

from .meters import CountingExecutor, Lateness, Timed
from .plan import Plan, Sample, SideName
from .stores import KINDS

__all__ = ["Side"]

CYCLE = (
    "get_due_jobs",
    "update_job",
    "remove_job",
    "get_next_run_time",
)  # the methods that a cycle calls
DAY = timedelta(days=1)
REPORT_EVERY = 0.5  # seconds


class Side:
    """One side's scheduler, its store, and their meters."""

    def __init__(self, plan: Plan, side: SideName) -> None:
        self.plan = plan
        self.side = side
        self.kind = KINDS[plan.store]
        self.store = self.kind.make(side, plan.where)
        self.add_job = self._timed("add_job")
        self.cycle = [self._timed(name) for name in CYCLE]
        self.executor = CountingExecutor()
        self.lateness = Lateness()
        # It keeps its default time zone, although that is not the fastest one.
        self.scheduler = BackgroundScheduler(
            jobstores={"default": self.store}, executors={"default": self.executor}
        )
        self.sample = Sample(zone=str(self.scheduler.timezone))
        self.jobs: list[Job] = []
        self.began = self.cpu_before = 0.0
        self.running = False

    def add(self) -> None:
        """Add all jobs by a loop over the scheduler's `add_job`, in random order of their times.

        The scheduler is started but paused: each job goes into the store at once, and none fires.
        The jobs are due in a day, as nobody knows yet how long adding takes. Jobs in order of time
        would spare the stock store's list all moves, so the order is random, but the same on both
        sides.
        """
        self.sample.phase = "adding jobs"
        self.scheduler.start(paused=True)
        places = list(range(self.plan.jobs))
        random.Random(1).shuffle(places)
        first = datetime.now(self.scheduler.timezone) + DAY
        start = time.perf_counter()
        for number, place in enumerate(places):
            job = self.scheduler.add_job(
                nothing,
                "interval",
                seconds=self.plan.interval,
                id=f"job-{number}",
                misfire_grace_time=None,  # no run is skipped, however late
                coalesce=False,
                next_run_time=first + self._offset(place),
            )
            self.jobs.append(job)
            self.sample.held = number + 1
        self.sample.add_seconds = time.perf_counter() - start
        self.sample.add_store_seconds = self.add_job.seconds

    def weigh(self) -> None:
        """Put the jobs, in the same order, into a second store, and measure its memory.

        Only this step runs under tracemalloc, which slows everything down. The jobs and their ids
        exist already, so tracemalloc counts only the store's own memory.
        """
        if not self.kind.in_memory:
            return
        self.sample.phase = "weighing the store"
        gc.collect()
        tracemalloc.start()
        store = self.kind.make(self.side, self.plan.where)
        for job in self.jobs:
            store.add_job(job)
        gc.collect()
        self.sample.bytes_per_job = tracemalloc.get_traced_memory()[0] / self.plan.jobs
        tracemalloc.stop()

    def line_up(self) -> datetime:
        """Refill the store with the jobs, evenly spread from soon on; return the first run time.

        If the first job is already due before the last one is in, this starts over with more time.
        """
        self.sample.phase = "lining up"
        self.jobs = self.store.get_all_jobs()
        self.sample.held = len(self.jobs)
        seconds = 0.5 + self.plan.jobs * self.kind.seconds_per_job
        while True:
            first = datetime.now(self.scheduler.timezone) + timedelta(seconds=seconds)
            for place, job in enumerate(self.jobs):
                job.next_run_time = first + self._offset(place)
            self.kind.refill(self.store, self.jobs)
            if datetime.now(timezone.utc) < first:
                return first
            seconds *= 2

    def run(self) -> None:
        """Run the scheduler for the planned time, from the first run time on."""
        first = self.line_up().timestamp()
        gc.collect()
        self.scheduler.resume()
        time.sleep(max(first - time.time(), 0))
        self.began, self.cpu_before = first, time.process_time()
        self.running = True
        self.sample.phase = "running"
        time.sleep(max(first + self.plan.seconds - time.time(), 0))

    def report(self) -> None:
        """Write the current sample."""
        sample = self.sample
        if self.running:
            sample.elapsed = time.time() - self.began
            sample.fired = self.executor.fired
            sample.cycles = self.cycle[0].calls
            sample.store_seconds = sum(method.seconds for method in self.cycle)
            sample.cpu_seconds = time.process_time() - self.cpu_before
            recent = self.executor.take_recent()
            self.lateness.merge(recent)
            sample.recent_p50, sample.recent_p99 = recent.quantile(0.5), recent.quantile(0.99)
            sample.late_p50 = self.lateness.quantile(0.5)
            sample.late_p99 = self.lateness.quantile(0.99)
        print(json.dumps(asdict(sample)), flush=True)

    def _timed(self, name: str) -> Timed:
        timed = Timed(getattr(self.store, name))
        setattr(self.store, name, timed)
        return timed

    def _offset(self, place: int) -> timedelta:
        return timedelta(microseconds=int(place * self.plan.interval * 1e6 / self.plan.jobs))


def nothing() -> None:
    """Do nothing: the function of every job."""


def main() -> None:
    """Run one side, then end the process."""
    threading.excepthook = end_with_the_thread
    side = Side(Plan(**json.loads(sys.argv[1])), cast("SideName", sys.argv[2]))
    stop = threading.Event()

    def keep_reporting() -> None:
        while not stop.wait(REPORT_EVERY):
            side.report()

    reporter = threading.Thread(target=keep_reporting, daemon=True)
    reporter.start()
    side.add()
    side.weigh()
    side.run()
    stop.set()
    reporter.join()
    side.sample.phase = "done"
    side.report()
    # Not shutdown(): it waits for the cycle, which takes long in a scheduler far behind.
    os._exit(0)


def end_with_the_thread(failure: threading.ExceptHookArgs) -> None:
    """End the process when a thread fails.

    Without the scheduler's thread nothing fires. The reporting thread fails when nobody reads its
    output any more. So no side outlives the demo, even if that was killed.
    """
    threading.__excepthook__(failure)
    os._exit(1)


if __name__ == "__main__":
    main()
