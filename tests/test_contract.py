"""The contract of a job store, for the stock stores and for ours in every mode."""

import logging
import time
from datetime import datetime, timedelta, timezone
from enum import Enum
from zoneinfo import ZoneInfo

import pytest
import pytz

from jobstore import ConflictingIdError, JobLookupError
from support.every_store import EVERY, all_but, marked, opened
from support.jobs import at, job, note


@pytest.fixture(params=marked(EVERY))
def store(request):
    with opened(request.param, request) as store:
        yield store


def ids(jobs):
    return [found.id for found in jobs]


def in_database(store):
    """Return whether the store makes its jobs anew, from documents."""
    return hasattr(store, "collection")


def test_empty_store_has_no_due_jobs_and_no_next_run_time(store):
    assert store.get_due_jobs(at(0)) == []
    assert store.get_all_jobs() == []
    assert store.get_next_run_time() is None
    assert store.lookup_job("a") is None


def test_started_store_has_its_alias_and_the_logger_of_that_name(store):
    assert store._alias == "alias"
    assert store._logger is logging.getLogger("apscheduler.jobstores.alias")


# Order


def test_jobs_are_ordered_by_time_with_paused_jobs_last(store):
    for job_id, seconds in [("d", 2), ("b", None), ("c", 1), ("e", 1.5)]:
        store.add_job(job(job_id, seconds))
    assert ids(store.get_all_jobs()) == ["c", "e", "d", "b"]


@all_but("mongodb-stock")  # the server chooses the order of its ties
def test_jobs_of_equal_time_and_paused_jobs_are_ordered_by_id(store):
    for job_id, seconds in [("d", 2), ("b", None), ("c", 1), ("a", None), ("e", 1)]:
        store.add_job(job(job_id, seconds))
    assert ids(store.get_all_jobs()) == ["c", "e", "d", "a", "b"]


@all_but("mongodb-stock")
def test_ids_are_ordered_by_their_characters(store):
    names = ["B", "a", "aa", "b", "é", "Ж", "語", "🙂", "a\0"]
    for name in names:
        store.add_job(job(name, 1))
    assert ids(store.get_all_jobs()) == sorted(names)


def test_clearing_a_returned_list_leaves_the_store_unchanged(store):
    store.add_job(job("a", 1))
    store.get_all_jobs().clear()
    store.get_due_jobs(at(1)).clear()
    assert ids(store.get_all_jobs()) == ["a"]


# Due jobs


def test_due_jobs_include_the_jobs_of_this_very_moment(store):
    for job_id, seconds in [("early", 1), ("now", 2), ("late", 2.000001), ("paused", None)]:
        store.add_job(job(job_id, seconds))
    assert ids(store.get_due_jobs(at(2))) == ["early", "now"]


@pytest.fixture
def in_new_york(monkeypatch):
    """Set the machine's time zone for one test. Naive times must not be read in it."""
    set_zone = getattr(time, "tzset", lambda: None)  # Windows has none
    monkeypatch.setenv("TZ", "EST5EDT")
    set_zone()
    yield
    monkeypatch.undo()
    set_zone()


@pytest.mark.usefixtures("in_new_york")
def test_naive_now_counts_as_utc(store):
    store.add_job(job("a", 1))
    assert ids(store.get_due_jobs(at(1).replace(tzinfo=None))) == ["a"]
    assert store.get_due_jobs(at(0.999999).replace(tzinfo=None)) == []


def test_next_run_time_is_the_aware_time_of_the_first_job(store):
    store.add_job(job("b", 2))
    store.add_job(job("a", 1))
    assert store.get_next_run_time() == at(1)


def test_store_of_paused_jobs_has_no_next_run_time(store):
    store.add_job(job("a", None))
    assert store.get_next_run_time() is None
    assert store.get_due_jobs(at(10**9)) == []


# Returned jobs


@pytest.mark.parametrize(
    "zone",
    [
        timezone.utc,
        ZoneInfo("Europe/Berlin"),
        pytz.timezone("US/Eastern"),
        timezone(-timedelta(1) / 3),
    ],
    ids=str,
)
@pytest.mark.parametrize("seconds", [0.000001, 0.123456, -1e9 + 0.5, 3e9 + 0.999999])
def test_job_is_returned_unchanged(store, zone, seconds):
    given = job("a", 1, args=(1, "é"), kwargs={"b": [2]}, misfire_grace_time=7, max_instances=3)
    given.next_run_time = (at(0) + timedelta(seconds=seconds)).astimezone(zone)
    store.add_job(given)
    for found in (store.lookup_job("a"), *store.get_all_jobs(), *store.get_due_jobs(at(4e9))):
        state, expected = found.__getstate__(), given.__getstate__()
        assert state.pop("trigger").interval == expected.pop("trigger").interval
        assert state == expected
        assert found.next_run_time.utcoffset() == given.next_run_time.utcoffset()
        assert found.func is note
        assert found._jobstore_alias == ("alias" if in_database(store) else given._jobstore_alias)
    assert store.get_next_run_time() == given.next_run_time


@pytest.mark.parametrize(
    "given",
    [
        datetime(2020, 10, 25, 2, 30, fold=0, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),  # an hour later
        datetime(2020, 3, 29, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),  # skipped by the clocks
    ],
    ids=["first", "second", "skipped"],
)
def test_run_time_at_a_clock_change_is_returned_unchanged(store, given):
    store.add_job(job("a", next_run_time=given))
    found = store.lookup_job("a").next_run_time
    assert (found.isoformat(), found.fold) == (given.isoformat(), given.fold)
    # Python never finds such a time equal to a time in another zone. A database answers in UTC.
    expected = given.astimezone(timezone.utc) if in_database(store) else given
    assert store.get_next_run_time() == expected


def test_run_time_beyond_the_year_9999_is_refused(store):
    given = job("a", 1)
    given.next_run_time = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
    store.add_job(given)
    assert store.get_next_run_time() == given.next_run_time
    given.next_run_time = datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=2)))
    with pytest.raises(OverflowError):
        store.update_job(given)
    assert store.lookup_job("a").next_run_time.year == 9999


# Changes


def test_second_job_with_the_same_id_is_refused(store):
    store.add_job(job("a", 1))
    with pytest.raises(ConflictingIdError, match=r"Job identifier \(a\) conflicts"):
        store.add_job(job("a", 2))
    assert [each.next_run_time for each in store.get_all_jobs()] == [at(1)]


def test_update_replaces_a_job_and_moves_it_to_its_new_place(store):
    for job_id, seconds in [("a", 1), ("b", 2), ("c", 3)]:
        store.add_job(job(job_id, seconds))
    store.update_job(job("a", 2.5, args=("new",)))
    assert ids(store.get_all_jobs()) == ["b", "a", "c"]
    assert store.lookup_job("a").args == ("new",)
    store.update_job(job("a", None))
    assert ids(store.get_all_jobs()) == ["b", "c", "a"]
    store.update_job(job("a", 0))
    assert ids(store.get_all_jobs()) == ["a", "b", "c"]


@all_but("mongodb-stock")
def test_update_without_a_new_time_keeps_the_place(store):
    for job_id in "abc":
        store.add_job(job(job_id, 1))
    store.update_job(job("b", 1, args=("new",)))
    assert store.get_all_jobs()[1].args == ("new",)
    assert store.get_due_jobs(at(1))[1].args == ("new",)


def test_jobs_changed_in_place_take_their_new_order_with_the_update(store):
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


def test_due_job_is_due_again_at_the_time_of_its_update(store):
    store.add_job(job("a", 1))
    for due in store.get_due_jobs(at(1)):
        due.next_run_time = at(5)
        store.update_job(due)
    assert store.get_next_run_time() == at(5)
    assert store.get_due_jobs(at(4)) == []
    assert ids(store.get_due_jobs(at(5))) == ["a"]


@pytest.mark.parametrize("call", ["update_job", "remove_job"])
def test_update_or_removal_of_a_missing_job_raises_lookup_error(store, call):
    store.add_job(job("a", 1))
    with pytest.raises(JobLookupError, match="No job by the id of b was found"):
        getattr(store, call)(job("b", 1) if call == "update_job" else "b")
    assert ids(store.get_all_jobs()) == ["a"]


def test_update_pauses_and_resumes_a_job(store):
    store.add_job(job("a", 1))
    store.update_job(job("a", None))
    assert store.get_next_run_time() is None
    assert store.get_due_jobs(at(5)) == []
    store.update_job(job("a", 3))
    assert store.get_next_run_time() == at(3)
    assert ids(store.get_due_jobs(at(5))) == ["a"]


def test_removed_job_is_gone_and_its_id_is_free(store):
    store.add_job(job("a", 1))
    store.add_job(job("b", 2))
    store.remove_job("a")
    assert store.lookup_job("a") is None
    assert store.get_next_run_time() == at(2)
    with pytest.raises(JobLookupError):
        store.remove_job("a")
    with pytest.raises(JobLookupError):
        store.update_job(job("a", 1))
    store.add_job(job("a", 3))
    assert ids(store.get_all_jobs()) == ["b", "a"]


def test_remove_all_jobs_empties_the_store(store):
    for _ in range(2):  # it can be filled again
        for job_id in "abc":
            store.add_job(job(job_id, 1))
        store.remove_all_jobs()
        assert store.get_all_jobs() == []
        assert store.get_next_run_time() is None
        assert store.lookup_job("a") is None


# Ids


@pytest.mark.parametrize("job_id", [1, 1.5, b"a", ("a",)])
def test_lookup_or_removal_by_a_non_string_id_finds_no_job(store, job_id):
    store.add_job(job("a", 1))
    assert store.lookup_job(job_id) is None
    with pytest.raises(JobLookupError, match="was found"):
        store.remove_job(job_id)


@pytest.mark.parametrize("job_id", ["B", "é", "語", "🙂", "a\0b", "$a.b", "x" * 1000])
def test_any_text_is_an_id(store, job_id):
    store.add_job(job(job_id, 1))
    assert store.lookup_job(job_id).id == job_id
    store.update_job(job(job_id, 2))
    assert ids(store.get_due_jobs(at(2))) == [job_id]
    store.remove_job(job_id)
    assert store.get_all_jobs() == []


class Text(str):
    """A class that an application may use for its ids."""


class Choice(str, Enum):
    FIRST = "a"


@pytest.mark.parametrize("job_id", [Text("a"), Choice.FIRST], ids=["subclass", "enum"])
@all_but("memory-stock")  # its dict finds an enum by the hash of the enum's name
def test_id_of_a_str_subclass_counts_by_its_characters(store, job_id):
    store.add_job(job(job_id, 1))
    for same in (job_id, "a"):
        assert store.lookup_job(same).id == "a"
    store.update_job(job(job_id, 2))
    assert ids(store.get_due_jobs(at(2))) == ["a"]
    assert ids(store.get_all_jobs()) == ["a"]
    store.remove_job(job_id)
    assert store.get_all_jobs() == []
