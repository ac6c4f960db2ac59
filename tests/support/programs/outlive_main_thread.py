"""A process whose main thread ends while its scheduler's thread lives on.

Arguments: the server's URI, the database, the store's mode. It ends with its standard input.
"""

import sys
import threading
import time

from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore
from jobstore.mongodb import executors

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


def work():
    """What the job does."""


def wait():
    while not executors.pools_are_closed():
        time.sleep(0.01)
    print("ended", flush=True)
    while scheduler_logs == []:  # until the scheduler was told
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
    uri, database, mode = sys.argv[1:]
    store = MongoDBJobStore(database, host=uri, **MODES[mode])
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone="UTC")
    scheduler.start()
    threading.Thread(target=wait).start()
