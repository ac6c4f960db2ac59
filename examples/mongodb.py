"""A job in MongoDB survives its scheduler. Run: python examples/mongodb.py [URI]

The first run stores a job that is due in an hour. Each later run finds the job, runs it and counts.
"""

import sys
import threading
from datetime import datetime, timezone

from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore

reported = threading.Event()


def report():
    print("the report runs", flush=True)
    reported.set()


uri = sys.argv[1] if len(sys.argv) > 1 else "mongodb://localhost"
store = MongoDBJobStore("mongodb_example", host=uri)  # a database of its own
scheduler = BackgroundScheduler(jobstores={"default": store})
scheduler.start()
job = scheduler.get_job("report")
if job is None:
    job = scheduler.add_job(report, "interval", hours=1, id="report")
    print(f"stored, due at {job.next_run_time}")
else:
    print(f"found, due at {job.next_run_time}")
    job.modify(next_run_time=datetime.now(timezone.utc))
    reported.wait(timeout=60)
scheduler.shutdown()
