"""One of many schedulers: ``python share_jobs.py URI DATABASE FILE [OPTIONS AS JSON]``.

It appends to FILE: for each due time that it submits a line ``job id<TAB>run time``, before the
scheduler goes on; "cycle" when a cycle's writes are through; ``twice<TAB>job id`` for each job
that it logs to run twice. Options: `lease`, in seconds; `ahead`, the seconds by which its clock
is; `stop`, the number of a submission at which it stops itself, once.
"""

import json
import logging
import os
import signal
import sys
from datetime import datetime, timedelta

import apscheduler.schedulers.base
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.blocking import BlockingScheduler

from jobstore import MongoDBJobStore
from jobstore.mongodb import summary
from jobstore.mongodb.summary import Summary
from jobstore.mongodb.writes import conflicts


class Reported(MongoDBJobStore):
    """A store that tells when what it was asked for is done."""

    def get_next_run_time(self):
        answer = super().get_next_run_time()
        if not self.status().pending:
            tell("cycle")
        return answer


class Executor(BaseExecutor):
    """Notes what is submitted."""

    count = 0

    def _do_submit_job(self, job, run_times):
        self.count += 1
        if self.count == options.get("stop"):
            os.kill(os.getpid(), signal.SIGSTOP)
        tell(*(f"{job.id}\t{time.timestamp()}" for time in run_times))
        self._run_job_success(job.id, [])


class Lines(Summary):
    """Tells each job that runs twice; the log names the first ten."""

    def add(self, line, job_id, reason=None):
        if line is conflicts.RUNS_TWICE:
            tell(f"twice\t{job_id}")
        super().add(line, job_id, reason)


class Clock(datetime):
    @classmethod
    def now(cls, zone=None):
        return datetime.now(zone) + timedelta(seconds=options.get("ahead", 0))


def tell(*lines):
    os.write(out, "".join(f"{line}\n" for line in lines).encode())


def main(uri, database):
    apscheduler.schedulers.base.datetime = Clock
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    summary.Summary = Lines
    store = Reported(database, host=uri, shared=True, lease=options.get("lease", 10))
    scheduler = BlockingScheduler(timezone="UTC", jobstore_retry_interval=1)
    scheduler.add_executor(Executor(), "default")
    scheduler.add_jobstore(store, "default")
    signal.signal(signal.SIGTERM, lambda *_: scheduler.shutdown())
    tell("started")
    scheduler.start()


if __name__ == "__main__":
    options = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    out = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    main(sys.argv[1], sys.argv[2])
