"""A scheduler in its own process, and the job that it runs.

Usage: ``python latency_child.py STORE URI COLLECTION ARGUMENTS``.

STORE is ``jobstore`` or ``apscheduler``, ARGUMENTS are the store's, in JSON. The job prints when it
began, in nanoseconds of the monotonic clock, which all processes of a Linux machine share.
"""

import json
import sys
import time
from datetime import timezone

from apscheduler.jobstores.mongodb import MongoDBJobStore as StockStore
from apscheduler.schedulers.background import BackgroundScheduler

import jobstore

STORES = {"jobstore": jobstore.MongoDBJobStore, "apscheduler": StockStore}


def begin() -> None:
    began = time.monotonic_ns()
    print(began, flush=True)


def main(store: str, uri: str, collection: str, arguments: str) -> None:
    scheduler = BackgroundScheduler(timezone=timezone.utc)
    kept = STORES[store]("bench", collection, host=uri, **json.loads(arguments))
    scheduler.add_jobstore(kept)
    scheduler.start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
