"""Runs a scheduler whose thread continues after the end of the main thread.

Usage: ``python outlive_main_thread.py URI DATABASE MODE EXECUTOR``. The process ends when its
standard input is closed.
"""

import sys
import threading
import time

from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore
from jobstore.mongodb import executors

EXECUTORS = {"threads": ThreadPoolExecutor, "processes": ProcessPoolExecutor}
MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


def work():
    """Do nothing: the function of the job."""


def wait():
    while not executors.pools_are_closed():
        time.sleep(0.01)
    print("ended", flush=True)
    while scheduler_logs == []:  # until the scheduler has logged the refusal
        time.sleep(0.01)
    print("refused", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    import logging

    scheduler_logs = []
    handler = logging.Handler()
    handler.emit = lambda record: scheduler_logs.append(record.getMessage())
    handler.addFilter(lambda record: "Due jobs stay due" in record.getMessage())
    logging.getLogger("apscheduler.scheduler").addHandler(handler)
    uri, database, mode, executor = sys.argv[1:]
    store = MongoDBJobStore(database, host=uri, **MODES[mode])
    scheduler = BackgroundScheduler(
        jobstores={"default": store}, executors={"default": EXECUTORS[executor]()}, timezone="UTC"
    )
    scheduler.start()
    threading.Thread(target=wait).start()
