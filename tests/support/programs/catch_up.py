"""Runs a scheduler that catches up with overdue jobs, until its standard input is closed.

Usage: ``python catch_up.py URI DATABASE OPTIONS``, with the store's options in JSON.

The process writes lines to standard output: "started" when its scheduler has started, and
``run<TAB>job id<TAB>run time`` or ``missed<TAB>job id<TAB>run time`` for each run. A line
"release" on standard input releases the held jobs.
"""

import json
import os
import sys

from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore


def report(*fields):
    os.write(1, ("\t".join(map(str, fields)) + "\n").encode())


def note(event):
    kind = "run" if event.code == EVENT_JOB_EXECUTED else "missed"
    report(kind, event.job_id, event.scheduled_run_time.timestamp())


def main(uri, database, options):
    store = MongoDBJobStore(database, host=uri, **json.loads(options))
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_jobstore(store, "default")
    scheduler.add_listener(note, EVENT_JOB_EXECUTED | EVENT_JOB_MISSED)
    scheduler.start()
    report("started")
    for line in sys.stdin:
        if line == "release\n":
            report("released", store.release_held())
    scheduler.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
