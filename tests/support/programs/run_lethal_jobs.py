"""Runs a scheduler with jobs that end the process.

Usage: ``python run_lethal_jobs.py URI DATABASE JSON``. The process exits with 0 when no job is due.

The options in JSON:

- `file`: the id of each submitted job is appended to this file.
- `store`: the store's options.
- `executor`: "pool", or "cycle" to run jobs in the scheduler's own thread.
"""

import json
import os
import sys
import time

from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore


def end_process():
    """End the process: the function of the culprit."""
    os._exit(3)


def main(uri, database, options):
    out = os.open(options["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    kind = {"pool": ThreadPoolExecutor, "cycle": DebugExecutor}[options["executor"]]

    class Executor(kind):
        def _do_submit_job(self, job, run_times):
            os.write(out, f"{job.id}\n".encode())
            super()._do_submit_job(job, run_times)

    store = MongoDBJobStore(database, host=uri, **options["store"])
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_executor(Executor(), "default")
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    due = {"next_run_time": {"$lte": time.time()}}
    while store.collection.count_documents(due) or store.status().pending:
        time.sleep(0.02)
    scheduler.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
