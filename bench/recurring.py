"""Recurring jobs that come back: the schedulers' clock moves on by the jobs' period in each round.

The other variants write new documents before each round, so their stores never read a state that
they wrote themselves.
"""

import time
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.job import Job
from apscheduler.schedulers import base
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from mirror_variants import wait_for
from mongodb_variants import CycleVariant, PlainCycle, make_document, make_job
from shared_variants import BareCommands

__all__ = [
    "ZONES",
    "BareRecurring",
    "Clock",
    "MemoryRecurring",
    "MirrorRecurring",
    "PlainRecurring",
    "RecurringVariant",
    "due_jobs",
]

ZONES = {"UTC": timezone.utc, "ZoneInfo": ZoneInfo("Europe/Berlin")}
CRON = "*/5 8-18 * * mon-fri"
FIRST = datetime(2030, 1, 7, 8)  # a Monday: the jobs' first run time, in their zone
PERIOD = timedelta(minutes=5)
MAX_ROUNDS = 130  # then the cron jobs rest until the next morning
DELAY = timedelta(seconds=1)  # of each cycle, after the jobs' run time


class Clock:
    """The time of all schedulers in one comparison.

    The server's clock stays real. Only leases depend on it.

    :param monkeypatch: pytest's fixture, which restores the schedulers' own clock.
    """

    def __init__(self, monkeypatch: Any, zone: tzinfo) -> None:
        self.zone = zone
        self.now = (FIRST - PERIOD).replace(tzinfo=zone) + DELAY
        self._rounds = 0
        clock = self

        class Datetime(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return clock.now.astimezone(tz)

        monkeypatch.setattr(base, "datetime", Datetime)

    def advance(self) -> None:
        """Move on to the next run time of all jobs; called once a round."""
        assert self._rounds < MAX_ROUNDS
        self._rounds += 1
        self.now += PERIOD

    def times(self) -> tuple[float, datetime]:
        """Return the present time, and the run time after it."""
        return self.now.timestamp(), self.now - DELAY + PERIOD


def due_jobs(kind: str, zone: tzinfo, count: int) -> list[Job]:
    """Make jobs that are due in the first round, each with a trigger of its own."""
    first = FIRST.replace(tzinfo=zone)
    return [make_job(i, first, make_trigger(kind, zone)) for i in range(count)]


def make_trigger(kind: str, zone: tzinfo) -> BaseTrigger:
    if kind == "cron":
        return CronTrigger.from_crontab(CRON, timezone=zone)
    return IntervalTrigger(minutes=5, start_date=FIRST, timezone=zone)


class RecurringVariant(CycleVariant):
    """A scheduler on a store with `due` jobs, which are all due again in each round.

    :ivar until_written: seconds from a cycle's start until the store has written all changes, by
        round.
    """

    def __init__(self, store: Any, kind: str, due: int, clock: Clock) -> None:
        self.clock = clock
        self.until_written: list[float] = []
        self.insert(store, due_jobs(kind, clock.zone, due))
        super().__init__(store, due, zone=clock.zone)

    def insert(self, store: Any, jobs: list[Job]) -> None:
        documents = [make_document(job) for job in jobs]
        store.collection.insert_many(documents, ordered=False)

    def make_due(self) -> None:
        self.seconds = 0.0
        self.began = time.perf_counter()

    def wait_until_written(self) -> None:
        pass

    def check(self) -> None:
        """Assert that no job was lost, and that none is due any more."""
        self.wait_until_written()
        self.until_written.append(time.perf_counter() - self.began)
        present, following = self.clock.times()
        count = self.store.collection.count_documents
        assert count({"next_run_time": {"$lte": present}}) == 0
        assert count({"next_run_time": following.timestamp()}) == self.due
        self.in_store.append(self.seconds)


class MirrorRecurring(RecurringVariant):
    """The same on a mirrored store. Its flush, and the events about it, end before the next round.

    They take no part of the time of the cycle, nor of another variant's.
    """

    def wait_until_written(self) -> None:
        wait_for(lambda: not self.store.status().pending)

    def check(self) -> None:
        super().check()
        wait_for(lambda: not self.store._reader.mirror._unconfirmed)


class MemoryRecurring(RecurringVariant):
    """A scheduler with the same jobs in a memory store."""

    def insert(self, store: Any, jobs: list[Job]) -> None:
        self.jobs = jobs
        store.add_jobs(jobs)

    def make_due(self) -> None:
        for job in self.jobs:  # APScheduler sets these when it adds a job
            job._scheduler, job._jobstore_alias = self.scheduler, "default"
        super().make_due()

    def check(self) -> None:
        assert self.store.get_next_run_time() == self.clock.times()[1]
        self.in_store.append(self.seconds)


class SameJobs:
    """Makes a rival's jobs come back in each round, by the schedulers' clock."""

    clock: Clock

    def insert(self, collection: Any, kind: str, due: int, clock: Clock) -> None:
        self.clock = clock
        jobs = due_jobs(kind, clock.zone, due)
        collection.insert_many([make_document(job) for job in jobs])

    def make_due(self) -> None:
        pass

    def times(self) -> tuple[float, datetime]:
        return self.clock.times()


class PlainRecurring(SameJobs, PlainCycle):
    """The plain way with the same jobs."""

    def __init__(self, collection: Any, kind: str, due: int, clock: Clock) -> None:
        super().__init__(collection, due)
        self.insert(self.collection, kind, due, clock)


class BareRecurring(SameJobs, BareCommands):
    """The bare commands of a shared store, with the same jobs."""

    def __init__(self, client: Any, kind: str, due: int, clock: Clock) -> None:
        super().__init__(client, due)
        self.insert(self.jobs, kind, due, clock)
