"""Stores that catch up with overdue jobs at their start."""

from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.triggers.interval import IntervalTrigger
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from support.commands import Commands
from support.jobs import job
from support.manual_scheduler import by_hand
from support.mirrored_stores import documents
from support.restarts import MODES

__all__ = [
    "ACTING",
    "EVERY_MODE",
    "HOUR",
    "ago",
    "document_of",
    "due",
    "now",
    "start_on",
    "summary_lines",
]

ACTING = ["skip", "spread:600", "hold"]
HOUR = 3600

EVERY_MODE = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


def now():
    return datetime.now(timezone.utc)


def ago(seconds):
    return now() - timedelta(seconds=seconds)


def due(name, run_time, trigger=None, **options):
    """Make a job that is due at a time, hourly from then on if it has no other trigger."""
    trigger = trigger or IntervalTrigger(hours=1, start_date=run_time, timezone="UTC")
    return job(name, trigger=trigger, next_run_time=run_time, **options)


def summary_lines(caplog):
    """Return the log lines that sum up a start; they are warnings, which are shown by default."""
    lines = [record for record in caplog.records if record.getMessage().startswith("catch_up=")]
    assert all(record.levelname == "WARNING" for record in lines)
    return [record.getMessage() for record in lines]


@pytest.fixture
def start_on(server, database):
    """Return a function that starts a manual scheduler on a store with these options.

    The jobs are those of a store that was not started. A store has its client's `commands`.
    """
    stores, clients = [], []

    def start_on(catch_up, uri=server.uri, jobs=(), **options):
        commands = Commands()
        clients.append(MongoClient(uri, event_listeners=[commands]))
        options = {"watch": False, **options}
        store = MongoDBJobStore(database.name, client=clients[-1], catch_up=catch_up, **options)
        stores.append(store)
        store.commands = commands
        if jobs:
            store.add_jobs(jobs)
            commands.names.clear()
        return by_hand(store), store

    yield start_on
    for store in stores:
        store.shutdown()
    for client in clients:
        client.close()


def document_of(store, job_id):
    """Return the document of a job, None if there is none."""
    return documents(store).get(job_id)
