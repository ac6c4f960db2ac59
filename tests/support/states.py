"""Pickled states of jobs: both functions that advance them, and a strict comparison."""

import pickle
from datetime import datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytz
from apscheduler.job import Job
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron.expressions import AllExpression
from apscheduler.triggers.cron.fields import BaseField
from apscheduler.triggers.interval import IntervalTrigger
from dateutil import tz

from jobstore import _states_c, _states_py

UTC = timezone.utc
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    UTC,
    timezone(timedelta(hours=-9, minutes=-30)),
    timezone(timedelta(hours=1), "a name"),
    BERLIN,
    ZoneInfo("Australia/Lord_Howe"),
    pytz.utc,
    pytz.FixedOffset(90),
    pytz.timezone("Europe/Berlin"),
    tz.UTC,
    tz.tzoffset("a name", 3600),
    tz.gettz("Europe/Berlin"),
]


def zones_of_triggers():
    """Return the zones that triggers have: APScheduler converts some, and refuses others."""
    zones = []
    for zone in ZONES:
        try:
            converted = IntervalTrigger(minutes=1, timezone=zone).timezone
        except AttributeError:
            continue
        if converted not in zones:
            zones.append(converted)
    return zones


def work(*args, **kwargs):
    """Do nothing: the function of the jobs."""


def make_job(trigger, run_time, *, args=(), kwargs=None, **options):
    """Make a job as a scheduler does, with any run time."""
    job = Job.__new__(Job)
    state = {
        "id": "an id",
        "func": f"{__name__}:work",
        "trigger": trigger,
        "executor": "default",
        "args": args,
        "kwargs": kwargs or {},
        "name": "a name",
        "misfire_grace_time": 60,
        "coalesce": True,
        "max_instances": 1,
        "next_run_time": run_time,
    }
    job.__setstate__(state | options)
    return job


def restored(state):
    """Restore a job, as a store does."""
    job = Job.__new__(Job)
    job.__setstate__(pickle.loads(state))
    return job


def advance(state, old, new):
    """Call both twins, which must agree and leave the state as it was."""
    before = bytes(bytearray(state)) if isinstance(state, bytes) else None
    compiled, twin = (each.advance(state, old, new) for each in (_states_c, _states_py))
    assert compiled == twin
    assert type(compiled) is type(twin)
    assert before is None or before == state
    return compiled


def advance_rightly(state, old, new):
    """Advance a state. The result must unpickle as a pickle with the new run time does, or be None.

    :returns: whether it is not None.
    """
    advanced = advance(state, old, new)
    if advanced is None:
        return False
    assert type(advanced) is bytes
    protocol = state[1]
    content = pickle.loads(state) | {"next_run_time": new}
    assert_same(pickle.loads(advanced), pickle.loads(pickle.dumps(content, protocol)))
    return True


def assert_same(a, b):
    """Compare with types, with folds, zones and the order of dicts, and within triggers."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert_same(list(a.items()), list(b.items()))
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for each, other in zip(a, b, strict=True):
            assert_same(each, other)
    elif isinstance(a, BaseTrigger):
        assert_same(a.__getstate__(), b.__getstate__())
    elif isinstance(a, (BaseField, AllExpression)):
        assert_same(vars(a), vars(b))
    elif isinstance(a, (datetime, time)):
        assert packed(a) == packed(b)
        assert a.tzinfo is b.tzinfo or (type(a.tzinfo) is type(b.tzinfo) and a.tzinfo == b.tzinfo)
    elif isinstance(a, (float, complex)):
        assert repr(a) == repr(b)  # nan, and -0.0
    else:
        assert a == b


def packed(moment):
    """Return the bytes in a pickle, with the fold; damaged ones may be no valid time."""
    return moment.__reduce_ex__(4)[1][0]
