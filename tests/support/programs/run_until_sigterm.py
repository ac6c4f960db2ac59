"""Runs a scheduler and its jobs in the main thread until SIGTERM shuts it down.

Usage: ``python run_until_sigterm.py URI DATABASE MODE``. The process prints "runs" once the
scheduler has started. A second call of the handler would find the scheduler stopped.
"""

import faulthandler
import logging
import signal
import sys
import threading

from apscheduler.schedulers.blocking import BlockingScheduler

from jobstore import MongoDBJobStore

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


def work():
    """Do nothing: the function of the jobs."""


def main(uri, database, mode):
    logging.basicConfig(level=logging.ERROR)
    store = MongoDBJobStore(database, host=uri, **MODES[mode])
    scheduler = BlockingScheduler(jobstores={"default": store}, timezone="UTC")
    # Where the handler interrupts it, APScheduler's own event would wait for itself.
    scheduler._event = threading.Event()
    scheduler._event._cond = threading.Condition(threading.RLock())
    scheduler.add_executor("debug", "default")
    for number in range(10):
        scheduler.add_job(work, "interval", seconds=0.01, id=f"job{number}", replace_existing=True)

    def stop(*_):
        faulthandler.dump_traceback_later(30, exit=True)
        scheduler.shutdown(wait=False)

    signal.signal(signal.SIGTERM, stop)
    scheduler.add_listener(lambda _: print("runs", flush=True), 1)  # EVENT_SCHEDULER_STARTED
    scheduler.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
