"""Runs a mirrored scheduler until its process is killed.

Usage: ``python run_mirrored.py URI DATABASE``.

For each submission the process writes a line ``job id<TAB>run time<TAB>...`` to standard output.
"""

import os
import sys

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.blocking import BlockingScheduler

from jobstore import MongoDBJobStore


class Executor(BaseExecutor):
    """Reports the submitted run times."""

    def _do_submit_job(self, job, run_times):
        line = "\t".join([job.id, *(str(time.timestamp()) for time in run_times)])
        os.write(1, line.encode() + b"\n")
        self._run_job_success(job.id, [])


def main(uri, database):
    scheduler = BlockingScheduler(timezone="UTC")
    scheduler.add_executor(Executor(), "default")
    scheduler.add_jobstore(MongoDBJobStore(database, host=uri, mirror=True), "default")
    scheduler.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
