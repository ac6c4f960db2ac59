"""When some jobs of a bulk call can't be stored, one error names all of them."""

import pickle
import sys
import threading
from datetime import timedelta, timezone

import pytest
from apscheduler.jobstores.base import TransientJobError
from pymongo.errors import DocumentTooLarge

import jobstore
from jobstore import MemoryJobStore, TransientJobsError
from support.jobs import at, job, names
from support.manual_scheduler import by_hand

MIB = 1024 * 1024
EAST = timezone(timedelta(hours=2))


def assert_noted(error, *parts):
    """Assert that the error's last note has these parts. Errors have notes from Python 3.11 on.

    Before it, pickle of Python 3.14 and later notes what it was serializing.
    """
    if sys.version_info >= (3, 11):
        *before, note = error.__notes__
        assert [each for each in before if not each.startswith("when serializing ")] == []
        assert [part for part in parts if part not in note] == []


def nameless(name, **options):
    return job(name, 1, func=lambda: None, **options)


def call_of(store, call):
    return {
        "add_jobs": store.add_jobs,
        "update_jobs": store.update_jobs,
        "replacing": lambda jobs: store.add_jobs(jobs, replace_existing=True),
        "scheduler": lambda jobs: jobstore.add_jobs(store._scheduler, jobs),
    }[call]


@pytest.fixture(params=["add_jobs", "update_jobs", "replacing", "scheduler"])
def add(request, store):
    """Return each bulk call that stores jobs."""
    by_hand(store)
    return call_of(store, request.param)


def test_error_names_all_jobs_whose_functions_have_no_name(add, store):
    """The jobs move from a memory store to MongoDB."""
    memory = MemoryJobStore()
    bad = [f"{i:04}" for i in range(0, 1000, 100)]
    memory.add_jobs([nameless(f"{i:04}") if i % 100 == 0 else job(f"{i:04}") for i in range(1000)])
    with pytest.raises(TransientJobError) as raised:
        add(memory.get_all_jobs())
    error = raised.value
    assert isinstance(error, TransientJobsError)
    assert sorted(error.job_ids) == bad
    assert all(job_id in str(error) for job_id in bad)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.job_ids) == (str(error), error.job_ids)
    assert names(store) == []


def test_error_about_many_bad_jobs_names_ten_in_its_text_and_holds_all_ids(store):
    with pytest.raises(TransientJobsError, match=r"and 2,990 more\) cannot be added") as raised:
        store.add_jobs([nameless(f"{i:04}") for i in range(3_000)])
    assert raised.value.job_ids == [f"{i:04}" for i in range(3_000)]


def test_error_names_all_jobs_that_are_too_large_with_their_sizes(store):
    large = [job(name, 1, args=("x" * 16 * MIB,)) for name in "bd"]
    with pytest.raises(DocumentTooLarge, match=r"job 'b' takes 16,777,.* job 'd' takes 16,777,"):
        store.add_jobs([job("a"), large[0], job("c"), large[1]])
    assert names(store) == []


BAD = {
    TypeError: lambda name: job(name, 1, args=(threading.Lock(),)),
    UnicodeEncodeError: lambda name: job(f"{name} \ud800", 1),
    OverflowError: lambda name: job(name, next_run_time=at(0).replace(year=1, tzinfo=EAST)),
}


@pytest.mark.parametrize("kind", BAD)
def test_other_error_is_that_of_the_first_bad_job_and_its_note_names_all(add, store, kind):
    bad = BAD[kind]
    with pytest.raises(kind) as raised:
        add([job("a"), bad("b"), nameless("c"), job("d"), bad("e")])
    assert_noted(raised.value, "stored, 3 in all: 'b", "'c' (TransientJobError", ", 'e")
    assert names(store) == []


def test_first_kind_of_error_is_raised_when_kinds_differ_and_its_note_names_all(store):
    bad = [nameless("a"), job("b", args=(threading.Lock(),)), nameless("c")]
    with pytest.raises(TransientJobsError) as raised:
        store.add_jobs(bad)
    assert raised.value.job_ids == ["a", "c"]
    assert_noted(raised.value, "3 in all", "'b' (TypeError: cannot pickle")


def test_single_bad_job_in_a_list_raises_the_same_error_as_alone(store):
    with pytest.raises(TransientJobError, match=r"Job \(a\) cannot be added") as raised:
        store.add_jobs([nameless("a"), job("b")])
    assert type(raised.value) is TransientJobError
    assert not hasattr(raised.value, "__notes__")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_keyboard_interrupt_and_system_exit_are_raised_at_once(store, error):
    class Stops:
        def __reduce__(self):
            raise error

    with pytest.raises(error):
        store.add_jobs([nameless("a"), job("b", args=(Stops(),))])
