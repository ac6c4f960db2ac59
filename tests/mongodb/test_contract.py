"""The contract of a job store over MongoDB: the stock one's, and the same for ours."""

import time
from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import partial
from zoneinfo import ZoneInfo

import pytest
import pytz
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection
from support.jobs import at, job, note

KINDS = {
    "stock": StockMongoDBJobStore,
    "ours": MongoDBJobStore,
    "ours, mirrored": partial(MongoDBJobStore, mirror=True),
    "ours, shared": partial(MongoDBJobStore, shared=True),
}


@pytest.fixture(params=KINDS)
def store(request, server, database, monkeypatch):
    monkeypatch.setattr(connection, "AWAIT_MS", 20)  # start and shutdown wait for an answer
    with MongoClient(server.uri) as client:
        store = KINDS[request.param](database.name, client=client)
        store.start(None, "alias")
        yield store
        store.shutdown()


def ids(jobs):
    return [found.id for found in jobs]


def test_an_empty_store_has_nothing_due_and_no_next_run_time(store):
    assert store.get_due_jobs(at(0)) == []
    assert store.get_all_jobs() == []
    assert store.get_next_run_time() is None
    assert store.lookup_job("a") is None


def test_jobs_come_in_order_of_time_with_paused_ones_last(store):
    for job_id, seconds in [("d", 2), ("b", None), ("c", 1), ("e", 1.5)]:
        store.add_job(job(job_id, seconds))
    assert ids(store.get_all_jobs()) == ["c", "e", "d", "b"]


def test_due_are_the_jobs_up_to_now_and_those_of_this_very_moment(store):
    for job_id, seconds in [("early", 1), ("now", 2), ("late", 2.000001), ("paused", None)]:
        store.add_job(job(job_id, seconds))
    assert ids(store.get_due_jobs(at(2))) == ["early", "now"]


@pytest.fixture
def in_new_york(monkeypatch):
    """The machine's own time zone, for one test; naive times are not to be in it."""
    monkeypatch.setenv("TZ", "EST5EDT")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_new_york")
def test_a_naive_now_is_utc(store):
    store.add_job(job("a", 1))
    assert ids(store.get_due_jobs(at(1).replace(tzinfo=None))) == ["a"]
    assert store.get_due_jobs(at(0.999999).replace(tzinfo=None)) == []


def test_the_next_run_time_is_that_of_the_first_job_and_aware(store):
    store.add_job(job("b", 2))
    store.add_job(job("a", 1))
    assert store.get_next_run_time() == at(1)


def test_with_only_paused_jobs_there_is_no_next_run_time(store):
    store.add_job(job("a", None))
    assert store.get_next_run_time() is None
    assert store.get_due_jobs(at(10**9)) == []


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
def test_a_job_comes_back_as_it_was(store, zone, seconds):
    given = job("a", 1, args=(1, "é"), kwargs={"b": [2]}, misfire_grace_time=7, max_instances=3)
    given.next_run_time = (at(0) + timedelta(seconds=seconds)).astimezone(zone)
    store.add_job(given)
    for found in (store.lookup_job("a"), *store.get_all_jobs(), *store.get_due_jobs(at(4e9))):
        state, expected = found.__getstate__(), given.__getstate__()
        assert state.pop("trigger").interval == expected.pop("trigger").interval
        assert state == expected
        assert found.next_run_time.utcoffset() == given.next_run_time.utcoffset()
        assert found.func is note
        assert found._jobstore_alias == "alias"
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
def test_a_time_at_the_change_of_the_clocks_comes_back_as_it_was(store, given):
    store.add_job(job("a", next_run_time=given))
    found = store.lookup_job("a").next_run_time
    assert (found.isoformat(), found.fold) == (given.isoformat(), given.fold)
    assert store.get_next_run_time() == given.astimezone(timezone.utc)


def test_a_second_job_of_the_same_id_is_refused(store):
    store.add_job(job("a", 1))
    with pytest.raises(ConflictingIdError, match=r"Job identifier \(a\) conflicts"):
        store.add_job(job("a", 2))
    assert [each.next_run_time for each in store.get_all_jobs()] == [at(1)]


def test_an_update_replaces_the_job(store):
    for job_id, seconds in [("a", 1), ("b", 2), ("c", 3)]:
        store.add_job(job(job_id, seconds))
    store.update_job(job("a", 2.5, args=("new",)))
    assert ids(store.get_all_jobs()) == ["b", "a", "c"]
    assert store.lookup_job("a").args == ("new",)
    store.update_job(job("a", None))
    assert ids(store.get_all_jobs()) == ["b", "c", "a"]
    store.update_job(job("a", 0))
    assert ids(store.get_all_jobs()) == ["a", "b", "c"]


def test_a_job_of_today_is_due_again_after_its_update(store):
    store.add_job(job("a", 1))
    for due in store.get_due_jobs(at(1)):
        due.next_run_time = at(5)
        store.update_job(due)
    assert store.get_next_run_time() == at(5)
    assert store.get_due_jobs(at(4)) == []
    assert ids(store.get_due_jobs(at(5))) == ["a"]


@pytest.mark.parametrize("call", ["update_job", "remove_job"])
def test_what_is_not_there_is_a_lookup_error(store, call):
    store.add_job(job("a", 1))
    with pytest.raises(JobLookupError, match="No job by the id of b was found"):
        getattr(store, call)(job("b", 1) if call == "update_job" else "b")
    assert ids(store.get_all_jobs()) == ["a"]


@pytest.mark.parametrize("job_id", [1, 1.5, b"a"])
def test_an_id_that_is_no_str_is_just_not_there(store, job_id):
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
    """What an application may have for ids."""


class Choice(str, Enum):
    FIRST = "a"


@pytest.mark.parametrize("job_id", [Text("a"), Choice.FIRST], ids=["subclass", "enum"])
def test_an_id_of_a_class_derived_from_str_is_its_characters(store, job_id):
    store.add_job(job(job_id, 1))
    for same in (job_id, "a"):
        assert store.lookup_job(same).id == "a"
    store.update_job(job(job_id, 2))
    assert ids(store.get_due_jobs(at(2))) == ["a"]
    assert ids(store.get_all_jobs()) == ["a"]
    store.remove_job(job_id)
    assert store.get_all_jobs() == []


def test_removing_all_leaves_an_empty_store(store):
    for job_id in "abc":
        store.add_job(job(job_id, 1))
    store.remove_all_jobs()
    assert store.get_all_jobs() == []
    assert store.get_next_run_time() is None


def test_a_job_that_cannot_be_referred_to_is_refused(store):
    with pytest.raises(ValueError, match="could not be determined"):
        store.add_job(job("a", 1, func=lambda: None))
    assert store.get_all_jobs() == []


def test_a_run_time_beyond_the_year_9999_is_refused(store):
    given = job("a", 1)
    given.next_run_time = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
    store.add_job(given)
    assert store.get_next_run_time() == given.next_run_time
    given.next_run_time = datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=2)))
    with pytest.raises(OverflowError):
        store.update_job(given)
    assert store.lookup_job("a").next_run_time.year == 9999
