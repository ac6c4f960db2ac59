"""`statistics` agrees with the descriptions of all documents, damaged ones among them."""

from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest
from bson import ObjectId
from pymongo.errors import PyMongoError

from jobstore import MongoDBJobStore
from jobstore.describe import describe
from jobstore.mongodb import connection
from support.damaged_documents import corpus, damaged, good
from support.jobs import at, job

INVALID = "its next_run_time"


def state_of(info, now):
    """Return the state that a document's description shows."""
    if info.quarantine:
        return "quarantined"
    if info.unreadable and INVALID in info.unreadable:
        return "invalid"
    if info.held:
        return "held"
    if info.next_run_time is None:
        return "paused"
    if info.lease and info.lease.until > now:
        return "leased"
    return "overdue" if info.next_run_time <= now else "scheduled"


def test_statistics_agree_with_the_descriptions_of_all_documents(store):
    now = datetime.now(timezone.utc)
    store.add_jobs([job("a"), job("b", executor="slow"), job("p", None), job("l", 5)])
    store.add_jobs([job(f"n{n}", next_run_time=now + timedelta(minutes=n)) for n in range(1, 90)])
    lease = {"acquired_by": ObjectId(), "acquired_until": now + timedelta(hours=1)}
    store.collection.update_one({"_id": "l"}, {"$set": lease})
    store.collection.insert_many(
        [
            *(damaged(name, difference) for name, (difference, _) in corpus().items()),
            good("stock"),
            good("stock slow", executor="slow"),
            {**good("bad", None or 0), "_id": "bad", "next_run_time": None}
            | {"quarantine": {"reason": "gone", "since": at(0), "next_run_time": 5.0}},
            {**good("held"), "next_run_time": None}
            | {"held": {"next_run_time": 5.0, "op": "catch_up", "by": "h:1", "at": at(0)}},
            {"_id": "about is a list", "next_run_time": 1.0, "job_state": b"", "about": [{}]},
            {"_id": "about is no text", "next_run_time": 1, "about": {"func": 1, "executor": 2}},
            {"_id": "nothing"},
            {**good("times"), "next_run_time": [now.timestamp() + 600]},
        ]
    )
    found = store.statistics()
    infos = [describe(each) for each in store._connection.jobs.find()]
    assert found.jobs == len(infos)
    assert found.states == {
        **dict.fromkeys(found.states, 0),
        **Counter(state_of(info, found.at) for info in infos),
    }
    assert sum(found.funcs.values()) == sum(found.executors.values()) == found.jobs
    assert found.executors["slow"] == 2
    minutes = Counter(
        int((info.next_run_time - found.at).total_seconds() // 60)
        for info in infos
        if info.next_run_time and found.at <= info.next_run_time < found.at + timedelta(hours=1)
    )
    assert found.load == [minutes[minute] for minute in range(60)]


def test_stale_texts_are_counted_as_they_are(store):
    store.add_job(job("a"))
    store.collection.update_one({"_id": "a"}, {"$set": {"about.func": "old:f"}})
    assert store.statistics().funcs == {"old:f": 1}


def test_progress_is_told_the_number_of_states_read(store):
    store.add_job(job("ours"))
    store.collection.insert_many([good(f"{n}") for n in range(1500)])
    calls = []
    found = store.statistics(lambda *numbers: calls.append(numbers))
    assert calls == [(1000, 1500), (1500, 1500)]
    assert found.funcs == {"support.jobs:note": 1501}


def test_an_outage_is_an_error(server, database, monkeypatch):
    from support.proxy import Proxy

    monkeypatch.setattr(connection, "COMMAND_SECONDS", 1.0)
    with Proxy(server.nodes[0].port) as proxy:
        uri = f"{proxy.uri}&timeoutMS=500&retryReads=false"
        store = MongoDBJobStore(database.name, host=uri)
        assert store.statistics().jobs == 0
        proxy.hold()
        with pytest.raises(PyMongoError):
            store.statistics()
        store.shutdown()
