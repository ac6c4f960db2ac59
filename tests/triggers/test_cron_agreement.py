"""The compiled search for run times and its twin agree with the installed stock trigger."""

import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cron_cases import METHODS, Case, StockCronTrigger

stock_method = StockCronTrigger.get_next_fire_time


def compare(case, methods):
    """Compare several run times, one after the other; return how many."""
    compared = 0
    while compared < 4:
        expected = case.outcome(stock_method, case.stock)
        for method in methods:
            assert case.outcome(method, case.fast) == expected, case
        compared += 1
        time = expected[2]
        if time is None or time.year == 9999:
            break
        case.follow(time)
    return compared


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@settings(max_examples=1000)
@given(chance=st.randoms(use_true_random=False))
def test_results_and_errors_are_the_stock_trigger_s(method, chance):
    compare(Case(chance), [method])


@pytest.mark.slow
def test_many_random_triggers_have_the_stock_trigger_s_results():
    """`JOBSTORE_CRON_CASES` and `JOBSTORE_CRON_SEED` make it longer, and different."""
    chance = Random(int(os.environ.get("JOBSTORE_CRON_SEED", "1")))
    cases = int(os.environ.get("JOBSTORE_CRON_CASES", "4000"))
    compared = sum(compare(Case(chance), METHODS.values()) for _ in range(cases))
    print(f"{compared:,} run times compared")
    assert compared > cases
