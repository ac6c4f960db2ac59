"""Bulk calls of the MongoDB store: commands, refusals, batches, sizes."""

import gc
import tracemalloc

import pytest
from apscheduler.jobstores.base import TransientJobError
from pymongo import MongoClient
from pymongo.errors import BulkWriteError, DocumentTooLarge, DuplicateKeyError

import jobstore
from jobstore import (
    BaseJobStore,
    ConflictingIdError,
    ConflictingIdsError,
    JobsLookupError,
    MongoDBJobStore,
)
from support.jobs import YEARS, at, job, names, run_times
from support.manual_scheduler import by_hand

MIB = 1024 * 1024


@pytest.fixture
def small(server, database):
    """Return a store that reads and writes two jobs at a time."""
    with MongoClient(server.uri) as client:
        yield MongoDBJobStore(database.name, "small", client=client, batch_size=2)


@pytest.mark.usefixtures("unhurried")
def test_adding_ten_thousand_jobs_takes_at_most_eleven_commands(store, commands):
    jobs = [job(f"{i:05}", i) for i in range(10_000)]
    store.add_jobs(jobs)
    assert len(commands.names) <= 11
    commands.names.clear()
    store.add_jobs(jobs, replace_existing=True)
    assert len(commands.names) <= 11
    commands.names.clear()
    store.update_jobs(jobs)
    assert len(commands.names) <= 21
    commands.names.clear()
    assert len(store) == 10_000
    store.remove_jobs(each.id for each in jobs[1:])
    assert len(commands.names) <= 22
    assert names(store) == ["00000"]


def looped(store):
    """Return the bulk calls of `BaseJobStore`, which loop, bound to this store."""
    return {name: getattr(BaseJobStore, name).__get__(store) for name in OPERATIONS}


OPERATIONS = "add_jobs", "update_jobs", "remove_jobs"


def outcome(call, *args):
    try:
        return call(*args)
    except (ConflictingIdsError, JobsLookupError) as error:
        return type(error), error.job_ids, str(error)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("add_jobs", ("x a y b x",)),
        ("add_jobs", ("a b c",)),
        ("add_jobs", ("",)),
        ("add_jobs", ("x a y b x a", True)),
        ("update_jobs", ("x a b y x a",)),
        ("update_jobs", ("",)),
        ("remove_jobs", ("x a b y x a",)),
        ("remove_jobs", ("",)),
    ],
)
@pytest.mark.parametrize("batch_size", [2, 1000])
def test_bulk_call_has_the_outcome_of_a_loop(server, database, name, args, batch_size):
    results = []
    with MongoClient(server.uri) as client:
        for collection in ("at once", "looped"):
            store = MongoDBJobStore(database.name, collection, client, batch_size=batch_size)
            store.add_jobs([job(job_id, 1) for job_id in "abc"])
            text, *options = args
            items = [*text.split()]
            if name != "remove_jobs":
                items = [job(job_id, 10 + i) for i, job_id in enumerate(items)]
            call = getattr(store, name) if collection == "at once" else looped(store)[name]
            results.append((outcome(call, items, *options), run_times(store)))
    assert results[0] == results[1]


def test_iterator_of_jobs_is_read_in_batches(small):
    stored = []

    def jobs():
        for i in range(5):
            stored.append(names(small))
            yield job(f"{i}", i)

    small.add_jobs(jobs())
    assert stored == [[], [], ["0", "1"], ["0", "1"], ["0", "1", "2", "3"]]
    small.update_jobs(job(f"{i}", 10 + i) for i in range(5))
    assert run_times(small) == {f"{i}": at(10 + i).timestamp() for i in range(5)}


def test_iterator_of_jobs_is_read_in_bounded_memory(server, database):
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client, batch_size=100)
        store.add_job(job("first", 0))
        gc.collect()
        tracemalloc.start()
        store.add_jobs(job(f"{i:04}", i, args=("x" * 10_000,)) for i in range(2_000))  # 20 MB
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(store) == 2_001
    assert peak < 10_000_000


def test_refused_ids_of_all_batches_share_one_error(small):
    small.add_jobs([job(each, 1) for each in "ace"])
    with pytest.raises(ConflictingIdsError) as raised:
        small.add_jobs(job(each, 2) for each in "abcdef")
    assert raised.value.job_ids == ["a", "c", "e"]
    assert names(small) == [*"abcdef"]


def test_list_with_a_bad_job_changes_nothing(small):
    small.add_job(job("a", 5))
    jobs = [job("a", 1), job("b", 1), job("c", 1), job("bad", 1, func=lambda: None)]
    for call in (small.add_jobs, small.update_jobs):
        with pytest.raises(TransientJobError, match=r"\(bad\)"):
            call(jobs)
    assert run_times(small) == {"a": at(5).timestamp()}


def test_list_with_an_id_that_is_not_valid_unicode_changes_nothing(small):
    jobs = [job("a", 1), job("b", 1), job("\ud800", 1)]
    for options in ({}, {"replace_existing": True}):
        with pytest.raises(UnicodeEncodeError):
            small.add_jobs(jobs, **options)
        assert names(small) == []


def test_unhashable_id_raises_type_error_and_removes_nothing(small):
    small.add_job(job("a", 1))
    for job_id in ([], {}):
        with pytest.raises(TypeError, match="unhashable"):
            small.remove_jobs(["a", job_id])
    assert names(small) == ["a"]


def test_iterator_with_a_bad_job_keeps_the_batches_before_it(small):
    jobs = [job("a", 1), job("b", 1), job("c", 1), job("bad", 1, func=lambda: None)]
    with pytest.raises(TransientJobError, match=r"\(bad\)"):
        small.add_jobs(iter(jobs))
    assert names(small) == ["a", "b"]


def test_job_whose_function_has_no_reference_is_refused_by_name(store):
    store.add_job(job("a", 1))
    for call in (store.add_job, store.update_job):
        with pytest.raises(TransientJobError, match=r"\(nameless\)"):
            call(job("nameless", 2, func=lambda: None))
        with pytest.raises(TransientJobError, match=r"\(a\)"):
            call(job("a", 2, func=lambda: None))
    assert run_times(store) == {"a": at(1).timestamp()}


def test_document_over_16_mib_is_refused_with_its_id_and_size(store):
    store.add_job(job("big", 1))
    big = job("big", 2, args=("x" * 16 * MIB,))
    for call in (store.add_job, store.update_job):
        with pytest.raises(DocumentTooLarge, match=r"job 'big' takes 16,777,\d\d\d bytes"):
            call(big)
    for call in (store.add_jobs, store.update_jobs):
        with pytest.raises(DocumentTooLarge, match="job 'big' takes"):
            call([job("other", 1), big])
    assert run_times(store) == {"big": at(1).timestamp()}


@pytest.mark.parametrize("size", [7 * MIB, 9 * MIB, 13 * MIB, 16 * MIB - 700])
def test_jobs_of_many_mib_are_added_fired_and_changed(store, size):
    store.add_jobs([job("a", 1, args=("x" * size,)), job("b", 2, args=("y" * size,)), job("c", 3)])
    scheduler = by_hand(store)
    scheduler._process_jobs()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["a", "b", "c"]
    assert run_times(store) == {name: at(YEARS + i).timestamp() for i, name in enumerate("abc", 1)}
    assert store.lookup_job("a").args == ("x" * size,)
    store.update_job(job("a", 5, args=("z" * size,)))
    assert store.lookup_job("a").args == ("z" * size,)


def test_large_jobs_are_removed_after_their_last_run(store):
    store.add_jobs([job("a", 1, args=("x" * 13 * MIB,), every=None), job("b", 2, every=None)])
    by_hand(store)._process_jobs()
    assert names(store) == []


def test_job_that_grows_too_large_in_a_cycle_keeps_its_old_state(store):
    store.add_jobs([job("a", 1, args=([],)), job("b", 2)])
    scheduler = by_hand(store, lambda each: each.id == "a" and each.args[0].append("x" * 16 * MIB))
    scheduler._process_jobs()
    assert store.quarantined() == []
    assert run_times(store) == {"a": at(YEARS + 1).timestamp(), "b": at(YEARS + 2).timestamp()}
    assert store.lookup_job("a").args == ([],)
    assert store.lookup_job("a").next_run_time == at(YEARS + 1)


def test_refusal_by_a_users_unique_index_is_not_a_conflicting_id(store):
    store.collection.create_index("next_run_time", unique=True, name="mine")
    store.add_job(job("a", 1))
    with pytest.raises(DuplicateKeyError):
        store.add_job(job("b", 1))
    with pytest.raises(BulkWriteError):
        store.add_jobs([job("b", 1), job("c", 2)])
    assert names(store) == ["a", "c"]
    with pytest.raises(ConflictingIdError, match=r"\(a\)"):
        store.add_job(job("a", 5))


def test_add_jobs_to_a_scheduler_takes_one_insert(store, commands):
    scheduler = by_hand(store)
    commands.names.clear()
    plans = [{"func": "support.jobs:note", "id": f"{i}", "trigger": "date"} for i in range(50)]
    jobstore.add_jobs(scheduler, plans)
    assert commands.names == ["insert"]
    with pytest.raises(ConflictingIdsError) as raised:
        jobstore.add_jobs(scheduler, [*plans[:2], {**plans[2], "id": "new"}])
    assert raised.value.job_ids == ["0", "1"]
    jobstore.add_jobs(scheduler, plans, replace_existing=True)
    assert len(store) == 51


def test_remove_all_jobs_removes_more_jobs_than_one_batch(store, commands):
    store.add_jobs([job(f"{i:05}", i) for i in range(10_001)])
    commands.names.clear()
    store.remove_all_jobs()
    assert len(store) == 0
    assert commands.names == ["find", "delete", "find", "delete", "find", "aggregate"]
