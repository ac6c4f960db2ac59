"""`BaseJobStore` adds bulk calls to a store that has only APScheduler's own methods."""

import sys

import pytest
from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore

from jobstore import BaseJobStore, ConflictingIdsError, JobsLookupError
from support.indexes import at, job


class PlainStore(StockMemoryJobStore, BaseJobStore):
    """The stock store's methods on top of our base class."""


def ids(store):
    return [found.id for found in store.get_all_jobs()]


@pytest.fixture
def store():
    store = PlainStore()
    store.add_job(job("a", 1))
    return store


def test_add_jobs_adds_one_by_one_and_names_all_refused_ids(store):
    with pytest.raises(ConflictingIdsError) as raised:
        store.add_jobs(iter([job("b", 2), job("a", 3), job("b", 4), job("c", 0)]))
    assert raised.value.job_ids == ["a", "b"]
    assert ids(store) == ["c", "a", "b"]


def test_add_jobs_replaces_existing_jobs_when_asked(store):
    store.add_jobs([job("b", 2), job("a", 3)], replace_existing=True)
    assert ids(store) == ["b", "a"]


def test_update_jobs_updates_one_by_one_and_names_all_missing_ids(store):
    with pytest.raises(JobsLookupError) as raised:
        store.update_jobs([job("x", 1), job("a", 5)])
    assert raised.value.job_ids == ["x"]
    assert store.get_next_run_time() == at(5)


def test_remove_jobs_removes_one_by_one_and_names_all_missing_ids(store):
    with pytest.raises(JobsLookupError) as raised:
        store.remove_jobs(["x", "a", "a"])
    assert raised.value.job_ids == ["x", "a"]
    assert ids(store) == []


def test_bulk_calls_raise_nothing_when_no_id_is_refused(store):
    store.add_jobs([job("b", 2)])
    store.update_jobs([job("b", 0)])
    store.remove_jobs(["b"])
    assert ids(store) == ["a"]


def test_other_error_ends_add_jobs_and_notes_the_number_of_added_jobs(store):
    bad = job("bad", 1)
    bad.next_run_time = 5
    with pytest.raises(AttributeError) as raised:
        store.add_jobs([job("b", 2), job("a", 9), job("c", 3), bad, job("d", 4)])
    assert ids(store) == ["a", "b", "c"]
    if sys.version_info >= (3, 11):
        assert "2 items before this one were done" in raised.value.__notes__[0]


def test_plain_store_has_a_length_and_is_true_when_empty(store):
    assert len(store) == 1
    store.remove_job("a")
    assert len(store) == 0
    assert store
