"""The quarantine: a damaged document doesn't stop other jobs, and is not lost."""

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


def entry(store, job_id):
    """Return a job's entry in the list of quarantined jobs."""
    (found,) = [each for each in store.quarantined() if each.id == job_id]
    return found


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_damaged_document_is_quarantined_and_other_jobs_run(store, name):
    difference, reason = KINDS[name]
    document = damaged(name, difference)
    store.collection.insert_many([good("before", -1), document, good("after", 1)])
    scheduler = by_hand(store)  # its start quarantines documents with an invalid run time
    assert scheduler._process_jobs() > 10  # no job is due any more
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["before", "after"]
    found = entry(store, name)
    assert reason in found.reason
    assert found.since.tzinfo is not None
    assert found.next_run_time == (at(0) if name in TIMED else None)
    now = store.collection.find_one({"_id": name})
    assert now.pop("next_run_time") is None
    assert now.pop("quarantine")["reason"] == found.reason
    document.pop("next_run_time")
    assert now == document
    if name != "executor":  # such a job can be restored, but not run here
        assert store.lookup_job(name) is None
        assert [each.id for each in store.get_all_jobs()] == ["before", "after"]


def test_all_kinds_of_damaged_documents_are_quarantined_together(store):
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
def test_document_whose_id_is_not_a_string_is_quarantined(store, invalid):
    store.collection.insert_many([{**good("invalid"), "_id": invalid}, good("after", 1)])
    scheduler = by_hand(store)
    assert scheduler._process_jobs() > 10
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["after"]
    assert "its state is that of job 'invalid'" in entry(store, invalid).reason
    assert store.restore_quarantined([invalid]) == []
    store.remove_jobs([invalid] if isinstance(invalid, int | float | bytes) else [])


def test_document_whose_id_is_not_utf_8_is_passed_over(store, caplog):
    """No statement of the driver can name such an id."""
    valid_id, invalid_id = b"\2_id\0\3\0\0\0XX", b"\2_id\0\3\0\0\0\xff\xfe"
    document = bson.encode({**good("XX"), "_id": "XX"}).replace(valid_id, invalid_id)
    store.collection.insert_many([RawBSONDocument(document), good("after", 1)])
    scheduler = by_hand(store)
    for _ in range(3):
        assert scheduler._process_jobs() > 10
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["after"]
    assert caplog.text.count("its state is that of job 'XX'") == 1
    assert len(store) == 2


@pytest.fixture
def module():
    """A function that deploys a module with a function `work`, or removes it."""
    module = types.ModuleType("deployed")
    module.work = types.FunctionType((lambda: None).__code__, {}, "work")
    module.work.__module__, module.work.__qualname__ = "deployed", "work"

    def deploy(exists):
        if exists:
            sys.modules["deployed"] = module
        else:
            sys.modules.pop("deployed", None)

    deploy(True)
    yield deploy
    deploy(False)


@pytest.fixture
def lost(store, module):
    """A scheduler with a job in quarantine, due at 7 s: a deploy has removed its module."""
    store.add_jobs([job("good", 1), job("lost", 7, func="deployed:work")])
    module(False)
    scheduler = by_hand(store)
    scheduler._process_jobs()
    assert [each.id for each in store.quarantined()] == ["lost"]
    return scheduler


def is_back(store):
    document = store.collection.find_one({"_id": "lost"})
    return document["next_run_time"] == at(7).timestamp() and "quarantine" not in document


def test_job_is_put_back_by_its_id_after_its_module_is_deployed_again(store, lost, module):
    assert store.restore_quarantined() == []
    module(True)
    assert store.lookup_job("lost").next_run_time == at(
        7
    )  # it can be restored, and stays in quarantine
    assert store.restore_quarantined(["good", "nobody"]) == []
    assert store.restore_quarantined(["lost"]) == ["lost"]
    assert is_back(store)
    lost._process_jobs()
    assert lost.executor.submitted[-1] == ("lost", [at(7)])


def test_start_puts_back_jobs_that_can_be_restored(store, lost, module):
    module(True)
    again = by_hand(store)
    assert is_back(store)
    again._process_jobs()
    assert again.executor.submitted == [("lost", [at(7)])]


def test_cycle_puts_jobs_back_every_ten_minutes(store, lost, module, monkeypatch):
    module(True)
    lost._process_jobs()
    assert not is_back(store)
    due_at = store._lifecycle._retry._next_at
    monkeypatch.setattr(jobstore.mongodb.writes.retry.time, "monotonic", lambda: due_at)
    lost._process_jobs()
    assert lost.executor.submitted[-1] == ("lost", [at(7)])


def test_thousands_of_jobs_are_put_back_in_few_commands(store, commands):
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


def test_job_is_put_back_when_its_executor_exists_again(store):
    store.add_job(job("a", 1, executor="gpu"))
    scheduler = by_hand(store)
    scheduler._process_jobs()
    assert entry(store, "a").reason == "there is no executor 'gpu' here"
    scheduler.add_executor(scheduler.executor, "gpu")
    assert store.restore_quarantined() == ["a"]


def test_reads_in_a_process_without_the_module_quarantine_nothing(
    store, database, server, module, caplog
):
    """A web process can't tell which jobs a worker process can run."""
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
    assert store.get_next_run_time() == at(6)  # the document has changed since


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_keyboard_interrupt_and_system_exit_of_a_state_are_raised(store, error):
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


def test_unreadable_jobs_are_removed_with_unreadable_remove(server, database):
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client, unreadable="remove")
        documents = [damaged(name, difference) for name, (difference, _) in KINDS.items()]
        store.collection.insert_many([*documents, good("after", 1)])
        scheduler = by_hand(store)
        scheduler._process_jobs()
        assert names(store) == ["after"]
        assert [job_id for job_id, _ in scheduler.executor.submitted] == ["after"]


def test_good_jobs_run_within_six_cycles_behind_thousands_of_damaged_ones(store):
    bad = {**good("bad"), "job_state": b"garbage"}
    store.collection.insert_many({**bad, "_id": f"bad {i:04}"} for i in range(5_000))
    store.add_jobs([job("good", 1), job("second", 2)])
    scheduler = by_hand(store)
    for _ in range(6):
        scheduler._process_jobs()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["good", "second"]
    assert len(store.quarantined()) == 5_000


def test_good_jobs_run_when_damaged_ones_cannot_be_marked(store, caplog):
    """The collection's validator refuses the mark."""
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


def test_unmarked_documents_do_not_fill_the_batch(server, database):
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


def test_document_changed_since_it_was_read_is_not_quarantined(store):
    store.collection.insert_one({**good("a"), "job_state": b"garbage"})
    scheduler = by_hand(store)
    put = store._quarantine.put

    def mended_meanwhile(writes):
        store.collection.replace_one({"_id": "a"}, good("a"))
        put(writes)

    store._quarantine.put = mended_meanwhile
    scheduler._process_jobs()
    assert store.quarantined() == []
    scheduler._process_jobs()
    assert scheduler.executor.submitted == [("a", [at(0)])]


# Calls for a job in quarantine


def test_quarantined_job_can_be_removed(store, lost):
    store.remove_job("lost")
    assert names(store) == ["good"]


def test_quarantined_job_keeps_its_id(store, lost):
    with pytest.raises(ConflictingIdError):
        store.add_job(job("lost", 9))


@pytest.mark.parametrize("call", ["update_job", "update_jobs", "add_jobs"])
def test_replaced_job_leaves_the_quarantine(store, lost, call):
    newer = job("lost", 9)
    {
        "update_job": lambda: store.update_job(newer),
        "update_jobs": lambda: store.update_jobs([newer]),
        "add_jobs": lambda: store.add_jobs([newer], replace_existing=True),
    }[call]()
    assert store.quarantined() == []
    lost._process_jobs()
    assert lost.executor.submitted[-1] == ("lost", [at(9)])


def test_remove_all_jobs_removes_quarantined_jobs(store, lost):
    store.remove_all_jobs()
    assert names(store) == []
    assert store.quarantined() == []


def test_restorable_job_in_quarantine_is_listed_with_its_old_run_time(store, lost, module):
    module(True)
    assert [(each.id, each.next_run_time) for each in store.get_all_jobs()] == [
        ("lost", at(7)),
        ("good", at(YEARS + 1)),
    ]


@pytest.mark.parametrize("unreadable", ["quarantine", "remove"])
def test_only_the_job_that_the_server_refuses_is_quarantined(database, session_client, unreadable):
    """A user's own validator may refuse a document. The job can run, so it is never removed."""
    store = MongoDBJobStore(database.name, client=session_client, unreadable=unreadable)
    store.add_jobs([job(f"{i:03}", i) for i in range(250)])
    rule = {
        "$or": [{"_id": {"$ne": "107"}}, {"next_run_time": {"$not": {"$gt": at(1000).timestamp()}}}]
    }
    store.collection.database.command("collMod", "jobs", validator=rule)
    scheduler = by_hand(store)
    scheduler._process_jobs()
    assert [each.id for each in store.quarantined()] == ["107"]
    assert "can't be written: Document failed validation" in entry(store, "107").reason
    assert entry(store, "107").next_run_time == at(YEARS + 107)
    assert (
        store.collection.count_documents({"next_run_time": {"$gte": at(YEARS).timestamp()}}) == 249
    )
    scheduler.shutdown()


def test_run_time_of_the_document_overrides_that_of_the_state(store):
    moment = at(5) + timedelta(microseconds=3)
    document = {**good("a", 1), "next_run_time": moment.timestamp()}
    store.collection.insert_one(document)
    assert store.lookup_job("a").next_run_time == moment
    assert store.get_due_jobs(at(2)) == []
    (due,) = store.get_due_jobs(at(6))
    assert due.next_run_time == moment


def test_invalid_future_run_times_do_not_hide_valid_ones(store):
    invalid = [Decimal128("2e9"), [2e9], Decimal128("2000000001")]
    store.collection.insert_many(
        {**good(f"{i}"), "next_run_time": t} for i, t in enumerate(invalid)
    )
    assert store.get_next_run_time() is None
    store.add_job(job("a", 3e9))
    assert store.get_next_run_time() == at(3e9)
    assert [each.id for each in store.get_due_jobs(at(4e9))] == ["a"]
    assert len(store.quarantined()) == 3


def test_log_names_the_fatal_error_that_a_state_raises(store, caplog):
    with caplog.at_level(logging.ERROR):
        state_ = pickle.dumps({**job("a").__getstate__(), "args": (Raises(Fatal("x\0y")),)})
        store.collection.insert_one({**good("a"), "job_state": state_})
        store.get_due_jobs(at(1))
    assert 'Unable to restore job "a" -- quarantining it: Fatal: x' in caplog.text
