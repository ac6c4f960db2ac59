"""A scheduler with 10 threads in its own process.

Usage: ``python in_flight_child.py URI COLLECTION BOUND``.

BOUND is the store's `in_flight`, in JSON. The lines on stdin alternate: at "go" the scheduler runs
jobs. At "end" it waits for its last run, and prints as JSON how many jobs it ran, and when the last
run ended, in seconds of the monotonic clock.
"""

import json
import sys
import time
from datetime import timezone
from typing import Any

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

import jobstore


def main(uri: str, collection: str, bound: str) -> None:
    store = jobstore.MongoDBJobStore(
        "bench", collection, host=uri, shared=True, in_flight=json.loads(bound)
    )
    executor = ThreadPoolExecutor(10)
    scheduler = BackgroundScheduler(
        jobstores={"default": store}, executors={"default": executor}, timezone=timezone.utc
    )
    ends: list[float] = []
    note: Any = lambda event: ends.append(time.monotonic())  # noqa: E731
    scheduler.add_listener(note, EVENT_JOB_EXECUTED)
    scheduler.start(paused=True)
    print("ready", flush=True)
    while sys.stdin.readline():
        ends.clear()
        scheduler.resume()
        sys.stdin.readline()
        while any(executor._instances.values()):
            time.sleep(0.001)
        scheduler.pause()
        print(json.dumps({"runs": len(ends), "last": max(ends, default=0.0)}), flush=True)
    scheduler.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
