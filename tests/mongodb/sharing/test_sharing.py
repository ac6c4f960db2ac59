"""What is left to other schedulers, and the mark of a collection that is shared."""

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
    assert 0 < run(here)[1] <= 60, "nobody waits for it here, but for a look in a minute"
    scheduler = by_hand(there)
    scheduler.add_executor(Submissions(), "special")
    scheduler._process_jobs()
    assert scheduler._executors["special"].submitted[0][0] == "b"
    assert here.quarantined() == []


def damaged(store, name):
    store.collection.update_one({"_id": name}, {"$set": {"job_state": b"no pickle"}})


@pytest.mark.parametrize("what", ["damaged", "no executor"])
def test_what_nobody_takes_for_a_minute_is_quarantined(make, clock, caplog, what):
    store = make()
    store.add_jobs([job("a"), job("b", 1, executor="gone" if what == "no executor" else "default")])
    if what == "damaged":
        damaged(store, "b")
    run(store)
    clock.advance(59)
    run(store)
    assert store.quarantined() == []
    clock.advance(2)
    run(store)
    assert ids(store.quarantined()) == ["b"]
    assert leased(store) == []


def test_what_is_back_from_quarantine_others_have_a_minute_for(make, clock):
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


def test_a_minute_is_counted_anew_when_others_have_run_it(make, clock):
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


def test_what_can_not_be_run_here_keeps_nothing_back_however_much_it_is(make, monkeypatch):
    monkeypatch.setattr(claims, "MAX_IDS", 3)
    store = make(batch_size=2)
    store.add_jobs([job(f"{n}", n, executor="special") for n in range(7)])
    store.add_job(job("good", 8))
    assert run_all_due(store) == ["good"]
    store.commands.names.clear()
    assert 50 < run(store)[1] <= 60, "it looks again when the minute is over"
    assert store.commands.names == ["find", "aggregate"]


def test_what_is_left_and_then_rescheduled_is_left_again(make, stock):
    """Or it would be due, and claimed by nobody, again and again without a pause."""
    store = make()
    store.add_jobs([job("b", executor="special")])
    run(store)
    stock.update_job(job("b", 5, executor="special"))
    run(store)
    assert 50 < run(store)[1] <= 60


@pytest.mark.parametrize("shared", [True, False])
def test_ids_that_are_no_utf8_and_look_alike_hold_up_nobody(make, shared):
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


def test_an_id_that_looks_like_no_utf8_is_one(make):
    store = make()
    store.add_jobs([job("a\ufffd"), job("b", 1)])
    assert run(store)[0] == ["a\ufffd", "b"]


@pytest.mark.parametrize("shared", [True, False])
def test_an_id_that_is_code_holds_up_nobody(make, shared):
    """It is a `str` to Python, but one without a hash."""
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


def test_a_new_start_looks_at_all_anew(make):
    store = make()
    store.add_job(job("b", executor="special"))
    run(store)
    store.shutdown()
    scheduler = by_hand(store)
    scheduler.add_executor(scheduler.executor, "special")
    assert run(store)[0] == ["b"]


def test_one_whose_clock_is_ahead_quarantines_nothing_that_is_not_due_elsewhere(make, clock):
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


def test_an_id_that_is_no_text_holds_up_nobody(make, clock):
    """No job has one; in a store of its own it is quarantined, too."""
    store = make()
    store.add_jobs([job("a"), job("b", 2)])
    store.collection.insert_one({"_id": {"x": 1}, "next_run_time": at(1).timestamp()})
    assert run(store)[0] == ["a", "b"]
    assert leased(store) == []
    clock.advance(61)
    run(store)
    assert ids(store.quarantined()) == [{"x": 1}]


def test_an_id_that_is_no_utf8_holds_up_nobody(make):
    store = make()
    store.add_jobs([job("a"), job("b", 2)])
    document = encode({"_id": "XX", "next_run_time": at(1).timestamp()})
    raw = RawBSONDocument(document.replace(b"XX", b"\xff\xff"))
    store.collection.insert_one(raw)
    assert run(store)[0] == ["a", "b"]
    assert 50 < run(store)[1] <= 60


def test_a_document_that_the_server_refuses_to_have_claimed_holds_up_nobody(make, caplog):
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


def test_a_scheduler_that_is_not_told_does_not_start(make):
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
        assert sorted(document) == ["_id", "job_state", "next_run_time"]
    other.start(None, "default")
    assert names(other) == ["a", "b"]


def test_ending_it_takes_away_claims_in_statements_that_are_done_in_time(make, monkeypatch):
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


def test_since_when_is_told_and_is_not_changed_by_later_starts(make, database):
    make()
    since = database["jobs_meta"].find_one()["since"]
    make()
    assert database["jobs_meta"].find_one() == {"_id": "sharing", "since": since}


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
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MongoDBJobStore(**{"shared": True, **options})
