"""`CronTrigger.get_next_fire_time` against the stock trigger's, by kind of expression."""

from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.cron import CronTrigger as StockCronTrigger
from measure import Variant

from jobstore.triggers import CronTrigger

UTC = timezone.utc
EXPRESSIONS: dict[str, dict[str, Any]] = {
    "*/5 8-18 * * mon-fri": {"minute": "*/5", "hour": "8-18", "day_of_week": "mon-fri"},
    "each minute": {"minute": "*"},
    "second */10": {"second": "*/10"},
    "hourly": {"hour": "*"},
    "daily, 03:30": {"hour": 3, "minute": 30},
    "weekly, mon": {"day_of_week": "mon"},
    "monthly, 1st": {"day": 1},
    "last day, 12:00": {"day": "last", "hour": 12},
    "2nd tue, 09:00": {"day": "2nd tue", "hour": 9},
    "hours 1,5,9,13,22": {"hour": "1,5,9,13,22", "minute": 15},
    "quarterly": {"month": "*/3", "day": 1},
    "yearly": {"month": 7, "day": 1},
    "week 10-20,40, sun": {"week": "10-20,40", "day_of_week": "sun"},
}
CALLS = 200
START = datetime(2026, 1, 1, tzinfo=UTC)


def questions(trigger: Any) -> list[tuple[datetime, datetime]]:
    """Run times one after the other, and now: 2 ms later, as in a scheduler's cycle."""
    asked, now = [], START
    time = trigger.get_next_fire_time(None, now)
    for _ in range(CALLS):
        now = (time.astimezone(UTC) + timedelta(milliseconds=2)).astimezone(time.tzinfo)
        asked.append((time, now))
        time = trigger.get_next_fire_time(time, now)
    return asked


def fresh(zone: str) -> tzinfo:
    """Make a zone anew: `ours` keeps answers of zones, and must not know those of another round."""
    return UTC if zone == "UTC" else ZoneInfo.no_cache(zone)


@pytest.mark.check
@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_next_fire_time(measure: Any, report: Any, zone: str, expression: str) -> None:
    both = {"stock": StockCronTrigger, "ours": CronTrigger}
    triggers = {
        name: cls(timezone=fresh(zone), **EXPRESSIONS[expression]) for name, cls in both.items()
    }
    for trigger in triggers.values():
        trigger.timezone = fresh(zone)
    before = [questions(trigger) for trigger in triggers.values()]
    assert before[0] == before[1]
    asked: list[tuple[datetime, datetime]] = []

    def prepare() -> None:
        now = fresh(zone)
        asked[:] = [
            (time.replace(tzinfo=now), later.replace(tzinfo=now)) for time, later in before[0]
        ]
        for trigger in triggers.values():
            trigger.timezone = now

    def variant(trigger: Any) -> Variant:
        def run() -> None:
            for previous, now in asked:
                trigger.get_next_fire_time(previous, now)

        return Variant(run, CALLS)

    times = measure(*map(variant, triggers.values()), rounds=21, prepare=prepare)
    report(
        f"Next time of a cron trigger, {zone}: times faster than stock",
        expression,
        dict(zip(triggers, times, strict=True)),
        "stock / ours",
        target=15,
    )
