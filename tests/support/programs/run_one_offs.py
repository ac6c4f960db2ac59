"""Runs a scheduler with a pool of 10 threads, whose jobs write down when they begin and end.

Usage: ``python run_one_offs.py URI DATABASE MODE FILE [OPTIONS]``. The jobs' function is `work`. A
job appends a line ``begun<TAB>job id<TAB>process id`` to FILE, and then a line ``ended...``. The
process runs until it is killed. The options, in JSON, are options of the store, and these:

- `seconds`: how long each job takes.
- `gate`: a file for which each job waits instead.
- `close_at`: the number of the submission during which the main thread ends. Python then closes
  the thread pools, before the executor takes that job.
- `lives_on`: the process outlives its main thread, until its standard input is closed.
"""

import concurrent.futures.thread as pools
import json
import logging
import os
import sys
import threading
import time

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


class Settings:
    """How the jobs of this process work, and where they write."""

    file: int
    seconds: float
    gate: str | None


def work(job_id):
    note("begun", job_id)
    if Settings.gate:
        while not os.path.exists(Settings.gate):
            time.sleep(0.01)
    else:
        time.sleep(Settings.seconds)
    note("ended", job_id)


def note(what, job_id):
    os.write(Settings.file, f"{what}\t{job_id}\t{os.getpid()}\n".encode())


class ClosingExecutor(ThreadPoolExecutor):
    """Lets the main thread end during one submission."""

    def __init__(self, close_at):
        super().__init__(10)
        self.remaining = close_at
        self.end = threading.Event()

    def _do_submit_job(self, job, run_times):
        self.remaining -= 1
        if self.remaining == 0:
            self.end.set()
            while not pools._shutdown:
                time.sleep(0.001)
        super()._do_submit_job(job, run_times)


def main(uri, database, mode, file, options="{}"):
    options = json.loads(options)
    logging.basicConfig(level=logging.WARNING)
    Settings.file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    Settings.seconds = options.pop("seconds", 0.02)
    Settings.gate = options.pop("gate", None)
    close_at, lives_on = options.pop("close_at", 0), options.pop("lives_on", False)
    store = MongoDBJobStore(database, host=uri, **MODES[mode], **options)
    executor = ClosingExecutor(close_at)
    scheduler = BackgroundScheduler(
        jobstores={"default": store}, executors={"default": executor}, timezone="UTC"
    )
    scheduler.start()
    if lives_on:
        threading.Thread(target=sys.stdin.read).start()
    executor.end.wait()


if __name__ == "__main__":
    from support.programs import run_one_offs  # the module whose function the jobs name

    run_one_offs.main(*sys.argv[1:])
