"""The quarantine: no damaged document stops the others, and none is lost."""

import logging
import pickle
import sys
import types
from datetime import timedelta

import bson
import pytest
from bson import Decimal128, ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

import jobstore.mongodb.writes.retry
from jobstore import ConflictingIdError, MongoDBJobStore
from support.damaged_documents import Fatal, Raises, corpus, damaged, good, state
from support.jobs import YEARS, at, job, names
from support.manual_scheduler import by_hand

KINDS = corpus()
TIMED = [name for name in KINDS if not name.startswith("time is") and name != "time was far"]


def record(store, job_id):
    """The quarantine's record of a job."""
    (found,) = [each for each in store.quarantined() if each.id == job_id]
    return found


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_quarantined_and_stops_nobody(store, name):
    difference, reason = KINDS[name]
    document = damaged(name, difference)
    store.collection.insert_many([good("before", -1), document, good("after", 1)])
    scheduler = by_hand(store)  # its start sweeps up what has no time
    assert scheduler._process_jobs() > 10  # nothing is due any more
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["before", "after"]
    found = record(store, name)
    assert reason in found.reason
    assert found.since.tzinfo is not None
    assert found.next_run_time == (at(0) if name in TIMED else None)
    now = store.collection.find_one({"_id": name})
    assert now.pop("next_run_time") is None
    assert now.pop("quarantine")["reason"] == found.reason
    document.pop("next_run_time")
    assert now == document
    if name != "executor":  # which can be read everywhere
        assert store.lookup_job(name) is None
        assert [each.id for each in store.get_all_jobs()] == ["before", "after"]


def test_all_kinds_at_once(store):
    documents = [damaged(name, difference) for name, (difference, _) in KINDS.items()]
    store.collection.insert_many([*documents, good("after", 1)])
    scheduler = by_hand(store)
    assert scheduler._process_jobs() > 10
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["after"]
    assert sorted(each.id for each in store.quarantined()) == sorted(KINDS)
    assert len(store) == len(KINDS) + 1


@pytest.mark.parametrize(
    "invalid", [5, 5.5, ObjectId("0123456789abcdef01234567"), {"a": 1}, None, b"x", True], ids=repr
)
def test_a_document_whose_id_is_no_text(store, invalid):
    store.collection.insert_many([{**good("invalid"), "_id": invalid}, good("after", 1)])
    scheduler = by_hand(store)
    assert scheduler._process_jobs() > 10
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["after"]
    assert "its state is that of job 'invalid'" in record(store, invalid).reason
    assert store.restore_quarantined([invalid]) == []
    store.remove_jobs([invalid] if isinstance(invalid, int | float | bytes) else [])


def test_a_document_whose_id_is_not_utf_8_is_passed_over(store, caplog):
    """No statement of the driver's can name it."""
    there, here = b"\2_id\0\3\0\0\0XX", b"\2_id\0\3\0\0\0\xff\xfe"
    document = bson.encode({**good("XX"), "_id": "XX"}).replace(there, here)
    store.collection.insert_many([RawBSONDocument(document), good("after", 1)])
    scheduler = by_hand(store)
    for _ in range(3):
        assert scheduler._process_jobs() > 10
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["after"]
    assert caplog.text.count("its state is that of job 'XX'") == 1
    assert len(store) == 2


@pytest.fixture
def module():
    """A module that can go and come back, with a function `work`."""
    module = types.ModuleType("deployed")
    module.work = types.FunctionType((lambda: None).__code__, {}, "work")
    module.work.__module__, module.work.__qualname__ = "deployed", "work"

    def deploy(there):
        if there:
            sys.modules["deployed"] = module
        else:
            sys.modules.pop("deployed", None)

    deploy(True)
    yield deploy
    deploy(False)


@pytest.fixture
def lost(store, module):
    """A store with a job, due at 7 s, that a deploy made unreadable, and one in front of it."""
    store.add_jobs([job("good", 1), job("lost", 7, func="deployed:work")])
    module(False)
    scheduler = by_hand(store)
    scheduler._process_jobs()
    assert [each.id for each in store.quarantined()] == ["lost"]
    return scheduler


def is_back(store):
    document = store.collection.find_one({"_id": "lost"})
    return document["next_run_time"] == at(7).timestamp() and "quarantine" not in document


def test_a_good_deploy_heals_what_a_bad_one_broke(store, lost, module):
    assert store.restore_quarantined() == []
    module(True)
    assert store.lookup_job("lost").next_run_time == at(7)  # it can be read, and is still kept
    assert store.restore_quarantined(["good", "nobody"]) == []
    assert store.restore_quarantined(["lost"]) == ["lost"]
    assert is_back(store)
    lost._process_jobs()
    assert lost.executor.submitted[-1] == ("lost", [at(7)])


def test_a_start_puts_back_what_loads_again(store, lost, module):
    module(True)
    again = by_hand(store)
    assert is_back(store)
    again._process_jobs()
    assert again.executor.submitted == [("lost", [at(7)])]


def test_the_cycle_puts_back_every_ten_minutes(store, lost, module, monkeypatch):
    module(True)
    lost._process_jobs()
    assert not is_back(store)
    due_at = store._lifecycle._retry._next_at
    monkeypatch.setattr(jobstore.mongodb.writes.retry.time, "monotonic", lambda: due_at)
    lost._process_jobs()
    assert lost.executor.submitted[-1] == ("lost", [at(7)])


def test_thousands_come_back_in_few_commands(store, commands):
    store.add_jobs([job(f"{i:04}", i, executor="gpu") for i in range(2_500)])
    scheduler = by_hand(store)
    for _ in range(3):
        scheduler._process_jobs()
    assert len(store.quarantined()) == 2_500
    scheduler.add_executor(scheduler.executor, "gpu")
    commands.names.clear()
    assert sorted(store.restore_quarantined()) == [f"{i:04}" for i in range(2_500)]
    assert len(commands.names) < 20
    assert store.quarantined() == []


def test_a_job_whose_executor_comes_back(store):
    store.add_job(job("a", 1, executor="gpu"))
    scheduler = by_hand(store)
    scheduler._process_jobs()
    assert record(store, "a").reason == "there is no executor 'gpu' here"
    scheduler.add_executor(scheduler.executor, "gpu")
    assert store.restore_quarantined() == ["a"]


def test_a_process_without_the_modules_disturbs_nobody(store, database, server, module, caplog):
    """Reads quarantine nothing: a web process is no judge of what the worker can run."""
    store.add_jobs([job("good", 8), job("lost", 7, func="deployed:work")])
    module(False)
    before = list(store.collection.find())
    for _ in range(2):
        assert store.lookup_job("lost") is None
        assert [each.id for each in store.get_all_jobs()] == ["good"]
        assert store.get_next_run_time() == at(8)
    assert list(store.collection.find()) == before
    assert caplog.text.count('Unable to restore job "lost" -- passing it over') == 1
    store.collection.update_one({"_id": "lost"}, {"$set": {"next_run_time": at(6).timestamp()}})
    assert store.get_next_run_time() == at(6)  # it was written since


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_is_not_caught(store, error):
    document = damaged("a", {"job_state": state("a", args=(Raises(error()),))})
    store.collection.insert_one(document)
    for read in (
        store.get_all_jobs,
        lambda: store.lookup_job("a"),
        lambda: store.get_due_jobs(at(1)),
    ):
        with pytest.raises(error):
            read()
    assert list(store.collection.find()) == [document]


def test_unreadable_remove_deletes_as_stock_does(server, database):
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client, unreadable="remove")
        documents = [damaged(name, difference) for name, (difference, _) in KINDS.items()]
        store.collection.insert_many([*documents, good("after", 1)])
        scheduler = by_hand(store)
        scheduler._process_jobs()
        assert names(store) == ["after"]
        assert [job_id for job_id, _ in scheduler.executor.submitted] == ["after"]


def test_thousands_of_damaged_ones_delay_the_good_by_cycles_only(store):
    bad = {**good("bad"), "job_state": b"garbage"}
    store.collection.insert_many({**bad, "_id": f"bad {i:04}"} for i in range(5_000))
    store.add_jobs([job("good", 1), job("second", 2)])
    scheduler = by_hand(store)
    for _ in range(6):
        scheduler._process_jobs()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["good", "second"]
    assert len(store.quarantined()) == 5_000


def test_where_marking_fails_the_good_ones_run(store, caplog):
    """A collection whose validator refuses the mark."""
    rule = {"quarantine": {"$exists": False}}
    store.collection.database.command("create", "jobs", validator=rule)
    store.collection.insert_many(
        [damaged(f"bad {i}", {"job_state": b"garbage", "_id": f"bad {i}"}) for i in range(3)]
    )
    store.add_jobs([job("good", 1)])
    before = list(store.collection.find({"_id": {"$ne": "good"}}))
    scheduler = by_hand(store)
    assert scheduler._process_jobs() > 10
    assert scheduler._process_jobs() > 10
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["good"]
    assert list(store.collection.find({"_id": {"$ne": "good"}})) == before
    assert caplog.text.count("Unable to restore 3 jobs (bad 0, bad 1, bad 2)") == 1


def test_many_that_cannot_be_marked_do_not_fill_the_batch(server, database):
    with MongoClient(server.uri) as client:
        rule = {"quarantine": {"$exists": False}}
        database.command("create", "jobs", validator=rule)
        store = MongoDBJobStore(database.name, client=client, batch_size=2)
        bad = [damaged(f"bad {i}", {"job_state": b"garbage", "_id": f"bad {i}"}) for i in range(9)]
        store.collection.insert_many(bad)
        store.add_jobs([job("good", 1)])
        scheduler = by_hand(store)
        for _ in range(6):
            scheduler._process_jobs()
        assert [job_id for job_id, _ in scheduler.executor.submitted] == ["good"]


def test_what_was_changed_since_it_was_read_is_not_quarantined(store):
    store.collection.insert_one({**good("a"), "job_state": b"garbage"})
    scheduler = by_hand(store)
    put = store._quarantine.put

    def mended_meanwhile(verdicts):
        store.collection.replace_one({"_id": "a"}, good("a"))
        put(verdicts)

    store._quarantine.put = mended_meanwhile
    scheduler._process_jobs()
    assert store.quarantined() == []
    scheduler._process_jobs()
    assert scheduler.executor.submitted == [("a", [at(0)])]


# In quarantine a job is a job


def test_it_can_be_removed(store, lost):
    store.remove_job("lost")
    assert names(store) == ["good"]


def test_it_keeps_its_id(store, lost):
    with pytest.raises(ConflictingIdError):
        store.add_job(job("lost", 9))


@pytest.mark.parametrize("call", ["update_job", "update_jobs", "add_jobs"])
def test_it_can_be_replaced_and_is_free_then(store, lost, call):
    newer = job("lost", 9)
    {
        "update_job": lambda: store.update_job(newer),
        "update_jobs": lambda: store.update_jobs([newer]),
        "add_jobs": lambda: store.add_jobs([newer], replace_existing=True),
    }[call]()
    assert store.quarantined() == []
    lost._process_jobs()
    assert lost.executor.submitted[-1] == ("lost", [at(9)])


def test_it_is_removed_with_all(store, lost):
    store.remove_all_jobs()
    assert names(store) == []
    assert store.quarantined() == []


def test_a_readable_one_is_shown_at_the_time_that_it_was_due(store, lost, module):
    module(True)
    assert [(each.id, each.next_run_time) for each in store.get_all_jobs()] == [
        ("lost", at(7)),
        ("good", at(YEARS + 1)),
    ]


def test_a_job_that_the_server_refuses_is_quarantined_alone(store):
    """As a validator may, for the sake of a user's own rules."""
    store.add_jobs([job(f"{i:03}", i) for i in range(250)])
    rule = {
        "$or": [{"_id": {"$ne": "107"}}, {"next_run_time": {"$not": {"$gt": at(1000).timestamp()}}}]
    }
    store.collection.database.command("collMod", "jobs", validator=rule)
    scheduler = by_hand(store)
    scheduler._process_jobs()
    assert [each.id for each in store.quarantined()] == ["107"]
    assert "can't be written: Document failed validation" in record(store, "107").reason
    assert record(store, "107").next_run_time == at(YEARS + 107)
    assert (
        store.collection.count_documents({"next_run_time": {"$gte": at(YEARS).timestamp()}}) == 249
    )


def test_the_truth_is_the_documents_time_not_the_states(store):
    moment = at(5) + timedelta(microseconds=3)
    document = {**good("a", 1), "next_run_time": moment.timestamp()}
    store.collection.insert_one(document)
    assert store.lookup_job("a").next_run_time == moment
    assert store.get_due_jobs(at(2)) == []
    (due,) = store.get_due_jobs(at(6))
    assert due.next_run_time == moment


def test_odd_times_to_come_hide_nobodys(store):
    invalid = [Decimal128("2e9"), [2e9], Decimal128("2000000001")]
    store.collection.insert_many(
        {**good(f"{i}"), "next_run_time": t} for i, t in enumerate(invalid)
    )
    assert store.get_next_run_time() is None
    store.add_job(job("a", 3e9))
    assert store.get_next_run_time() == at(3e9)
    assert [each.id for each in store.get_due_jobs(at(4e9))] == ["a"]
    assert len(store.quarantined()) == 3


def test_a_fatal_error_says_what_it_was(store, caplog):
    with caplog.at_level(logging.ERROR):
        state_ = pickle.dumps({**job("a").__getstate__(), "args": (Raises(Fatal("x\0y")),)})
        store.collection.insert_one({**good("a"), "job_state": state_})
        store.get_due_jobs(at(1))
    assert 'Unable to restore job "a" -- quarantining it: Fatal: x' in caplog.text
