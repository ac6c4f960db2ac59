"""Jobs that are left to other schedulers, and the mark of a shared collection."""

import logging
from datetime import datetime, timedelta, timezone

import pytest
from bson import Code, encode
from bson.raw_bson import RawBSONDocument

from jobstore import MongoDBJobStore
from jobstore.mongodb import queries
from jobstore.mongodb.sharing import claims
from support.jobs import at, job, names
from support.manual_scheduler import Submissions, by_hand
from support.shared_stores import ids, leased, run, run_all_due

# Jobs that this process can't run


def test_a_job_whose_executor_is_elsewhere_is_left_to_others(make, caplog):
    caplog.set_level(logging.INFO)
    here, there = make(), make()
    here.add_jobs([job("a"), job("b", 1, executor="special"), job("c", 2)])
    assert run(here)[0] == ["a", "c"]
    assert 'Leaving job "b" to other schedulers: there is no executor' in caplog.text
    assert leased(here) == []
    assert 0 < run(here)[1] <= 60, "this scheduler waits for the retry in a minute"
    scheduler = by_hand(there)
    scheduler.add_executor(Submissions(), "special")
    scheduler._process_jobs()
    assert scheduler._executors["special"].submitted[0][0] == "b"
    assert here.quarantined() == []


def damaged(store, name):
    store.collection.update_one({"_id": name}, {"$set": {"job_state": b"no pickle"}})


@pytest.mark.parametrize("fault", ["damaged", "no executor"])
def test_job_that_no_scheduler_takes_for_a_minute_is_quarantined(make, clock, caplog, fault):
    store = make()
    store.add_jobs(
        [job("a"), job("b", 1, executor="gone" if fault == "no executor" else "default")]
    )
    if fault == "damaged":
        damaged(store, "b")
    run(store)
    clock.advance(59)
    run(store)
    assert store.quarantined() == []
    clock.advance(2)
    run(store)
    assert ids(store.quarantined()) == ["b"]
    assert leased(store) == []


def test_restored_job_waits_another_minute_for_other_schedulers(make, clock):
    here, there = make(), make(start=False)
    here.add_job(job("b", executor="special"))
    run(here)
    clock.advance(61)
    run(here)
    assert ids(here.quarantined()) == ["b"]
    assert by_hand(there)
    there._scheduler.add_executor(Submissions(), "special")
    assert there.restore_quarantined() == ["b"]
    run(here)
    assert here.quarantined() == []
    run(there)
    assert there._scheduler._executors["special"].submitted[0][0] == "b"


def test_minute_starts_again_when_others_have_run_the_job(make, clock):
    store = make()
    store.add_job(job("b", executor="special"))
    run(store)
    clock.advance(61)
    store.collection.update_one({"_id": "b"}, {"$set": {"next_run_time": at(5).timestamp()}})
    run(store)
    clock.advance(59)
    run(store)
    assert store.quarantined() == []
    clock.advance(2)
    run(store)
    assert ids(store.quarantined()) == ["b"]


def test_many_unrunnable_jobs_do_not_hold_up_others(make, monkeypatch):
    monkeypatch.setattr(claims, "MAX_IDS", 3)
    store = make(batch_size=2)
    store.add_jobs([job(f"{n}", n, executor="special") for n in range(7)])
    store.add_job(job("good", 8))
    assert run_all_due(store) == ["good"]
    store.commands.names.clear()
    assert 50 < run(store)[1] <= 60, "the retry is due when the minute is over"
    assert store.commands.names == ["find", "aggregate"]


def test_unrunnable_job_that_is_rescheduled_is_left_to_others_again(make, stock):
    """Otherwise the scheduler would wake for it again and again without a pause."""
    store = make()
    store.add_jobs([job("b", executor="special")])
    run(store)
    stock.update_job(job("b", 5, executor="special"))
    run(store)
    assert 50 < run(store)[1] <= 60


@pytest.mark.parametrize("shared", [True, False])
def test_invalid_utf8_ids_that_read_alike_do_not_hold_up_other_jobs(make, shared):
    store = make(shared=shared)
    for number in range(3):
        document = encode({"_id": "XX", "next_run_time": at(number).timestamp()})
        raw = document.replace(b"XX", b"\xff" + bytes([0xF8 + number]))
        store.collection.insert_one(RawBSONDocument(raw))
    store.add_job(job("a", 3))
    assert run(store)[0] == ["a"]
    run(store)
    wait = run(store)[1]
    assert wait is None or wait > 50


def test_id_with_a_replacement_character_is_valid(make):
    store = make()
    store.add_jobs([job("a\ufffd"), job("b", 1)])
    assert run(store)[0] == ["a\ufffd", "b"]


@pytest.mark.parametrize("shared", [True, False])
def test_code_as_id_does_not_hold_up_other_jobs(make, shared):
    """`bson.Code` is a subclass of `str` without a hash."""
    store = make(shared=shared)
    store.collection.insert_one({"_id": Code("x"), "next_run_time": at(0).timestamp()})
    store.add_job(job("a", 1))
    assert run(store)[0] == ["a"]
    assert run(store)[1] > 50


@pytest.mark.parametrize(
    "repair",
    [
        lambda store: store.update_job(job("b")),
        lambda store: store.add_jobs([job("b", 1)], replace_existing=True),
        lambda store: (store.remove_job("b"), store.add_job(job("b", 2))),
        lambda store: (store.remove_jobs(["b"]), store.add_jobs([job("b", 2)])),
    ],
)
def test_a_job_that_is_repaired_here_runs_at_once(make, repair):
    store = make()
    store.add_jobs([job("b", executor="special")])
    run(store)
    repair(store)
    assert run(store)[0] == ["b"]


def test_a_job_that_others_reschedule_and_repair_runs_at_once(make, stock):
    store = make()
    store.add_jobs([job("b", executor="special")])
    run(store)
    stock.update_job(job("b", 1))
    assert run(store)[0] == ["b"]


def test_restart_retries_unrunnable_jobs(make):
    store = make()
    store.add_job(job("b", executor="special"))
    run(store)
    store.shutdown()
    scheduler = by_hand(store)
    scheduler.add_executor(scheduler.executor, "special")
    assert run(store)[0] == ["b"]


def test_scheduler_with_a_clock_ahead_does_not_quarantine_jobs_not_yet_due(make, clock):
    ahead = make()
    soon = datetime.now(timezone.utc) + timedelta(seconds=200)
    ahead.add_job(job("b", executor="special", next_run_time=soon))
    by_hand(ahead)
    for _ in range(3):
        assert ahead.get_due_jobs(soon + timedelta(seconds=1)) == []
        ahead.get_next_run_time()
        assert ahead.quarantined() == []
        assert leased(ahead) == []
        clock.advance(61)


def test_id_that_is_not_a_string_does_not_hold_up_other_jobs(make, clock):
    """No job has such an id. A document with one is quarantined, as without sharing."""
    store = make()
    store.add_jobs([job("a"), job("b", 2)])
    store.collection.insert_one({"_id": {"x": 1}, "next_run_time": at(1).timestamp()})
    assert run(store)[0] == ["a", "b"]
    assert leased(store) == []
    clock.advance(61)
    run(store)
    assert ids(store.quarantined()) == [{"x": 1}]


def test_invalid_utf8_id_does_not_hold_up_other_jobs(make):
    store = make()
    store.add_jobs([job("a"), job("b", 2)])
    document = encode({"_id": "XX", "next_run_time": at(1).timestamp()})
    raw = RawBSONDocument(document.replace(b"XX", b"\xff\xff"))
    store.collection.insert_one(raw)
    assert run(store)[0] == ["a", "b"]
    assert 50 < run(store)[1] <= 60


def test_document_that_a_validator_refuses_to_claim_does_not_hold_up_other_jobs(make, caplog):
    caplog.set_level(logging.INFO)
    store = make()
    store.add_jobs([job("a"), job("b", 1), job("c", 2)])
    store.collection.database.command(
        "collMod", "jobs", validator={"$or": [{"_id": {"$ne": "b"}}, {"acquired_by": None}]}
    )
    assert run(store)[0] == ["a", "c"]
    assert leased(store) == []
    assert 'Leaving job "b" to other schedulers: Document failed validation' in caplog.text
    assert 50 < run(store)[1] <= 60


# The mark


def test_scheduler_without_shared_does_not_start_on_a_shared_collection(make):
    make()
    other = make(shared=False, start=False)
    with pytest.raises(ValueError, match=r"shared is False.*Say shared=True.*end_sharing"):
        other.start(None, "default")
    other.remove_all_jobs()
    with pytest.raises(ValueError, match="shared is False"):
        other.start(None, "default")


def test_the_mark_stays_until_sharing_is_ended(make):
    store = make()
    store.add_jobs([job("a"), job("b", 1)])
    run(store)
    store.get_due_jobs(at(10))
    store.shutdown()
    other = make(shared=False, start=False)
    other.end_sharing()
    for document in other.collection.find():
        assert sorted(document) == ["_id", "about", "job_state", "next_run_time"]
    other.start(None, "default")
    assert names(other) == ["a", "b"]


def test_end_sharing_removes_claims_in_small_statements(make, monkeypatch):
    monkeypatch.setattr(queries, "MAX_IDS", 2)
    store = make()
    store.add_jobs([job(name, every=None) for name in "abcde"])
    store.get_due_jobs(at(10))
    store.collection.insert_one({"_id": "f", "next_run_time": None})
    store.commands.names.clear()
    store.end_sharing()
    assert store.commands.names.count("update") == 3
    assert all("acquired_by" not in document for document in store.collection.find())
    store.commands.names.clear()
    store.remove_all_jobs()
    assert store.commands.names.count("delete") == 3
    assert names(store) == []


def test_mark_keeps_the_time_of_the_first_start(make, database):
    make()
    since = database["jobs_meta"].find_one("sharing")["since"]
    make()
    assert database["jobs_meta"].find_one("sharing") == {"_id": "sharing", "since": since}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mirror": True}, "shared is True and mirror is True"),
        ({"mirror": "exclusive"}, "shared is True and mirror is 'exclusive'"),
        ({"lease": 0}, "lease is 0"),
        ({"lease": 0.9}, "lease is 0.9"),
        ({"lease": 86_401}, "lease is 86401"),
        ({"lease": True}, "lease is True"),
        ({"lease": float("inf")}, "lease is inf"),
        ({"lease": "10"}, "lease is '10'"),
        ({"shared": "yes"}, "shared is 'yes'"),
    ],
)
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MongoDBJobStore(**{"shared": True, **options})
