"""Runs one of many schedulers on a shared collection.

Usage: ``python share_jobs.py URI DATABASE FILE [OPTIONS]``. The process appends lines to FILE:

- "started" before its scheduler starts.
- ``job id<TAB>run time`` for each submitted run time, before the scheduler continues.
- "cycle" when all writes of a cycle are acknowledged.
- ``twice<TAB>job id`` for each job that the log says runs twice.

The options, in JSON:

- `lease`: the lease in seconds.
- `ahead`: how many seconds the process's clock is ahead.
- `stop`: the number of the submission at which the process stops itself by SIGSTOP.
"""

import json
import logging
import os
import signal
import sys
import threading
from datetime import datetime, timedelta

import apscheduler.schedulers.base
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.blocking import BlockingScheduler

from jobstore import MongoDBJobStore
from jobstore.mongodb import summary
from jobstore.mongodb.summary import Summary
from jobstore.mongodb.writes import conflicts


class ReportingStore(MongoDBJobStore):
    """A store that reports the end of a cycle once no write is pending."""

    def get_next_run_time(self):
        run_time = super().get_next_run_time()
        if not self.status().pending:
            report("cycle")
        return run_time


class Executor(BaseExecutor):
    """Reports the submitted run times."""

    count = 0

    def _do_submit_job(self, job, run_times):
        self.count += 1
        if self.count == options.get("stop"):
            os.kill(os.getpid(), signal.SIGSTOP)
        report(*(f"{job.id}\t{time.timestamp()}" for time in run_times))
        self._run_job_success(job.id, [])


class ReportingSummary(Summary):
    """Reports each job that runs twice, as the log names only the first ten."""

    def add(self, line, job_id, reason=None):
        if line is conflicts.RUNS_TWICE:
            report(f"twice\t{job_id}")
        super().add(line, job_id, reason)


class Clock(datetime):
    @classmethod
    def now(cls, zone=None):
        return datetime.now(zone) + timedelta(seconds=options.get("ahead", 0))


def report(*lines):
    os.write(out, "".join(f"{line}\n" for line in lines).encode())


def main(uri, database):
    apscheduler.schedulers.base.datetime = Clock
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    summary.Summary = ReportingSummary
    store = ReportingStore(database, host=uri, shared=True, lease=options.get("lease", 10))
    scheduler = BlockingScheduler(timezone="UTC", jobstore_retry_interval=1)
    scheduler.add_executor(Executor(), "default")
    scheduler.add_jobstore(store, "default")
    # In another thread: within the main thread's wait, APScheduler's event would wait for itself.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=scheduler.shutdown).start())
    report("started")
    scheduler.start()


if __name__ == "__main__":
    options = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    out = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    main(sys.argv[1], sys.argv[2])
