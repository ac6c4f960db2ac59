"""Large jobs over a slow line: batches become as small as the line needs, and jobs run on.

A command may take a second here. The line carries 500 kB in that time, the due jobs are 640 kB.
"""

import os

import pytest
from mongo import YEARS, Commands, at, by_hand, job, run_times, until
from proxy import Proxy
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection

RATE = 500_000
LARGE = [f"large {number:02}" for number in range(16)]
SIZE = 40_000


class Line:
    """A store behind a slow line, and its commands."""

    def __init__(self, server, database, **options):
        self.proxy = Proxy(server.nodes[0].port)
        self.commands = Commands()
        self.client = MongoClient(self.proxy.uri, event_listeners=[self.commands])
        self.store = MongoDBJobStore(database.name, client=self.client, **options)

    def close(self):
        self.proxy.rate = 0.0
        self.store.shutdown()
        self.client.close()
        self.proxy.close()


@pytest.fixture
def line(server, database, monkeypatch):
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 1.0)
    lines = []

    def line(**options):
        lines.append(Line(server, database, **options))
        return lines[-1]

    yield line
    for each in lines:
        each.close()


def large_jobs(**options):
    return [
        job(name, place, args=[os.urandom(SIZE)], **options) for place, name in enumerate(LARGE)
    ]


def cycles_until(scheduler, done):
    """Run cycles until it is so; return which jobs were submitted in each."""
    cycles = []
    submitted = scheduler.executor.submitted

    def cycle():
        before = len(submitted)
        scheduler._process_jobs()
        cycles.append([job_id for job_id, _ in submitted[before:]])
        return done()

    until(cycle, 60)
    return cycles


@pytest.mark.parametrize("options", [{}, {"shared": True}], ids=["queried", "shared"])
def test_large_jobs_that_no_command_can_carry_together_run_once(line, options):
    slow = line(**options)
    slow.store.add_jobs([*large_jobs(), job("small", 1000)])
    scheduler = by_hand(slow.store)
    slow.proxy.rate = RATE
    cycles = cycles_until(scheduler, lambda: len(scheduler.executor.submitted) > len(LARGE))
    submitted = [name for cycle in cycles for name in cycle]
    assert sorted(submitted) == [*LARGE, "small"]
    first = next(cycle for cycle in cycles if cycle)
    assert first[-1] == "small", "it need not wait for the large ones that are due before it"
    assert first[:-1] == LARGE[: len(first) - 1]
    until(lambda: not slow.store._deferred.waits or slow.store._deferred.flush_if_possible())
    assert min(run_times(slow.store).values()) >= at(YEARS).timestamp()


def test_ids_longer_than_a_command_can_name_together_are_added_listed_updated_and_removed(store):
    """12,000 ids of 2,000 characters are more than the 16 MiB of a command."""
    jobs = [job(f"{'x' * 2000}{number}", None) for number in range(9000)]
    store._batch_size = len(jobs)
    store.add_jobs(jobs)
    assert len(store.get_all_jobs()) == len(jobs)
    store.update_jobs(jobs)
    store.remove_jobs([each.id for each in jobs[:100]])
    store.remove_all_jobs()
    assert len(store) == 0
