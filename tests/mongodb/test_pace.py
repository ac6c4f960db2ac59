"""How many bytes a command may carry: pure, no database."""

import math
import time

import pytest

from jobstore.mongodb.slow_line import pace
from jobstore.mongodb.slow_line.pace import Answers, Pace, affordable, parts
from jobstore.mongodb.slow_line.paged import end_of_page


def never():
    raise AssertionError("there is nothing to learn")


def test_quick_commands_are_not_even_measured():
    pace = Pace()
    pace.took(0.9, 1.0, never)
    assert pace.budget == math.inf
    assert not pace.is_bounded


def test_a_command_that_takes_too_long_bounds_the_next_to_a_second():
    pace = Pace()
    pace.took(3.0, 1.0, lambda: 1_200_000)
    assert pace.budget == 400_000
    assert pace.is_bounded


def test_after_a_time_out_a_command_carries_an_eighth():
    pace = Pace()
    assert pace.timed_out(2_400_000)
    assert pace.budget == 300_000
    assert pace.timed_out(300_000)
    assert pace.budget == 37_500


def test_a_document_larger_than_the_budget_gets_twice_the_time_that_the_line_needs():
    pace = Pace()
    assert pace.patience(3_000_000) == 1
    pace.took(7.5, 1.0, lambda: 3_000_000)
    assert pace.patience(400_000) == 1
    assert pace.patience(3_000_000) == 3
    assert pace.patience(12_000_000) == 6, "30 s at most"


def test_a_time_out_of_a_longer_limit_tells_of_a_slower_line():
    pace = Pace()
    pace.timed_out(6_000_000)
    pace.timed_out(6_000_000, pace.patience(6_000_000))
    assert pace.budget == 6_000_000 / 8 / 3.2
    assert pace.patience(6_000_000) == 6


def test_a_time_out_of_a_small_command_says_nothing_of_the_line():
    pace = Pace()
    assert not pace.timed_out(10_000)
    pace.took(3.0, 1.0, lambda: 10_000)
    assert not pace.is_bounded


def test_quick_commands_double_the_budget_until_there_is_none():
    pace = Pace()
    pace.timed_out(2_400_000)
    pace.took(0.01, 1.0, lambda: 300_000)
    assert pace.budget == 600_000
    for _ in range(10):
        pace.took(0.01, 1.0, lambda: 300_000)
    assert not pace.is_bounded


def test_quick_commands_that_carry_little_prove_no_more_than_they_carry():
    pace = Pace()
    pace.timed_out(2_400_000)
    for _ in range(10):
        pace.took(0.01, 1.0, lambda: 4_000)
    assert pace.budget == 400_000


def after_a_minute(monkeypatch):
    later = time.monotonic() + 61
    monkeypatch.setattr(pace.time, "monotonic", lambda: later)


def test_a_bound_that_one_stall_has_set_ends_after_a_quiet_minute(monkeypatch):
    stalled = Pace()
    stalled.took(1.5, 1.0, lambda: 60_000)
    stalled.took(0.01, 1.0, lambda: 300)
    assert stalled.budget == 40_000
    after_a_minute(monkeypatch)
    stalled.took(0.01, 1.0, lambda: 300)
    assert not stalled.is_bounded


def test_a_bound_that_a_time_out_has_set_stays_until_commands_disprove_it(monkeypatch):
    slow = Pace()
    slow.timed_out(800_000)
    after_a_minute(monkeypatch)
    slow.took(0.01, 1.0, lambda: 300)
    assert slow.budget == 100_000


def test_it_never_comes_below_what_a_command_takes_anyway():
    pace = Pace()
    while pace.timed_out():
        pass
    assert pace.budget == 16_000
    assert pace.count == 40


def test_the_first_that_fit_are_taken_and_small_ones_behind_them():
    assert affordable([40, 40, 40], math.inf) == (3, [])
    assert affordable([400_000, 1], 100_000) == (1, [1])
    sizes = [40_000, 40_000, 40_000, 900, 40_000, 900]
    assert affordable(sizes, 100_000) == (2, [3, 5])
    assert affordable([], 100_000) == (0, [])


def test_small_ones_take_half_of_the_budget_at_most():
    first, small = affordable([90_000, 90_000, *[1_000] * 100], 100_000)
    assert first == 1
    assert len(small) == 50


def test_parts_are_in_order_and_what_is_too_large_is_alone():
    assert list(parts([1, 2, 9, 3, 3], int, 6)) == [[1, 2], [9], [3, 3]]
    assert list(parts([], int, 6)) == []
    assert list(parts([1, 2, 9], int, math.inf)) == [[1, 2, 9]]


def test_answers_of_a_stream_become_smaller_after_time_outs_and_grow_when_it_is_quiet(monkeypatch):
    answers = Answers()
    assert answers.max_events is None
    assert not answers.may_grow()
    sizes = []
    for _ in range(4):
        answers.timed_out()
        sizes.append(answers.max_events)
    assert sizes == [125, 15, 1, 1]
    assert not answers.may_grow(), "not soon after a time-out"
    assert answers.patience == 6, "one event can't become smaller"
    monkeypatch.setattr(pace, "GROW_SECONDS", 0.0)
    while answers.max_events:
        assert answers.may_grow()
        assert answers.patience == 1
    assert not answers.may_grow()


DOCUMENTS = [{"_id": name, "size": 10} for name in ["a", "b", "c\ufffd", "d"]]


@pytest.mark.parametrize(
    ("budget", "is_last", "end"),
    [(5, False, 1), (20, False, 1), (30, False, 3), (99, False, 3), (99, True, 4), (29, True, 1)],
)
def test_a_page_ends_before_an_id_that_can_be_named(budget, is_last, end):
    assert end_of_page(DOCUMENTS, budget, is_last) == end


def test_a_page_of_ids_that_can_not_be_named_is_read_whole():
    documents = [{"_id": "\ufffd", "size": 10}] * 3
    assert end_of_page(documents, 5, is_last=True) == 3
    assert end_of_page([], 5, is_last=True) == 0
