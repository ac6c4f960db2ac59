"""Evidence for `why` by hand: a job that runs each hour, and schedulers that fire it."""

from datetime import datetime, timedelta, timezone

from jobstore.describe import JobInfo
from jobstore.firing import FireTimes
from jobstore.mongodb.history.answer import ANSWERS, Evidence
from jobstore.mongodb.history.record import HistoryRecord
from jobstore.mongodb.history.why import decide
from jobstore.mongodb.presence.scheduler import Scheduler

NOON = datetime(2025, 11, 29, 12, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
ONE, OTHER = (f"scheduler:web-{n}:4711:6749a1b2c3d4e5f60123456{n}" for n in (1, 2))


def after(seconds):
    """Return a time so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def record(kind, seconds=0.5, run_time=NOON, /, *, by=ONE, job="report", **fields):
    """Return a record of the job, so many seconds after noon."""
    return HistoryRecord(job, kind, after(seconds), run_time, by=by, **fields)


def change(kind, seconds, **fields):
    return record(kind, seconds, None, **fields)


def incident(kind, seconds, until=None, by=ONE):
    """Return a record of a scheduler."""
    until = None if until is None else after(until)
    return HistoryRecord(None, kind, after(seconds), until=until, by=by)


def stored(next_run_time=NOON + HOUR, **fields):
    """Return the stored job, which has run at noon by default."""
    own = {"misfire_grace_time": 30, "coalesce": True, "max_instances": 2, "executor": "default"}
    info = JobInfo(
        id="report",
        name="report",
        func="reports:send",
        trigger="cron[minute='0']",
        args="()",
        kwargs="{}",
        next_run_time=next_run_time,
        paused=next_run_time is None and "quarantine" not in fields,
        **own,
    )
    return info._replace(**fields)


def scheduler(by=ONE, started=-7200, seen=1800, **fields):
    """Return a presence, alive half an hour after noon."""
    host = by.split(":")[1]
    own = {"mode": "queried", "others": "warn", "history": "all", "state": "firing"}
    own |= {"versions": {}, "alive": True}
    own |= {"executors": {"default": {"type": "pool", "workers": 10}}, "clock_ahead": 0.0}
    own |= {"expires": after(seen + 30), "counters": {}, "status": {}, "age": 0.0}
    own |= fields
    return Scheduler(id=by, host=host, pid=4711, started=after(started), seen=after(seen), **own)


def evidence(**fields):
    """Return the evidence half an hour after noon: the run of noon is over, and has no record."""
    own = {
        "job_id": "report",
        "at": NOON,
        "now": after(1800),
        "job": stored(),
        "times": FireTimes(NOON - HOUR, NOON),
        "schedulers": (scheduler(),),
        "begins": NOON - 24 * HOUR,
        "keeps_all": True,
    }
    return Evidence(**{**own, **fields})


def check(known, kind, *parts):
    """Check the answer's kind, and that its text has parts; return the answer."""
    answer = decide(known)
    assert answer.kind == kind, answer
    assert answer.kind in ANSWERS
    for part in parts:
        assert part in answer.text, answer
    assert bool(answer.source) == (kind not in ("unknown", "no such job"))
    return answer
