"""The buffer of the history: bounded, and safe in any thread and any signal handler."""

import sys
from threading import Thread

import pytest

from jobstore.mongodb.history import buffer
from jobstore.mongodb.history.buffer import BATCH, Buffer
from support.threads import run_interleaved


@pytest.fixture
def small(monkeypatch):
    """Let a buffer hold 3 entries."""
    monkeypatch.setattr(buffer, "CAPACITY", 3)
    return Buffer()


def test_entries_are_taken_in_order():
    entries = Buffer()
    for number in range(BATCH + 1):
        entries.add(number)
    assert entries.take() == list(range(BATCH))
    assert entries.take() == [BATCH]
    assert entries.take() == []


def test_full_buffer_drops_new_entries_and_counts_them(small):
    for number in range(5):
        small.add(number)
    assert small.take() == [0, 1, 2]
    assert small.dropped == 2


def test_drops_are_reported_once_with_the_time_of_the_first(small):
    for number in range(3):
        small.add(number)
    assert small.take_dropped() == (0, None)
    small.add(3)
    small.add(4)
    number, since = small.take_dropped()
    assert number == 2
    assert since is not None
    assert small.take_dropped() == (0, None)
    small.add(5)
    assert small.take_dropped()[0] == 1
    assert small.dropped == 3


def test_cleared_entries_are_not_dropped_ones(small):
    small.add(0)
    assert small.clear() == 1
    assert len(small) == small.dropped == 0


def test_entries_may_be_cleared_while_they_are_taken(monkeypatch):
    monkeypatch.setattr(buffer, "CAPACITY", 10_000)
    entries, taken = Buffer(), []
    for number in range(10_000):
        entries.add(number)

    def take():
        for _ in range(20):
            taken.extend(entries.take())

    def clear():
        for _ in range(20):
            taken.extend([None] * entries.clear())

    run_interleaved([Thread(target=take), Thread(target=clear)], 1e-6)
    assert len(entries) == 0


def test_whole_batch_wakes_the_writer_before_its_time():
    entries = Buffer()
    for number in range(BATCH - 1):
        entries.add(number)
    assert not entries.wanted.is_set()
    entries.add(BATCH)
    assert entries.wanted.is_set()


def test_each_entry_of_many_threads_is_kept_or_counted(monkeypatch):
    monkeypatch.setattr(buffer, "CAPACITY", 100)
    entries, taken = Buffer(), []

    def add():
        for number in range(2000):
            entries.add(number)

    def take():
        for _ in range(200):
            taken.extend(entries.take())

    run_interleaved([*(Thread(target=add) for _ in range(4)), Thread(target=take)], 1e-6)
    assert len(taken) + len(entries) + entries.dropped == 8000


def test_buffer_can_be_called_in_the_middle_of_a_call(small):
    """As a signal handler does."""
    depth = 0

    def trace(frame, event, argument):
        nonlocal depth
        if depth < 3:
            depth += 1
            small.add("inner")
            depth -= 1
        return trace

    sys.settrace(trace)
    try:
        small.add("outer")
    finally:
        sys.settrace(None)
    assert 3 <= len(small) <= 6
    assert small.wanted.is_set() is False
