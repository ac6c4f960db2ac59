"""Real jobs, and what the documents of a store hold of them."""

from datetime import datetime, timedelta, timezone

from apscheduler.job import Job
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from support.manual_scheduler import BY_HAND

START = datetime(2020, 1, 1, tzinfo=timezone.utc)
YEARS = 10 * 365 * 86400  # seconds: one run is due, and the next is far


def at(seconds):
    return START + timedelta(seconds=seconds)


def note(*args, **kwargs):
    """What jobs do."""


def job(name, seconds=0, *, every=YEARS, args=(), scheduler=None, **options):
    """A job due so many seconds after START, or paused; it ends where `every` is None."""
    run_time = None if seconds is None else at(seconds)
    trigger = (
        DateTrigger(run_time or START, "UTC")
        if every is None
        else IntervalTrigger(seconds=every, start_date=at(seconds or 0), timezone="UTC")
    )
    defaults = {
        "func": note,
        "trigger": trigger,
        "executor": "default",
        "args": args,
        "kwargs": {},
        "name": name,
        "misfire_grace_time": None,
        "coalesce": True,
        "max_instances": 1,
        "next_run_time": run_time,
    }
    return Job(scheduler or BY_HAND, id=name, **{**defaults, **options})


def names(store):
    """The ids of all documents."""
    return sorted(document["_id"] for document in store.collection.find())


def run_times(store):
    """The run times of all documents, by id."""
    return {document["_id"]: document["next_run_time"] for document in store.collection.find()}
