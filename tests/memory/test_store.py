"""A memory store returns the objects that it was given. Ours also raises errors of its own."""

import copy
import gc
import logging

import pytest
from apscheduler.jobstores.base import BaseJobStore as HostBaseJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import (
    BaseJobStore,
    ConflictingIdError,
    ConflictingIdsError,
    JobLookupError,
    JobsLookupError,
    MemoryJobStore,
)
from support.indexes import at, job
from support.memory_stores import memory_store

KINDS = ["stock", "compiled", "twin"]


@pytest.fixture(params=KINDS)
def store(request):
    return memory_store(request.param)


@pytest.fixture(params=KINDS[1:])
def our_store(request):
    return memory_store(request.param)


def ids(jobs):
    return [found.id for found in jobs]


def test_ids_are_ordered_by_their_characters(store):
    names = ["", "B", "a", "aa", "b", "é", "Ж", "語", "🙂", "\ud800", "a\0"]
    for name in names:
        store.add_job(job(name, 1))
    assert ids(store.get_all_jobs()) == sorted(names)


def test_next_run_time_is_the_object_of_the_first_job(store):
    first = job("a", 1)
    store.add_job(job("b", 2))
    store.add_job(first)
    assert store.get_next_run_time() is first.next_run_time


def test_lookup_returns_the_added_object(store):
    added = job("a", 1)
    store.add_job(added)
    assert store.lookup_job("a") is added


def test_refused_second_job_leaves_the_first_object(store):
    first = job("a", 1)
    store.add_job(first)
    with pytest.raises(ConflictingIdError):
        store.add_job(job("a", 2))
    assert store.get_all_jobs()[0] is first
    assert len(store.get_all_jobs()) == 1


def test_update_stores_the_given_object(store):
    for job_id, seconds in [("a", 1), ("b", 2), ("c", 3)]:
        store.add_job(job(job_id, seconds))
    newer = job("a", 2.5)
    store.update_job(newer)
    assert store.get_all_jobs()[1] is newer
    assert store.lookup_job("a") is newer


def test_update_without_a_new_time_stores_the_given_object_at_the_old_place(store):
    for job_id in "abc":
        store.add_job(job(job_id, 1))
    newer = job("b", 1)
    store.update_job(newer)
    assert store.get_all_jobs()[1] is newer
    assert store.get_due_jobs(at(1))[1] is newer


@pytest.mark.parametrize("job_id", [None, frozenset()])
def test_lookup_or_removal_by_none_or_a_set_finds_no_job(store, job_id):
    store.add_job(job("a", 1))
    assert store.lookup_job(job_id) is None
    with pytest.raises(JobLookupError, match="was found"):
        store.remove_job(job_id)


def test_unhashable_id_raises_type_error(store):
    with pytest.raises(TypeError, match="unhashable"):
        store.lookup_job([])
    with pytest.raises(TypeError, match="unhashable"):
        store.remove_job({})


def test_shutdown_empties_the_store(store):
    store.add_job(job("a", 1))
    store.shutdown()
    assert store.get_all_jobs() == []
    assert store.lookup_job("a") is None


def test_store_can_be_used_without_a_scheduler_and_started_with_none(store):
    store.start(None, "alias")
    store.add_job(job("a", 1))
    assert store._alias == "alias"
    assert store._logger is logging.getLogger("apscheduler.jobstores.alias")


def test_repr_is_the_class_name(store):
    assert repr(store) == "<MemoryJobStore>"


# Features beyond the stock store


def test_memory_job_store_is_an_apscheduler_job_store():
    assert issubclass(MemoryJobStore, BaseJobStore)
    assert issubclass(BaseJobStore, HostBaseJobStore)


def test_run_time_of_another_type_raises_type_error_naming_job_and_value(our_store):
    bad = job("bad", 1)
    for value in ("2030-01-01", 5, at(1).date()):
        bad.next_run_time = value
        with pytest.raises(TypeError, match="next_run_time of job 'bad' must be") as raised:
            our_store.add_job(bad)
        assert repr(value) in str(raised.value)
    our_store.add_job(job("bad", 1))
    with pytest.raises(TypeError, match="'bad'"):
        our_store.update_job(bad)
    assert our_store.get_due_jobs(at(1))[0].next_run_time == at(1)


def test_get_due_jobs_raises_type_error_unless_now_is_a_datetime(our_store):
    for now in (None, 5):
        with pytest.raises(TypeError, match=f"now must be a datetime, not {now}"):
            our_store.get_due_jobs(now)


def test_adding_a_non_string_id_raises_type_error(our_store):
    with pytest.raises(TypeError, match="must be a str, not 5"):
        our_store.add_job(job(5, 1))
    assert len(our_store) == 0


def test_id_errors_take_precedence_over_run_time_errors(our_store):
    our_store.add_job(job("a", 1))
    bad = job("a", 1)
    bad.next_run_time = "never"
    with pytest.raises(ConflictingIdError):
        our_store.add_job(bad)
    our_store.remove_job("a")
    with pytest.raises(JobLookupError):
        our_store.update_job(bad)


def test_add_jobs_stores_the_first_object_of_each_id(our_store):
    first = job("a", 3)
    with pytest.raises(ConflictingIdsError):
        our_store.add_jobs([first, job("a", 1)])
    assert our_store.lookup_job("a") is first


def test_add_jobs_with_replace_existing_stores_the_last_object_of_each_id(our_store):
    our_store.add_job(job("b", 5))
    last_a, last_b = job("a", 9), job("b", 1)
    our_store.add_jobs([job("a", 1), job("b", 2), last_a, last_b], replace_existing=True)
    assert [id(found) for found in our_store.get_all_jobs()] == [id(last_b), id(last_a)]


def test_update_jobs_stores_the_last_object_of_each_id(our_store):
    our_store.add_jobs([job("a", 1), job("b", 2)])
    last = job("a", 4)
    our_store.update_jobs([job("a", 3), last])
    assert our_store.lookup_job("a") is last


def test_copied_errors_keep_message_and_ids():
    for error in (ConflictingIdsError(["a", "b"]), JobsLookupError(["a", "b"])):
        copied = copy.copy(error)
        assert (str(copied), copied.job_ids) == (str(error), error.job_ids)


def test_ids_with_colliding_hashes_are_distinguished(our_store):
    """The table keeps 32 bits of a hash. Among so many ids, some pairs share these bits."""
    seen, pairs = {}, []
    for job_id in map(str, range(300_000)):
        full = hash(job_id) & 2**64 - 1
        bits = (full ^ full >> 32) & 2**32 - 1
        if bits in seen:
            pairs.append((seen[bits], job_id))
        seen[bits] = job_id
    assert pairs
    for first, second in pairs:
        our_store.add_job(one := job(first, 1))
        assert our_store.lookup_job(second) is None
        our_store.add_job(two := job(second, 2))
        assert our_store.lookup_job(first) is one
        assert our_store.lookup_job(second) is two
        our_store.remove_jobs([first])
        assert our_store.lookup_job(second) is two
        our_store.add_jobs([one])
        our_store.remove_job(second)
        assert our_store.lookup_job(first) is one
        our_store._index._check()


def test_refused_job_may_have_an_invalid_run_time(our_store):
    our_store.add_job(job("a", 1))
    bad_a, bad_b = job("a"), job("b")
    bad_a.next_run_time = bad_b.next_run_time = "never"
    with pytest.raises(ConflictingIdsError) as raised:
        our_store.add_jobs([bad_a, job("b", 2), bad_b])
    assert raised.value.job_ids == ["a", "b"]
    assert ids(our_store.get_all_jobs()) == ["a", "b"]
    bad_a.id = "x"
    with pytest.raises(JobsLookupError):
        our_store.update_jobs([bad_a, job("a", 3)])
    assert ids(our_store.get_all_jobs()) == ["b", "a"]


def test_bulk_call_with_one_bad_job_changes_nothing(our_store):
    our_store.add_job(job("a", 1))
    bad = job("bad", 1)
    bad.next_run_time = 5
    for call in (
        lambda: our_store.add_jobs([job("b", 1), bad]),
        lambda: our_store.add_jobs([job("b", 1), job("a", 3), bad], replace_existing=True),
        lambda: our_store.add_jobs([job("b", 1), job(3, 1)]),
        lambda: our_store.add_jobs(None),
        lambda: our_store.remove_jobs(["a", []]),
    ):
        before = our_store.get_all_jobs()
        with pytest.raises(TypeError):
            call()
        assert [id(found) for found in our_store.get_all_jobs()] == [id(found) for found in before]


def test_store_in_a_reference_cycle_survives_a_garbage_collection(our_store):
    scheduler = BackgroundScheduler(jobstores={"default": our_store})
    scheduler.start(paused=True)
    scheduler.add_job(print, "interval", hours=1, id="a")
    gc.collect()
    assert ids(our_store.get_all_jobs()) == ["a"]
    scheduler.shutdown()
    assert len(our_store) == 0
