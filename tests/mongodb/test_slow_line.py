"""Over a slow line, batches of large jobs shrink until a command is fast enough.

In these tests a command may take one second. The line carries 500 kB in a second, and the due jobs
have 640 kB.
"""

import os

import pytest
from pymongo.errors import PyMongoError

from jobstore import ConflictingIdError
from jobstore.mongodb import connection, readers
from jobstore.mongodb.mirroring import change_stream, loading
from support.jobs import YEARS, at, job, names, run_times
from support.manual_scheduler import by_hand
from support.mirrored_stores import is_quiet, mirrored, wait_until_live
from support.shared_stores import ids
from support.slow_line import lines
from support.waiting import until

RATE = 500_000
LARGE = [f"large {number:02}" for number in range(16)]
SIZE = 40_000


@pytest.fixture
def line(server, database, monkeypatch):
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 1.0)
    for module in (readers, loading, change_stream):
        monkeypatch.setattr(module, "START_SECONDS", 1.0)
    with lines(server, database) as line:
        yield line


def large_jobs(**options):
    return [
        job(name, place, args=[os.urandom(SIZE)], **options) for place, name in enumerate(LARGE)
    ]


def cycles_until(scheduler, done):
    """Run cycles until `done()` is true, and return the submitted ids of each cycle."""
    cycles = []
    submitted = scheduler.executor.submitted

    def cycle():
        before = len(submitted)
        scheduler._process_jobs()
        cycles.append([job_id for job_id, _ in submitted[before:]])
        return done()

    until(cycle)
    return cycles


@pytest.mark.parametrize("options", [{}, {"shared": True}], ids=["queried", "shared"])
def test_large_jobs_that_exceed_one_command_together_run_once(line, options):
    slow = line(**options)
    slow.store.add_jobs([*large_jobs(), job("small", 1000)])
    scheduler = by_hand(slow.store)
    slow.proxy.rate = RATE
    cycles = cycles_until(scheduler, lambda: len(scheduler.executor.submitted) > len(LARGE))
    submitted = [name for cycle in cycles for name in cycle]
    assert sorted(submitted) == [*LARGE, "small"]
    first = next(cycle for cycle in cycles if cycle)
    assert first[-1] == "small", "it need not wait for large jobs that are due before it"
    assert first[:-1] == LARGE[: len(first) - 1]
    until(
        lambda: (
            not slow.store._write_behind.has_pending or slow.store._write_behind.flush_if_possible()
        )
    )
    assert min(run_times(slow.store).values()) >= at(YEARS).timestamp()


def test_bulk_calls_work_with_ids_that_exceed_one_command_together(store):
    """9,000 ids of 2,000 characters have more than the 16 MiB of a command."""
    jobs = [job(f"{'x' * 2000}{number}", None) for number in range(9000)]
    store._hand_out._batch_size = len(jobs)
    store.add_jobs(jobs)
    assert len(store.get_all_jobs()) == len(jobs)
    store.update_jobs(jobs)
    store.remove_jobs([each.id for each in jobs[:100]])
    store.remove_all_jobs()
    assert len(store) == 0


def test_cycle_writes_jobs_with_ids_that_exceed_one_statement_together(store):
    """A state also contains the id. So 40 ids of 200 kB make 32 MB in one statement."""
    store.add_jobs([job(f"{'x' * 200_000}{number}") for number in range(40)])
    scheduler = by_hand(store)
    scheduler._process_jobs()
    assert len(scheduler.executor.submitted) == 40
    assert not store._write_behind.has_pending
    assert min(run_times(store).values()) >= at(YEARS).timestamp()


def test_mirror_is_filled_and_jobs_are_listed_over_a_slow_line(line, database):
    slow = line(mirror=True)
    slow.store.add_jobs(large_jobs())
    slow.proxy.rate = RATE
    by_hand(slow.store)
    wait_until_live(slow.store)
    assert mirrored(slow.store).keys() == {*LARGE}
    queried = line()
    queried.proxy.rate = RATE
    assert ids(queried.store.get_all_jobs()) == LARGE


def test_mirror_has_written_all_after_a_cycle_of_large_jobs(line):
    """The flush is sent in parts, and the stream shows every write."""
    slow = line(mirror=True)
    slow.store.add_jobs(large_jobs())
    scheduler = by_hand(slow.store)
    wait_until_live(slow.store)
    slow.proxy.rate = RATE
    scheduler._process_jobs()
    assert len(scheduler.executor.submitted) == len(LARGE), "a mirror reads no jobs over the line"
    until(lambda: is_quiet(slow.store))
    assert slow.store.status().connected
    assert min(run_times(slow.store).values()) >= at(YEARS).timestamp()
    assert len(scheduler.executor.submitted) == len(LARGE)


def test_large_jobs_are_added_changed_and_removed_over_a_slow_line(line):
    slow = line()
    slow.proxy.rate = RATE
    slow.store.add_jobs(large_jobs())
    assert names(slow.store) == LARGE
    slow.store.add_jobs(large_jobs(), replace_existing=True)
    slow.store.update_jobs(large_jobs(every=2 * YEARS))
    slow.store.remove_jobs(LARGE[1:])
    assert names(slow.store) == LARGE[:1]
    with pytest.raises(ConflictingIdError):
        slow.store.add_jobs([job(LARGE[0])])


def test_large_jobs_are_restored_from_quarantine_over_a_slow_line(line):
    slow = line()
    slow.store.add_jobs(large_jobs())
    times = run_times(slow.store)
    mark = {"reason": "a module is missing", "next_run_time": "$next_run_time", "since": "$$NOW"}
    slow.store.collection.update_many({}, [{"$set": {"quarantine": mark, "next_run_time": None}}])
    slow.proxy.rate = RATE
    assert sorted(slow.store.restore_quarantined(LARGE[:1])) == LARGE[:1]
    assert sorted(slow.store.restore_quarantined()) == LARGE[1:]
    assert run_times(slow.store) == times


def test_outage_does_not_make_batches_smaller(line):
    slow = line()
    slow.store.add_jobs(large_jobs())
    slow.proxy.fail("find", "hang", 100)
    with pytest.raises(PyMongoError):
        slow.store.get_due_jobs(at(1000))
    with pytest.raises(PyMongoError):
        slow.store.get_all_jobs()
    slow.proxy.release()
    slow.commands.names.clear()
    assert len(slow.store.get_due_jobs(at(1000))) == len(LARGE)
    assert slow.commands.names == ["find"]


def test_insert_without_an_answer_raises_no_conflict(line):
    slow = line()
    slow.proxy.fail("insert", "hang")
    slow.store.add_jobs(large_jobs())
    assert names(slow.store) == LARGE


def test_cycle_takes_two_reads_and_a_write_once_the_line_is_fast_again(line):
    slow = line()
    slow.store.add_jobs(large_jobs())
    scheduler = by_hand(slow.store)
    slow.proxy.rate = RATE
    scheduler._process_jobs()
    slow.proxy.rate = 0.0

    def commands_of_a_cycle():
        due = {"$set": {"next_run_time": at(0).timestamp()}}
        slow.store.collection.update_many({}, due)
        slow.commands.names.clear()
        scheduler._process_jobs()
        return slow.commands.names

    until(lambda: commands_of_a_cycle() == ["find", "update", "find"])
