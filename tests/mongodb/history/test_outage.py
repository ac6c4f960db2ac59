"""A mirrored scheduler works on while the server is away, and its history has all runs."""

import threading
from collections import Counter

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.schedulers.background import BackgroundScheduler

from support.history import end
from support.jobs import note
from support.proxy import Proxy
from support.waiting import until

JOBS = [f"job-{number}" for number in range(5)]


class Ends:
    """Notes each run that has ended."""

    def __init__(self, scheduler):
        self._lock = threading.Lock()
        self.ended = []
        scheduler.add_listener(self._note, EVENT_JOB_EXECUTED)

    def _note(self, event):
        with self._lock:
            self.ended.append((event.job_id, event.scheduled_run_time.timestamp()))

    def wait_for_more(self, number):
        wanted = len(self.ended) + number
        until(lambda: len(self.ended) >= wanted)


def milliseconds(seconds):
    return int(seconds * 1000 + 1e-6)  # as a date in BSON keeps it


@pytest.mark.slow
def test_each_run_of_an_outage_has_one_record(recording, server):
    with Proxy(server.nodes[0].port) as proxy:
        store = recording(proxy.uri, mirror=True)
        scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
        ends = Ends(scheduler)
        scheduler.start()
        for job_id in JOBS:
            scheduler.add_job(
                note, "interval", seconds=0.2, id=job_id, max_instances=9, misfire_grace_time=None
            )
        ends.wait_for_more(10)
        proxy.faults.append(lambda request: "close")
        ends.wait_for_more(30)
        proxy.release()
        ends.wait_for_more(10)
        end(scheduler)
    expected = Counter((job_id, milliseconds(run_time)) for job_id, run_time in ends.ended)
    reader = recording(history=None)
    records = [
        record
        for job_id in JOBS
        for record in reader.history(job_id, limit=10_000)
        if record.kind == "executed"
    ]
    found = Counter((each.job_id, milliseconds(each.run_time.timestamp())) for each in records)
    assert found == expected
    assert all(each.seconds is not None for each in records)
