"""Real jobs, and the ids and run times in the documents of a store."""

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
    """Do nothing: the function of the jobs."""


def job(name, seconds=0, *, every=YEARS, args=(), scheduler=None, **options):
    """Make a job that is due `seconds` after START, or a paused job if `seconds` is None.

    :param every: the interval in seconds. With None the job runs once.
    """
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
    """Return the ids of all documents."""
    return sorted(document["_id"] for document in store.collection.find())


def run_times(store):
    """Return the run times of all documents by id."""
    return {document["_id"]: document["next_run_time"] for document in store.collection.find()}
