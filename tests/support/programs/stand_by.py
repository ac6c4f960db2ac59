"""Runs a scheduler that doesn't share its jobs, as one of several processes.

Usage: ``python stand_by.py URI DATABASE FILE OPTIONS``. OPTIONS are arguments of the store, in
JSON. The process appends lines to FILE:

- "started" when its scheduler has started, or "refused<TAB>error".
- ``job id<TAB>run time<TAB>time`` for each submitted run time, before the scheduler continues.
- "cycle" when all writes of a cycle are acknowledged.
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

    def _do_submit_job(self, job, run_times):
        report(*(f"{job.id}\t{each.timestamp()}\t{time.time()}" for each in run_times))
        self._run_job_success(job.id, [])


class Errors(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.ERROR:
            report(f"error\t{record.getMessage()}")


def report(*lines):
    os.write(out, "".join(f"{line}\n" for line in lines).encode())


def main(uri, database, options):
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    logging.getLogger("apscheduler").addHandler(Errors())
    scheduler = BlockingScheduler(timezone="UTC", jobstore_retry_interval=1)
    scheduler.add_executor(Executor(), "default")
    scheduler.add_jobstore(ReportingStore(database, host=uri, **options), "default")
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=scheduler.shutdown).start())
    scheduler.add_listener(lambda event: report("started"), 1)  # EVENT_SCHEDULER_STARTED
    try:
        scheduler.start()
    except ValueError as error:
        report(f"refused\t{error}")


if __name__ == "__main__":
    out = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[4]))
