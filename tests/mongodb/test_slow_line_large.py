"""The time limit grows for a single job that a slow line can't carry within it.

In these tests a command may take half a second. Reading the job takes 0.8 s, writing it 1.6 s.
"""

import os

import pytest
from pymongo.errors import PyMongoError

from jobstore.mongodb import connection
from support.jobs import YEARS, at, job, run_times
from support.manual_scheduler import by_hand
from support.mirrored_stores import is_quiet, mirrored, wait_until_live
from support.slow_line import lines
from support.waiting import until

RATE = 500_000
SIZE = 400_000


@pytest.fixture
def line(server, database, monkeypatch):
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 0.5)
    with lines(server, database) as line:
        yield line


def large_job(name="large", place=0):
    return job(name, place, args=[os.urandom(SIZE)])


def cycle_until(scheduler, done):
    def cycle():
        scheduler._process_jobs()
        return done()

    until(cycle)


@pytest.mark.parametrize("options", [{}, {"shared": True}], ids=["queried", "shared"])
def test_job_that_takes_longer_than_the_limit_of_a_command_runs_once(line, options):
    slow = line(**options)
    slow.store.add_jobs([large_job(), job("small", 1000)])
    scheduler = by_hand(slow.store)
    slow.proxy.rate = RATE
    cycle_until(scheduler, lambda: min(run_times(slow.store).values()) >= at(YEARS).timestamp())
    assert sorted(name for name, _ in scheduler.executor.submitted) == ["large", "small"]


def test_mirror_reads_and_writes_a_job_that_takes_longer_than_the_limit(line):
    slow = line(mirror=True)
    slow.store.add_jobs([large_job()])
    slow.proxy.rate = RATE
    scheduler = by_hand(slow.store)
    wait_until_live(slow.store)
    assert mirrored(slow.store).keys() == {"large"}
    scheduler._process_jobs()
    until(lambda: is_quiet(slow.store))
    assert min(run_times(slow.store).values()) >= at(YEARS).timestamp()
    assert [name for name, _ in scheduler.executor.submitted] == ["large"]


def test_long_write_is_not_sent_to_a_server_that_hangs(line):
    """The store pings the server first. Without an answer, the write waits for the next try."""
    slow = line()
    slow.store.add_jobs([large_job()])
    slow.store._connection.writing.note_timeout(2 * SIZE)
    slow.proxy.fail("ping", "hang", 100)
    slow.commands.names.clear()
    for due in slow.store.get_due_jobs(at(1000)):
        slow.store.remove_job(due.id)
    with pytest.raises(PyMongoError):
        slow.store._write_behind.flush()
    assert "delete" not in slow.commands.names
    assert slow.store.status().pending == 1
    slow.proxy.release()
    slow.store._write_behind.flush()
    assert len(slow.store) == 0
