"""The bulk calls of `BaseJobStore` loop, and say where an error ended the loop."""

import sys

import pytest

from support.indexes import at, job
from support.memory_stores import memory_store


def test_other_error_ends_add_jobs_and_notes_the_number_of_added_jobs():
    store = memory_store("looping")
    store.add_job(job("a", 1))
    bad = job("bad", 1)
    bad.next_run_time = 5
    with pytest.raises(AttributeError) as raised:
        store.add_jobs([job("b", 2), job("a", 9), job("c", 3), bad, job("d", 4)])
    assert [found.id for found in store.get_all_jobs()] == ["a", "b", "c"]
    assert store.get_next_run_time() == at(1)
    if sys.version_info >= (3, 11):
        assert "2 items before this one were done" in raised.value.__notes__[0]
