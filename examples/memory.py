"""100,000 reminders in memory, of which three are due at once. Run: python examples/memory.py"""

import threading
from datetime import datetime, timedelta, timezone

from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MemoryJobStore, add_jobs

sent = threading.Semaphore(0)


def remind(customer):
    print(f"reminder to customer {customer}", flush=True)
    sent.release()


scheduler = BackgroundScheduler(
    jobstores={"default": MemoryJobStore()},
    job_defaults={"misfire_grace_time": None},  # a late reminder is better than none
)
scheduler.start()
now = datetime.now(timezone.utc)
times = [now] * 3 + [now + timedelta(hours=1, seconds=number) for number in range(99_997)]
jobs = [
    {"func": remind, "trigger": "date", "run_date": time, "args": [number]}
    for number, time in enumerate(times)
]
add_jobs(scheduler, jobs)
for _ in range(3):
    sent.acquire(timeout=60)
print(f"{len(scheduler.get_jobs())} reminders wait")
scheduler.shutdown()
