"""Runs a scheduler that doesn't share its jobs, as one of several processes.

Usage: ``python stand_by.py URI DATABASE FILE OPTIONS``. OPTIONS are arguments of the store, in
JSON. With "stop_after" besides, the process stops itself after so many submissions. Once it is
continued, its store's thread gets a new lease before the scheduler goes on.

The process appends lines to FILE:

- "started" when its scheduler has started, or "refused<TAB>error".
- ``job id<TAB>run time<TAB>time`` for each submitted run time, before the scheduler continues.
- "cycle" when all writes of a cycle are acknowledged.
- "stopped" before it stops itself.
- ``error<TAB>text`` for each error that the store logs.
"""

import json
import logging
import os
import signal
import sys
import threading
import time

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.blocking import BlockingScheduler

from jobstore import MongoDBJobStore


class ReportingStore(MongoDBJobStore):
    """A store that reports the end of a cycle once no write is pending."""

    def get_next_run_time(self):
        run_time = super().get_next_run_time()
        if not self.status().pending:
            report("cycle")
        return run_time


class Executor(BaseExecutor):
    """Reports the submitted run times."""

    def __init__(self, store, stop_after):
        super().__init__()
        self.store, self.remaining = store, stop_after

    def _do_submit_job(self, job, run_times):
        report(*(f"{job.id}\t{each.timestamp()}\t{time.time()}" for each in run_times))
        self.remaining -= 1
        if self.remaining == 0:
            self.stop()
        self._run_job_success(job.id, [])

    def stop(self):
        firing = self.store._firing
        leases = firing.leases
        report("stopped")
        os.kill(os.getpid(), signal.SIGSTOP)
        while firing.leases == leases or not firing.may_fire:
            time.sleep(0.01)


class Errors(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.ERROR:
            report(f"error\t{record.getMessage()}")


def report(*lines):
    os.write(out, "".join(f"{line}\n" for line in lines).encode())


def main(uri, database, options, stop_after=0):
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    logging.getLogger("apscheduler").addHandler(Errors())
    scheduler = BlockingScheduler(timezone="UTC", jobstore_retry_interval=1)
    store = ReportingStore(database, host=uri, **options)
    scheduler.add_executor(Executor(store, stop_after), "default")
    scheduler.add_jobstore(store, "default")
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=scheduler.shutdown).start())
    scheduler.add_listener(lambda event: report("started"), 1)  # EVENT_SCHEDULER_STARTED
    try:
        scheduler.start()
    except ValueError as error:
        report(f"refused\t{error}")


if __name__ == "__main__":
    out = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    given = json.loads(sys.argv[4])
    main(sys.argv[1], sys.argv[2], given, given.pop("stop_after", 0))
