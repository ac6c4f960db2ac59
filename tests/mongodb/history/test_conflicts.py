"""Runs that lost to others, or that others ran, too, have records."""

import pytest

from support.history import wait_for
from support.jobs import at, job
from support.manual_scheduler import by_hand
from support.mirrored_stores import wait_until_equal

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


def run_and_change(store, change):
    """Run the job "a" in a cycle, in which another process changes its document."""
    scheduler = by_hand(store)
    store.add_job(job("a"))
    if "Mirrored" in type(store._reader).__name__:
        wait_until_equal(store)

    def then(each):
        store.collection.update_one({"_id": "a"}, {"$set": change})

    scheduler.executor.then = then
    scheduler._process_jobs()
    return scheduler


def test_run_whose_job_another_process_paused_is_lost(recording, mode):
    store = recording(**mode)
    run_and_change(store, {"next_run_time": None})
    (record,) = wait_for(store, "lost", "a")
    assert record.run_time == at(0)


def test_two_schedulers_that_do_not_share_record_double_runs(recording):
    first, second = recording(), recording()
    schedulers = [by_hand(first), by_hand(second)]
    first.add_jobs([job(f"job-{number}", number) for number in range(10)])
    schedulers[0].executor.then = lambda each: (
        schedulers[1]._process_jobs() if each.id == "job-0" else None
    )
    schedulers[0]._process_jobs()
    for number in range(10):
        (record,) = wait_for(first, "double", f"job-{number}")
        assert record.run_time == at(number)
