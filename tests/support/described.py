"""Jobs of every kind of trigger and argument, and their states, to be described."""

import pickle
from datetime import datetime, timedelta, timezone

from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobstore.describe import describe
from support.states import make_job, zones_of_triggers

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
RUN_TIME = datetime(2030, 6, 1, 12, 30, tzinfo=timezone.utc)
EXPRESSIONS = {
    "all": {"minute": "*"},
    "steps": {"minute": "*/5", "hour": "*/2"},
    "a number": {"hour": 8},
    "a range": {"hour": "8-18"},
    "a range with steps": {"hour": "8-18/3"},
    "a range without an end": {"second": "10/7"},
    "a list": {"hour": "1,3,5-7,*/4", "minute": "0,30"},
    "weekdays": {"day_of_week": "mon-fri"},
    "a weekday": {"day_of_week": "sun,sat"},
    "numbers of weekdays": {"day_of_week": "0-4"},
    "a month": {"month": "jan-mar,dec"},
    "a position of a weekday": {"day": "1st mon,last fri,3rd sun"},
    "the last day": {"day": "last"},
    "a list of days": {"day": "1,15,last"},
    "weeks": {"week": "*/2"},
    "a year": {"year": "2030-2040"},
    "everything": {
        "year": "*",
        "month": "*/2",
        "day": "1-7",
        "week": "1-53",
        "day_of_week": "mon",
        "hour": "0",
        "minute": "1",
        "second": "*/30",
    },
}


def triggers(zone):
    """Return triggers of every kind in a zone."""
    cron = CronTrigger(minute="*/5", timezone=zone)
    interval = IntervalTrigger(days=3, hours=4, minutes=5, seconds=6, timezone=zone)
    every = {
        **{
            f"cron of {name}": CronTrigger(**fields, timezone=zone)
            for name, fields in EXPRESSIONS.items()
        },
        "cron with dates and jitter": CronTrigger(
            hour=1,
            timezone=zone,
            start_date=datetime(2026, 1, 1),
            end_date=datetime(2099, 1, 1),
            jitter=5,
        ),
        "cron of a crontab": CronTrigger.from_crontab("0 8 1-15 may-aug mon-fri", zone),
        "interval": interval,
        "a short interval": IntervalTrigger(seconds=0.5, timezone=zone),
        "an interval of weeks": IntervalTrigger(weeks=1, timezone=zone, jitter=3),
        "an interval with dates": IntervalTrigger(
            1, start_date=datetime(2026, 1, 1), end_date=datetime(2099, 1, 1), timezone=zone
        ),
        "a date": DateTrigger(datetime(2030, 1, 1, 5, 6, 7, 89), zone),
        "a date in summer": DateTrigger(datetime(2030, 7, 1), zone),
        "a date long ago": DateTrigger(datetime(1850, 1, 1), zone),
        "and": AndTrigger([cron, interval], jitter=3),
        "or": OrTrigger([cron, interval]),
        "or of one": OrTrigger([cron]),
        "and of or of and": AndTrigger([OrTrigger([AndTrigger([cron]), interval]), cron]),
    }
    try:
        from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
    except ImportError:  # before 3.11
        return every
    return {
        **every,
        "calendarinterval": CalendarIntervalTrigger(weeks=2, hour=3, timezone=zone),
        "calendarinterval of all": CalendarIntervalTrigger(
            years=1,
            months=2,
            days=3,
            minute=5,
            second=6,
            start_date="2026-01-01",
            end_date="2099-01-01",
            timezone=zone,
            jitter=7,
        ),
    }


TRIGGERS = {
    f"{name}, {zone!r}": trigger
    for zone in zones_of_triggers()
    for name, trigger in triggers(zone).items()
}


def described(job, protocol=5, **fields):
    """Describe the document of a job."""
    state = pickle.dumps(job.__getstate__(), protocol)
    return describe({"_id": job.id, "next_run_time": None, "job_state": state, **fields})


def described_arguments(*args, protocol=5, **kwargs):
    """Return the texts of a job's arguments, which must be readable."""
    info = described(make_job(ONE_HOUR, RUN_TIME, args=args, kwargs=kwargs), protocol)
    assert info.unreadable is None, info.unreadable
    return info.args, info.kwargs


ONE_HOUR = IntervalTrigger(hours=1, timezone=timezone.utc)
A_DAY = timedelta(days=1)
