"""The checksum of a state holds while only the run time changes, and for no other change."""

import pickle
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from dateutil import tz

from jobstore.mongodb.about_field import crc_of
from support.jobs import job
from support.states import ZONES

UTC = timezone.utc
START = datetime(2030, 1, 1, tzinfo=UTC)


class OwnTrigger(BaseTrigger):
    """A trigger of a user, without a special way to be pickled."""

    def __init__(self):
        self.zone = UTC

    def get_next_fire_time(self, previous, now):
        return (previous or now) + timedelta(minutes=1)


TRIGGERS = {
    "cron": CronTrigger(minute="*/5", timezone="Europe/Berlin"),
    "interval": IntervalTrigger(seconds=5, start_date=START, timezone="UTC"),
    "date": DateTrigger(START, "UTC"),
    "or": OrTrigger(
        [CronTrigger(hour=5, timezone="UTC"), IntervalTrigger(hours=1, timezone="UTC")]
    ),
    "custom": OwnTrigger(),
}
SIZES = {"one frame": 0, "a large string": 70_000, "several frames": 200_000}
NAMED_ZONES = [zone for zone in ZONES if not isinstance(zone, tz.tzfile)]


def states(job, protocol, *run_times):
    """Pickle the state of a job with each of these run times."""
    pickled = []
    for run_time in run_times:
        job.next_run_time = run_time
        pickled.append(pickle.dumps(job.__getstate__(), protocol))
    return pickled


def crcs(*args):
    return {crc_of(state) for state in states(*args)}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("trigger", TRIGGERS.values(), ids=TRIGGERS)
@pytest.mark.parametrize("protocol", [4, 5])
def test_checksum_is_the_same_with_any_run_time_and_with_none(protocol, trigger, size):
    args = ("x" * size, list(range(size // 4)))
    following = trigger.get_next_fire_time(None, START)
    run_times = [following, following + timedelta(days=1), None]
    assert len(crcs(job("a", trigger=trigger, args=args), protocol, *run_times)) == 1


@pytest.mark.parametrize("zone", NAMED_ZONES, ids=str)
def test_checksum_is_the_same_where_only_the_run_time_has_the_zone(zone):
    there = START.astimezone(zone)
    assert len(crcs(job("a"), 5, there, START, None)) == 1


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
def test_of_older_protocols_it_covers_the_whole_state(protocol):
    assert len(crcs(job("a"), protocol, START, START + timedelta(days=1), None)) == 3


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "changes",
    [
        {"name": "another"},
        {"executor": "another"},
        {"args": (1,)},
        {"kwargs": {"a": 1}},
        {"max_instances": 2},
        {"trigger": IntervalTrigger(seconds=6, start_date=START, timezone="UTC")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_checksum_differs_after_any_other_change(changes, protocol):
    changed = job("a")
    before = crcs(changed, protocol, START)
    for name, value in changes.items():
        setattr(changed, name, value)
    assert crcs(changed, protocol, START).isdisjoint(before)


class Confusing(IntervalTrigger):
    """A trigger with an attribute that is named like the last item of a job's state."""

    def __getstate__(self):
        return {**super().__getstate__(), "next_run_time": START}


CONFUSING = {
    "kwargs": {"kwargs": {"next_run_time": START}},
    "kwargs, null": {"kwargs": {"next_run_time": None}},
    "kwargs, more": {"kwargs": {"max_instances": 1, "next_run_time": 5}},
    "args": {"args": ("next_run_time",)},
    "args with a time": {"args": ("next_run_time", START)},
    "a dict in args": {"args": ({"next_run_time": START},)},
    "trigger": {"trigger": Confusing(seconds=5, start_date=START, timezone="UTC")},
}


@pytest.mark.parametrize("options", CONFUSING.values(), ids=CONFUSING)
@pytest.mark.parametrize("run_time", [START, START + timedelta(days=1), None], ids=str)
@pytest.mark.parametrize("protocol", range(6))
def test_checksum_covers_the_name_where_the_key_of_the_run_time_occurs_earlier(
    protocol, run_time, options
):
    """The pickler writes the key only once, so the state does not end with it."""
    one, two = job("one", **options), job("one", **options)
    two.name = "two"
    assert crcs(one, protocol, run_time).isdisjoint(crcs(two, protocol, run_time))


@pytest.mark.parametrize("length", [0, 1, 2, 3, 11, 12, 100, 200])
def test_a_damaged_state_has_a_checksum_too(length):
    (state,) = states(job("a"), 5, START)
    assert isinstance(crc_of(state[:length]), int)
    assert isinstance(crc_of(state[length:]), int)
    assert isinstance(crc_of(state[:length] + b"\xff" * 9 + state[length:]), int)
