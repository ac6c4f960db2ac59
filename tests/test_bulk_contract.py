"""The contract of our stores beyond the stock ones: bulk calls, and a length."""

import pytest

from jobstore import (
    BaseJobStore,
    ConflictingIdError,
    ConflictingIdsError,
    JobLookupError,
    JobsLookupError,
)
from support.every_store import BULK, marked, opened
from support.jobs import at, job


@pytest.fixture(params=marked(BULK))
def store(request):
    with opened(request.param, request) as store:
        yield store


def ids(store):
    return [found.id for found in store.get_all_jobs()]


def test_each_of_our_stores_is_a_base_job_store(store):
    assert isinstance(store, BaseJobStore)


def test_store_has_a_length_and_is_true_when_empty(store):
    assert len(store) == 0
    assert store
    store.add_job(job("a", 1))
    assert len(store) == 1
    store.remove_job("a")
    assert len(store) == 0
    assert store


def test_add_jobs_stores_new_jobs_and_names_the_refused_ids(store):
    store.add_job(job("b", 5))
    first = job("a", 3, args=("first",))
    with pytest.raises(ConflictingIdsError, match=r"b, a") as raised:
        store.add_jobs(iter([first, job("b", 1), job("a", 1), job("c", None)]))
    assert raised.value.job_ids == ["b", "a"]
    assert isinstance(raised.value, ConflictingIdError)
    assert ids(store) == ["a", "b", "c"]
    assert store.lookup_job("a").args == ("first",)
    assert store.get_next_run_time() == at(3)


def test_add_jobs_with_replace_existing_keeps_the_last_job_of_each_id(store):
    store.add_job(job("b", 5))
    last_a, last_b = job("a", 9, args=("last a",)), job("b", 1, args=("last b",))
    store.add_jobs([job("a", 1), job("b", 2), last_a, last_b], replace_existing=True)
    assert [found.args for found in store.get_all_jobs()] == [("last b",), ("last a",)]


def test_update_jobs_updates_stored_jobs_and_names_the_missing_ids(store):
    store.add_jobs([job("a", 1), job("b", 2)])
    with pytest.raises(JobsLookupError, match="id of x was") as raised:
        store.update_jobs([job("a", 3), job("x", 0), job("a", 4, args=("last",))])
    assert raised.value.job_ids == ["x"]
    assert isinstance(raised.value, JobLookupError)
    assert ids(store) == ["b", "a"]
    assert store.lookup_job("a").args == ("last",)
    assert store.get_next_run_time() == at(2)


def test_remove_jobs_removes_stored_jobs_and_names_the_missing_ids(store):
    store.add_jobs([job("a", 1), job("b", 2), job("c", 3)])
    with pytest.raises(JobsLookupError) as raised:
        store.remove_jobs(["c", "x", "a", "c", 7])
    assert raised.value.job_ids == ["x", "c", 7]
    assert ids(store) == ["b"]


def test_bulk_calls_raise_nothing_when_no_id_is_refused(store):
    store.add_job(job("a", 1))
    store.add_jobs([job("b", 2)])
    store.update_jobs([job("b", 0)])
    assert ids(store) == ["b", "a"]
    store.remove_jobs(["b"])
    assert ids(store) == ["a"]


def test_bulk_calls_with_an_empty_list_change_nothing(store):
    store.add_job(job("a", 1))
    for call in (store.add_jobs, store.update_jobs, store.remove_jobs):
        call([])
    assert ids(store) == ["a"]


def test_removed_jobs_are_named_as_missing(store):
    store.add_jobs([job("a", 1), job("b", 2)])
    store.remove_jobs(iter("ab"))
    assert store.get_next_run_time() is None
    with pytest.raises(JobsLookupError, match="id of a, b was"):
        store.remove_jobs("ab")
    with pytest.raises(JobsLookupError) as raised:
        store.update_jobs(iter([job("b", 3), job("a", 3)]))
    assert raised.value.job_ids == ["b", "a"]
    assert len(store) == 0


def test_message_about_many_ids_stays_short(store):
    with pytest.raises(JobsLookupError) as raised:
        store.remove_jobs(map(str, range(1_000)))
    assert len(raised.value.job_ids) == 1_000
    assert "7, 8, 9 and 990 more" in str(raised.value)
