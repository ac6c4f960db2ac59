"""Processes are killed, or end, while jobs are due: only runs in flight may be lost."""

import pytest

from support.one_offs import MODES
from support.waiting import until

WORKERS, SECONDS = 10, 0.02  # of each process's thread pool, and of each job
# A worker ends at most 11 runs in the 0.2 s that "auto" looks back.
MOST_IN_FLIGHT = {"auto": WORKERS * 11, 15: 15}


def ids(runs):
    return {job_id for job_id, _ in runs}


@pytest.mark.parametrize("in_flight", MOST_IN_FLIGHT)
@pytest.mark.parametrize("mode", MODES)
def test_killed_process_loses_only_runs_in_flight(one_offs, mode, in_flight):
    every = one_offs.add(2_000)
    killed = one_offs.start(mode, in_flight=in_flight, lease=2, seconds=SECONDS)
    until(lambda: len(one_offs.begun()) >= 300)
    one_offs.kill(killed)
    ended, stored = ids(one_offs.ended()), one_offs.stored()
    assert len(ended) < len(every)
    assert len(every - stored - ended) <= MOST_IN_FLIGHT[in_flight]

    one_offs.start(mode, in_flight=in_flight, lease=2, seconds=0)
    until(lambda: stored <= ids(one_offs.ended()) and not one_offs.stored())
    assert len(every - ids(one_offs.ended())) <= MOST_IN_FLIGHT[in_flight]


@pytest.mark.parametrize("in_flight", ["auto", None])
@pytest.mark.parametrize("mode", MODES)
def test_process_that_ends_without_shutdown_loses_no_job(one_offs, mode, in_flight):
    """Its main thread ends in mid-cycle. The executor then takes none of the cycle's other jobs."""
    every = one_offs.add(300)
    ends = one_offs.start(mode, in_flight=in_flight, lease=2, close_at=10)
    assert ends.wait(60) == 0
    assert 0 < len(one_offs.ended()) < len(every)
    assert every - ids(one_offs.ended()) <= one_offs.stored()

    one_offs.start(mode, in_flight=in_flight, lease=2, seconds=0)
    until(lambda: ids(one_offs.ended()) == every and not one_offs.stored())


@pytest.mark.parametrize("in_flight", ["auto", None])
def test_scheduler_without_a_pool_leaves_all_jobs_to_the_other(one_offs, in_flight):
    """Its main thread has ended in mid-cycle, and its process lives on."""
    every = one_offs.add(200)
    without = one_offs.start("shared", in_flight=in_flight, close_at=10, lives_on=True)
    until(lambda: len(one_offs.ended()) >= 9)
    one_offs.start("shared", in_flight=in_flight)
    until(lambda: ids(one_offs.ended()) == every and not one_offs.stored())
    assert without.poll() is None
