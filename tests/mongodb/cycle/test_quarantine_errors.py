"""Errors about a job in quarantine, or its id, say since when it is there, and why."""

import pickle
from datetime import datetime, timezone
from functools import partial

import pytest
from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore
from pymongo import MongoClient

import jobstore
from jobstore import ConflictingIdError, ConflictingIdsError, JobLookupError, JobsLookupError
from support.damaged_documents import good
from support.jobs import at, job
from support.manual_scheduler import by_hand
from support.mirrored_stores import wait_until_equal

WHY = "UnpicklingError"
LOOKUPS = {
    "modify": lambda scheduler: scheduler.modify_job("lost", name="other"),
    "reschedule": lambda scheduler: scheduler.reschedule_job("lost", trigger="interval", days=1),
    "pause": lambda scheduler: scheduler.pause_job("lost"),
    "resume": lambda scheduler: scheduler.resume_job("lost"),
}


def quarantined(name):
    """Make the document of a quarantined job that can't be restored."""
    mark = {"reason": f"{WHY}: bad.", "since": datetime.now(timezone.utc), "next_run_time": 0.0}
    return {**good(name), "job_state": b"garbage", "next_run_time": None, "quarantine": mark}


@pytest.fixture(params=["queried", "mirrored", "shared"])
def scheduler(request):
    """A scheduler with the job "lost", in quarantine, and the job "good"."""
    if request.param == "mirrored":
        scheduler, store = request.getfixturevalue("start")()
    elif request.param == "shared":
        store = request.getfixturevalue("make")()
        scheduler = by_hand(store)
    else:
        store = request.getfixturevalue("store")
        scheduler = by_hand(store)
    store.collection.insert_one(quarantined("lost"))
    store.add_job(job("good", 1))
    scheduler._process_jobs()
    if request.param == "mirrored":
        wait_until_equal(store)
        assert store._reader.is_live
    return scheduler


def store_of(scheduler):
    return scheduler._lookup_jobstore("default")


@pytest.mark.parametrize("call", LOOKUPS)
def test_changing_a_quarantined_job_raises_an_error_with_the_reason(scheduler, call):
    since = store_of(scheduler).quarantined()[0].since
    with pytest.raises(JobLookupError) as raised:
        LOOKUPS[call](scheduler)
    text = str(raised.value)
    assert "Job lost is in quarantine" in text
    assert WHY in text
    assert f"{since:%Y-%m-%d %H:%M}" in text
    assert "bad. Fix that and call restore_quarantined" in text
    assert str(pickle.loads(pickle.dumps(raised.value))) == text


def test_lookup_of_a_quarantined_job_returns_none(scheduler):
    assert scheduler.get_job("lost") is None
    assert store_of(scheduler).lookup_job("lost") is None

    def _lookup_job():  # an application's own function may have this name
        return store_of(scheduler).lookup_job("lost")

    assert _lookup_job() is None


def test_changing_an_unknown_job_raises_a_plain_lookup_error(scheduler):
    with pytest.raises(JobLookupError, match="No job by the id of nobody was found"):
        scheduler.pause_job("nobody")


def test_changing_an_unrestorable_job_raises_an_error_with_the_reason(store):
    store.collection.insert_one({**good("lost", 9e9), "job_state": b"\xff"})
    scheduler = by_hand(store)
    with pytest.raises(JobLookupError, match=f"Job lost can't be restored here: {WHY}") as raised:
        scheduler.pause_job("lost")
    assert "'. Fix that" in str(raised.value), "the full stop of pickle's text is not doubled"
    assert store.quarantined() == []


def test_adding_a_quarantined_id_raises_an_error_with_the_reason(scheduler):
    for add in (
        lambda: scheduler.add_job("support.jobs:note", id="lost"),
        lambda: store_of(scheduler).add_job(job("lost", 9)),
    ):
        with pytest.raises(ConflictingIdError) as raised:
            add()
        text = str(raised.value)
        assert "(lost) conflicts with an existing job, which is in quarantine" in text
        assert WHY in text
        assert "bad. Replace it with replace_existing=True" in text
        assert str(pickle.loads(pickle.dumps(raised.value))) == text


def test_adding_the_id_of_a_good_job_raises_a_plain_conflict(scheduler):
    with pytest.raises(ConflictingIdError, match=r"\(good\) conflicts with an existing job'$"):
        scheduler.add_job("support.jobs:note", id="good")


def test_replacing_a_quarantined_job_costs_no_more_commands(store, commands):
    store.collection.insert_one({**good("lost"), "job_state": b"garbage"})
    scheduler = by_hand(store)
    scheduler._process_jobs()
    commands.names.clear()
    scheduler.add_job("support.jobs:note", "interval", days=9, id="lost", replace_existing=True)
    assert commands.names == ["insert", "update"]
    assert store.quarantined() == []
    assert scheduler.get_job("lost").trigger.interval.days == 9


@pytest.mark.parametrize("through", ["store", "scheduler"])
def test_bulk_conflict_names_the_ids_in_quarantine(scheduler, through):
    new = [job("good", 5), job("lost", 5), job("new", 5)]
    add = (
        store_of(scheduler).add_jobs
        if through == "store"
        else partial(jobstore.add_jobs, scheduler)
    )
    with pytest.raises(ConflictingIdsError) as raised:
        add(new)
    error = raised.value
    assert error.job_ids == ["good", "lost"]
    text = str(error)
    assert "(good, lost) conflicts" in text
    assert text.index("in quarantine: lost (") < text.index(WHY)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.job_ids) == (text, error.job_ids)
    assert scheduler.get_job("new").next_run_time == at(5)


def test_bulk_conflict_gives_ten_reasons_at_most(store):
    store.collection.insert_many([quarantined(f"{i:02}") for i in range(30)])
    with pytest.raises(ConflictingIdsError) as raised:
        store.add_jobs([job(f"{i:02}", 9) for i in range(30)])
    _, text = str(raised.value).split("in quarantine: ")
    assert text.count(WHY) == 10
    assert "and 20 more" in text


def test_update_jobs_replaces_a_quarantined_job(scheduler):
    store = store_of(scheduler)
    with pytest.raises(JobsLookupError) as raised:
        store.update_jobs([job("lost", 9), job("nobody", 9)])
    assert raised.value.job_ids == ["nobody"]
    assert store.quarantined() == []
    assert scheduler.get_job("lost").next_run_time == at(9)


def test_job_with_a_quarantined_id_is_found_in_another_store(scheduler):
    scheduler.add_jobstore(StockMemoryJobStore(), "other")
    scheduler.add_job("support.jobs:note", "interval", days=9, id="lost", jobstore="other")
    assert scheduler.modify_job("lost", name="found").name == "found"
    scheduler.remove_job("lost", "other")
    with pytest.raises(JobLookupError, match="in quarantine"):
        scheduler.modify_job("lost", name="found")


def test_changing_a_job_quarantined_in_two_stores_raises_an_error(store, database, server):
    with MongoClient(server.uri) as client:
        other = jobstore.MongoDBJobStore(database.name, "more", client=client)
        for each in (store, other):
            each.collection.insert_one({**good("lost"), "job_state": b"garbage"})
        scheduler = by_hand(store)
        scheduler.add_jobstore(other, "other")
        scheduler._process_jobs()
        with pytest.raises(JobLookupError, match="in quarantine"):
            scheduler.pause_job("lost")
        other.shutdown()


def test_error_is_plain_when_the_reason_cannot_be_read(server, database):
    """The call still adds the jobs without a conflict."""
    point = {"configureFailPoint": "failCommand"}
    failing = {"failCommands": ["find"], "appName": "faulty", "errorCode": 2}
    with MongoClient(server.uri, appname="faulty") as client:
        store = jobstore.MongoDBJobStore(database.name, client=client)
        store.collection.insert_one(quarantined("lost"))
        client.admin.command({**point, "mode": "alwaysOn", "data": failing})
        try:
            with pytest.raises(ConflictingIdError, match=r"existing job'$"):
                store.add_job(job("lost", 9))
            with pytest.raises(ConflictingIdsError, match=r"existing job'$"):
                store.add_jobs([job("lost", 9), job("new", 9)])
        finally:
            client.admin.command({**point, "mode": "off"})
        assert store.lookup_job("new").next_run_time == at(9)
        store.shutdown()


def test_job_leaves_the_quarantine_when_its_missing_executor_is_changed(store):
    store.add_job(job("lost", 1, executor="gone"))
    scheduler = by_hand(store)
    scheduler._process_jobs()
    assert [each.id for each in store.quarantined()] == ["lost"]
    scheduler.modify_job("lost", executor="default")
    scheduler._process_jobs()
    assert scheduler.executor.submitted == [("lost", [at(1)])]
