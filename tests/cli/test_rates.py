"""Rates and lateness come from two presences of each scheduler, whatever these documents hold."""

from datetime import datetime, timedelta, timezone
from math import inf

import pytest

from jobstore.cli.rates import Rate, Rates
from jobstore.mongodb.counters import LATENESS, Histogram
from jobstore.mongodb.presence.scheduler import Scheduler

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def seen(seconds, fired=0, late=(), name="web-1", lives=True):
    """Return the scheduler as its presence of that second tells it."""
    time = START + timedelta(seconds=seconds)
    histogram = Histogram(LATENESS)
    for each in late:
        histogram.observe(each)
    return Scheduler.of(
        {
            "_id": f"scheduler:{name}:1:0",
            "seen": time,
            "expires": time + timedelta(seconds=30 if lives else -1),
            "counters": {"fired": fired, "lateness": histogram.counts},
        },
        time,
    )


def rates_of(*readings):
    """Return the rates after several readings of all schedulers."""
    rates = Rates()
    for reading in readings:
        rates = rates.updated(reading)
    return rates


def test_first_presence_has_no_rate():
    rates = rates_of([seen(0, 100, [0.1])])
    assert rates.total == Rate() == rates.of(seen(0, 100))
    assert rates.total.lateness(0.5) is None


def test_rate_is_that_between_two_presences_however_often_they_are_read():
    first, second = seen(0, 100), seen(5, 150)
    rates = rates_of([first], [first], [second], [second], [second])
    assert rates.of(second).jobs == 10


def test_lateness_is_that_of_the_jobs_between_two_presences():
    first, second = seen(0, 1, [3000]), seen(5, 101, [3000, *[0.004] * 98, 0.3, 0.3])
    rate = rates_of([first], [second]).of(second)
    assert (rate.lateness(0.5), rate.lateness(0.98), rate.lateness(0.99)) == (0.005, 0.005, 0.5)


def test_lateness_over_the_last_bound_is_infinite():
    rate = rates_of([seen(0)], [seen(5, 1, [5000])]).total
    assert rate.lateness(0.99) == inf


def test_total_is_the_sum_of_the_living_schedulers():
    before = [seen(0, 0, name="a"), seen(0, 0, name="b"), seen(0, 0, name="c")]
    after = [seen(5, 50, [1] * 50, "a"), seen(10, 50, [0.001] * 50, "b"), seen(0, 0, name="new")]
    total = rates_of(before, [*after, seen(5, 5000, [9], "c", lives=False)]).total
    assert total.jobs == 15
    assert sum(total.late) == 100
    assert (total.lateness(0.5), total.lateness(0.51)) == (0.005, 1)


def test_scheduler_that_is_gone_is_forgotten():
    rates = rates_of([seen(0, 0)], [seen(5, 50)], [], [seen(10, 100)])
    assert rates.total == Rate()


@pytest.mark.parametrize(
    "counters",
    [
        {},
        {"fired": "many", "lateness": "late"},
        {"fired": True, "lateness": [True] * 16},
        {"fired": float("nan"), "lateness": [float("inf")] * 16},
        {"fired": -5, "lateness": [-1] * 16},
        {"fired": 10**30, "lateness": [1, 2]},
        {"fired": [1], "lateness": [{}] * 16},
    ],
    ids=repr,
)
def test_nonsense_counts_as_nothing(counters):
    good = seen(0, 3, [1.0])
    bad = seen(5)._replace(counters=counters)
    for readings in ([[good], [bad]], [[bad._replace(seen=START)], [seen(5, 3, [1.0])]]):
        total = rates_of(*readings).total
        assert total.jobs is None or total.jobs >= 0
        assert total.lateness(0.99) in (None, 1.0)


def test_counter_that_went_back_has_no_rate():
    assert rates_of([seen(0, 10)], [seen(5, 3)]).total == Rate()


def test_presence_without_a_time_has_no_rate():
    nameless = seen(5, 9)._replace(seen=None)
    assert rates_of([seen(0, 3)], [nameless]).total == Rate()
