"""Writes the states in `written/`, with the APScheduler that is installed: its stock parts alone.

    python tests/states/write_states.py

Once with the oldest supported APScheduler, once with the newest.
"""

import base64
import json
import pickle
import sys
import zlib
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

import pytz
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

FOLDER = Path(__file__).with_name("written")
BERLIN = ZoneInfo("Europe/Berlin")
KINDS = [
    ("utc", timezone.utc, 5),
    ("offset", timezone(timedelta(hours=2)), 5),
    ("zoneinfo", BERLIN, 5),
    ("pytz", pytz.timezone("Europe/Berlin"), 5),
    *(("zoneinfo", BERLIN, protocol) for protocol in (0, 3, 4)),
]


def triggers(zone):
    cron = CronTrigger(minute="*/5", hour="8-18", timezone=zone)
    interval = IntervalTrigger(minutes=5, timezone=zone)
    dated = CronTrigger(
        day="last", timezone=zone, start_date=datetime(2026, 1, 1), end_date=datetime(2099, 1, 1)
    )
    every = {
        "interval": interval,
        "cron": cron,
        "cron with dates": dated,
        "date": DateTrigger(datetime(2030, 1, 1), zone),
        "or": OrTrigger([cron, interval]),
        "and": AndTrigger([cron, CronTrigger(minute="*/10", timezone=zone)], jitter=3),
    }
    try:
        from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
    except ImportError:  # before 3.11
        return every
    return {**every, "calendarinterval": CalendarIntervalTrigger(weeks=2, timezone=zone)}


def states():
    scheduler = BackgroundScheduler(timezone=timezone.utc)
    scheduler.start(paused=True)
    for kind, zone, protocol in KINDS:
        for name, trigger in triggers(zone).items():
            job_id = f"{name}, {kind}, protocol {protocol}"
            job = scheduler.add_job(
                "builtins:print", trigger, ["an argument", 1], {"end": "!"}, id=job_id
            )
            yield job_id, pickle.dumps(job.__getstate__(), protocol)
    scheduler.shutdown()


def read():
    """Return the kept states that the installed APScheduler has the classes for."""
    has_all = find_spec("apscheduler.triggers.calendarinterval") is not None
    for path in sorted(FOLDER.iterdir()):
        for name, state in json.loads(path.read_text()).items():
            if "calendarinterval" in name and not has_all:
                continue
            yield f"{path.stem}: {name}", zlib.decompress(base64.b64decode(state))


def main():
    written = {name: base64.b64encode(zlib.compress(state, 9)).decode() for name, state in states()}
    path = FOLDER / f"{version('apscheduler')}.json"
    path.write_text(json.dumps(written, indent=0) + "\n")
    print(path, len(written), "states", file=sys.stderr)


if __name__ == "__main__":
    main()
