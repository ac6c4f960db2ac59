"""Many schedulers share the jobs. Run it in two terminals: python examples/shared.py [URI]

One of the processes runs each of the ten jobs every second. End one: the other goes on with all
jobs. Ctrl-C or SIGTERM ends a process.
"""

import contextlib
import os
import signal
import sys
import time

from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore


def tick(number):
    print(f"process {os.getpid()} runs job {number}", flush=True)


signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C
uri = sys.argv[1] if len(sys.argv) > 1 else "mongodb://localhost"
store = MongoDBJobStore("shared_example", host=uri, shared=True)
scheduler = BackgroundScheduler(jobstores={"default": store})
for number in range(10):
    scheduler.add_job(
        tick, "interval", seconds=1, args=[number], id=f"tick-{number}", replace_existing=True
    )
with contextlib.suppress(KeyboardInterrupt):
    scheduler.start()
    while True:
        time.sleep(1)
scheduler.shutdown()
