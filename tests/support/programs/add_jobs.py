"""Adds 20 jobs by the stock store, each due after one second.

Usage: ``python add_jobs.py URI DATABASE``.
"""

import sys
import time
from datetime import datetime, timedelta, timezone

from apscheduler.jobstores.mongodb import MongoDBJobStore

from support.jobs import job


def main(uri, database):
    store = MongoDBJobStore(database, host=uri)
    store.start(None, "default")
    for number in range(20):
        each = job(f"{number}", every=None)
        each.next_run_time = datetime.now(timezone.utc) + timedelta(seconds=1)
        store.add_job(each)
        time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
