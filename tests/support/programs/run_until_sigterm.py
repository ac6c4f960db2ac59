"""A process whose main thread runs the scheduler and its jobs, and whom SIGTERM shuts down.

Arguments: the server's URI, the database, the store's mode. It says when it runs; a second handler
call would find the scheduler stopped.
"""

import faulthandler
import logging
import signal
import sys

from apscheduler.schedulers.blocking import BlockingScheduler

from jobstore import MongoDBJobStore

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


def work():
    """What jobs do."""


def main(uri, database, mode):
    logging.basicConfig(level=logging.ERROR)
    store = MongoDBJobStore(database, host=uri, **MODES[mode])
    scheduler = BlockingScheduler(jobstores={"default": store}, timezone="UTC")
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
