"""What `BaseJobStore` gives to a store that brings only APScheduler's own methods."""

import sys

import pytest
from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore

from jobstore import BaseJobStore, ConflictingIdsError, JobsLookupError
from support.indexes import at, job


class PlainStore(StockMemoryJobStore, BaseJobStore):
    """The stock store's methods with our base class under them."""


def ids(store):
    return [found.id for found in store.get_all_jobs()]


@pytest.fixture
def store():
    store = PlainStore()
    store.add_job(job("a", 1))
    return store


def test_adding_many_loops_and_names_the_ids_refused_together(store):
    with pytest.raises(ConflictingIdsError) as raised:
        store.add_jobs(iter([job("b", 2), job("a", 3), job("b", 4), job("c", 0)]))
    assert raised.value.job_ids == ["a", "b"]
    assert ids(store) == ["c", "a", "b"]


def test_adding_many_can_replace(store):
    store.add_jobs([job("b", 2), job("a", 3)], replace_existing=True)
    assert ids(store) == ["b", "a"]


def test_updating_many_loops_and_names_the_ids_not_found_together(store):
    with pytest.raises(JobsLookupError) as raised:
        store.update_jobs([job("x", 1), job("a", 5)])
    assert raised.value.job_ids == ["x"]
    assert store.get_next_run_time() == at(5)


def test_removing_many_loops_and_names_the_ids_not_found_together(store):
    with pytest.raises(JobsLookupError) as raised:
        store.remove_jobs(["x", "a", "a"])
    assert raised.value.job_ids == ["x", "a"]
    assert ids(store) == []


def test_without_refusals_nothing_is_raised(store):
    store.add_jobs([job("b", 2)])
    store.update_jobs([job("b", 0)])
    store.remove_jobs(["b"])
    assert ids(store) == ["a"]


def test_any_other_error_ends_the_loop_and_says_how_much_was_done(store):
    bad = job("bad", 1)
    bad.next_run_time = 5
    with pytest.raises(AttributeError) as raised:
        store.add_jobs([job("b", 2), job("a", 9), job("c", 3), bad, job("d", 4)])
    assert ids(store) == ["a", "b", "c"]
    if sys.version_info >= (3, 11):
        assert "2 items before this one were done" in raised.value.__notes__[0]


def test_it_has_a_length_and_is_true_even_if_empty(store):
    assert len(store) == 1
    store.remove_job("a")
    assert len(store) == 0
    assert store
