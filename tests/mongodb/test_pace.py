"""A command may carry as many bytes as the line needs. These tests use no database."""

import math
import time

import pytest

from jobstore.mongodb.slow_line import pace
from jobstore.mongodb.slow_line.pace import EventLimit, Pace, affordable, split_by_bytes
from jobstore.mongodb.slow_line.paged import end_of_page


def never():
    raise AssertionError("the size of a fast command is not needed")


def test_fast_commands_are_not_measured():
    pace = Pace()
    pace.note_duration(0.9, 1.0, never)
    assert pace.budget == math.inf
    assert not pace.is_bounded


def test_slow_command_bounds_the_next_one_to_a_second():
    pace = Pace()
    pace.note_duration(3.0, 1.0, lambda: 1_200_000)
    assert pace.budget == 400_000
    assert pace.is_bounded


def test_command_after_a_time_out_carries_an_eighth():
    pace = Pace()
    assert pace.note_timeout(2_400_000)
    assert pace.budget == 300_000
    assert pace.note_timeout(300_000)
    assert pace.budget == 37_500


def test_document_larger_than_the_budget_gets_twice_the_time_that_it_needs():
    pace = Pace()
    assert pace.limit_factor(3_000_000) == 1
    pace.note_duration(7.5, 1.0, lambda: 3_000_000)
    assert pace.limit_factor(400_000) == 1
    assert pace.limit_factor(3_000_000) == 3
    assert pace.limit_factor(12_000_000) == 6, "30 s at most"


def test_time_out_of_a_longer_limit_lowers_the_budget_further():
    pace = Pace()
    pace.note_timeout(6_000_000)
    pace.note_timeout(6_000_000, pace.limit_factor(6_000_000))
    assert pace.budget == 6_000_000 / 8 / 3.2
    assert pace.limit_factor(6_000_000) == 6


def test_time_out_of_a_small_command_sets_no_bound():
    pace = Pace()
    assert not pace.note_timeout(10_000)
    pace.note_duration(3.0, 1.0, lambda: 10_000)
    assert not pace.is_bounded


def test_fast_commands_double_the_budget_until_it_has_no_bound():
    pace = Pace()
    pace.note_timeout(2_400_000)
    pace.note_duration(0.01, 1.0, lambda: 300_000)
    assert pace.budget == 600_000
    for _ in range(10):
        pace.note_duration(0.01, 1.0, lambda: 300_000)
    assert not pace.is_bounded


def test_fast_small_commands_do_not_lift_the_bound():
    pace = Pace()
    pace.note_timeout(2_400_000)
    for _ in range(10):
        pace.note_duration(0.01, 1.0, lambda: 4_000)
    assert pace.budget == 400_000


def after_a_minute(monkeypatch):
    later = time.monotonic() + 61
    monkeypatch.setattr(pace.time, "monotonic", lambda: later)


def test_bound_set_by_a_stall_ends_after_a_quiet_minute(monkeypatch):
    stalled = Pace()
    stalled.note_duration(1.5, 1.0, lambda: 60_000)
    stalled.note_duration(0.01, 1.0, lambda: 300)
    assert stalled.budget == 40_000
    after_a_minute(monkeypatch)
    stalled.note_duration(0.01, 1.0, lambda: 300)
    assert not stalled.is_bounded


def test_bound_set_by_a_time_out_stays_until_commands_disprove_it(monkeypatch):
    slow = Pace()
    slow.note_timeout(800_000)
    after_a_minute(monkeypatch)
    slow.note_duration(0.01, 1.0, lambda: 300)
    assert slow.budget == 100_000


def test_budget_has_a_minimum():
    pace = Pace()
    while pace.note_timeout():
        pass
    assert pace.budget == 16_000
    assert pace.max_ids == 40


def test_first_jobs_that_fit_the_budget_are_chosen_with_small_ones_behind_them():
    assert affordable([40, 40, 40], math.inf) == (3, [])
    assert affordable([400_000, 1], 100_000) == (1, [1])
    sizes = [40_000, 40_000, 40_000, 900, 40_000, 900]
    assert affordable(sizes, 100_000) == (2, [3, 5])
    assert affordable([], 100_000) == (0, [])


def test_small_jobs_use_at_most_half_of_the_budget():
    first, small = affordable([90_000, 90_000, *[1_000] * 100], 100_000)
    assert first == 1
    assert len(small) == 50


def test_parts_keep_the_order_and_a_large_item_is_alone():
    assert list(split_by_bytes([1, 2, 9, 3, 3], int, 6)) == [[1, 2], [9], [3, 3]]
    assert list(split_by_bytes([], int, 6)) == []
    assert list(split_by_bytes([1, 2, 9], int, math.inf)) == [[1, 2, 9]]


def test_stream_answers_shrink_after_time_outs_and_grow_again_when_it_is_quiet(monkeypatch):
    event_limit = EventLimit()
    assert event_limit.max_events is None
    assert not event_limit.grow_if_quiet()
    sizes = []
    for _ in range(4):
        event_limit.note_timeout()
        sizes.append(event_limit.max_events)
    assert sizes == [125, 15, 1, 1]
    assert not event_limit.grow_if_quiet(), "not soon after a time-out"
    assert event_limit.limit_factor == 6, "one event can't become smaller"
    monkeypatch.setattr(pace, "QUIET_SECONDS", 0.0)
    while event_limit.max_events:
        assert event_limit.grow_if_quiet()
        assert event_limit.limit_factor == 1
    assert not event_limit.grow_if_quiet()


DOCUMENTS = [{"_id": name, "size": 10} for name in ["a", "b", "c\ufffd", "d"]]


@pytest.mark.parametrize(
    ("budget", "is_last", "end"),
    [(5, False, 1), (20, False, 1), (30, False, 3), (99, False, 3), (99, True, 4), (29, True, 1)],
)
def test_page_ends_before_an_id_that_a_query_can_name(budget, is_last, end):
    assert end_of_page(DOCUMENTS, budget, is_last) == end


def test_page_of_ids_that_no_query_can_name_is_read_whole():
    documents = [{"_id": "\ufffd", "size": 10}] * 3
    assert end_of_page(documents, 5, is_last=True) == 3
    assert end_of_page([], 5, is_last=True) == 0
