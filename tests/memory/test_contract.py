"""The contract of a memory store, for the stock store and for ours on both indexes."""

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


def test_empty_store_has_no_due_jobs_and_no_next_run_time(store):
    assert store.get_due_jobs(at(0)) == []
    assert store.get_all_jobs() == []
    assert store.get_next_run_time() is None
    assert store.lookup_job("a") is None


def test_jobs_are_ordered_by_time_then_id_with_paused_jobs_last(store):
    for job_id, seconds in [("d", 2), ("b", None), ("c", 1), ("a", None), ("e", 1)]:
        store.add_job(job(job_id, seconds))
    assert ids(store.get_all_jobs()) == ["c", "e", "d", "a", "b"]


def test_due_jobs_include_the_jobs_of_this_very_moment(store):
    for job_id, seconds in [("early", 1), ("now", 2), ("late", 2.000001), ("paused", None)]:
        store.add_job(job(job_id, seconds))
    assert ids(store.get_due_jobs(at(2))) == ["early", "now"]


def test_naive_now_counts_as_utc(store):
    store.add_job(job("a", 1))
    assert ids(store.get_due_jobs(at(1).replace(tzinfo=None))) == ["a"]
    assert store.get_due_jobs(at(0.999999).replace(tzinfo=None)) == []


def test_ids_are_ordered_by_their_characters(store):
    names = ["", "B", "a", "aa", "b", "é", "Ж", "語", "🙂", "\ud800", "a\0"]
    for name in names:
        store.add_job(job(name, 1))
    assert ids(store.get_all_jobs()) == sorted(names)


def test_clearing_a_returned_list_leaves_the_store_unchanged(store):
    store.add_job(job("a", 1))
    store.get_all_jobs().clear()
    store.get_due_jobs(at(1)).clear()
    assert ids(store.get_all_jobs()) == ["a"]


def test_next_run_time_is_the_object_of_the_first_job(store):
    first = job("a", 1)
    store.add_job(job("b", 2))
    store.add_job(first)
    assert store.get_next_run_time() is first.next_run_time


def test_store_of_paused_jobs_has_no_next_run_time(store):
    store.add_job(job("a", None))
    assert store.get_next_run_time() is None
    assert store.get_due_jobs(at(10**9)) == []


def test_lookup_returns_the_added_object(store):
    added = job("a", 1)
    store.add_job(added)
    assert store.lookup_job("a") is added


def test_second_job_with_the_same_id_is_refused(store):
    first = job("a", 1)
    store.add_job(first)
    with pytest.raises(ConflictingIdError, match=r"Job identifier \(a\) conflicts"):
        store.add_job(job("a", 2))
    assert store.get_all_jobs()[0] is first
    assert len(store.get_all_jobs()) == 1


def test_update_moves_a_job_to_its_new_place(store):
    for job_id, seconds in [("a", 1), ("b", 2), ("c", 3)]:
        store.add_job(job(job_id, seconds))
    newer = job("a", 2.5)
    store.update_job(newer)
    assert ids(store.get_all_jobs()) == ["b", "a", "c"]
    assert store.lookup_job("a") is newer
    store.update_job(job("a", None))
    assert ids(store.get_all_jobs()) == ["b", "c", "a"]
    store.update_job(job("a", 0))
    assert ids(store.get_all_jobs()) == ["a", "b", "c"]


def test_update_without_a_new_time_keeps_the_place(store):
    for job_id in "abc":
        store.add_job(job(job_id, 1))
    newer = job("b", 1)
    store.update_job(newer)
    assert store.get_all_jobs()[1] is newer
    assert store.get_due_jobs(at(1))[1] is newer


def test_job_changed_in_place_keeps_its_old_time_until_its_update(store):
    jobs = [job(f"{i:02}", i) for i in range(50)]
    for each in jobs:
        store.add_job(each)
    for each in jobs:  # the scheduler changes the job first, then the store
        each.next_run_time = at(100 - int(each.id))
        store.update_job(each)
    assert ids(store.get_all_jobs()) == [f"{i:02}" for i in reversed(range(50))]
    for each in jobs:
        each.next_run_time = None
        store.remove_job(each.id)
    assert store.get_all_jobs() == []


@pytest.mark.parametrize("call", ["update_job", "remove_job"])
def test_update_or_removal_of_a_missing_job_raises_lookup_error(store, call):
    store.add_job(job("a", 1))
    with pytest.raises(JobLookupError, match="No job by the id of b was found"):
        getattr(store, call)(job("b", 1) if call == "update_job" else "b")
    assert ids(store.get_all_jobs()) == ["a"]


@pytest.mark.parametrize("job_id", [None, 1, 1.5, b"a", ("a",), frozenset()])
def test_lookup_or_removal_by_a_non_string_id_finds_no_job(store, job_id):
    store.add_job(job("a", 1))
    assert store.lookup_job(job_id) is None
    with pytest.raises(JobLookupError, match="was found"):
        store.remove_job(job_id)


def test_unhashable_id_raises_type_error(store):
    with pytest.raises(TypeError, match="unhashable"):
        store.lookup_job([])
    with pytest.raises(TypeError, match="unhashable"):
        store.remove_job({})


def test_remove_all_jobs_and_shutdown_empty_the_store(store):
    for empty in (store.remove_all_jobs, store.shutdown):
        store.add_job(job("a", 1))
        empty()
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


def test_store_has_a_length_and_is_true_when_empty(our_store):
    assert len(our_store) == 0
    assert our_store
    our_store.add_job(job("a", 1))
    assert len(our_store) == 1


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


def test_add_jobs_stores_new_jobs_and_names_the_refused_ids(our_store):
    our_store.add_job(job("b", 5))
    first = job("a", 3)
    with pytest.raises(ConflictingIdsError, match=r"b, a") as raised:
        our_store.add_jobs(iter([first, job("b", 1), job("a", 1), job("c", None)]))
    assert raised.value.job_ids == ["b", "a"]
    assert isinstance(raised.value, ConflictingIdError)
    assert ids(our_store.get_all_jobs()) == ["a", "b", "c"]
    assert our_store.lookup_job("a") is first


def test_add_jobs_with_replace_existing_keeps_the_last_job_of_each_id(our_store):
    our_store.add_job(job("b", 5))
    last_a, last_b = job("a", 9), job("b", 1)
    our_store.add_jobs([job("a", 1), job("b", 2), last_a, last_b], replace_existing=True)
    assert [id(found) for found in our_store.get_all_jobs()] == [id(last_b), id(last_a)]


def test_update_jobs_updates_stored_jobs_and_names_the_missing_ids(our_store):
    our_store.add_jobs([job("a", 1), job("b", 2)])
    last = job("a", 4)
    with pytest.raises(JobsLookupError, match="id of x was") as raised:
        our_store.update_jobs([job("a", 3), job("x", 0), last])
    assert raised.value.job_ids == ["x"]
    assert isinstance(raised.value, JobLookupError)
    assert ids(our_store.get_all_jobs()) == ["b", "a"]
    assert our_store.lookup_job("a") is last


def test_remove_jobs_removes_stored_jobs_and_names_the_missing_ids(our_store):
    our_store.add_jobs([job("a", 1), job("b", 2), job("c", 3)])
    with pytest.raises(JobsLookupError) as raised:
        our_store.remove_jobs(["c", "x", "a", "c", 7])
    assert raised.value.job_ids == ["x", "c", 7]
    assert ids(our_store.get_all_jobs()) == ["b"]


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


def test_message_about_many_ids_stays_short(our_store):
    with pytest.raises(JobsLookupError) as raised:
        our_store.remove_jobs(map(str, range(1_000)))
    assert len(raised.value.job_ids) == 1_000
    assert "7, 8, 9 and 990 more" in str(raised.value)


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
