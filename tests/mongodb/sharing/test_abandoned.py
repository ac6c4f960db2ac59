"""Abandoned claims count as attempts, so that a job that ends its processes is found."""

import logging
import os
import threading

import pytest
from bson import ObjectId

from jobstore import MongoDBJobStore
from support.jobs import YEARS, at, job
from support.manual_scheduler import Submissions, by_hand
from support.shared_stores import ids, leased, run, run_all_due
from support.supervisor import Supervisor

NAMES = [f"{n:04}" for n in range(10)]


@pytest.fixture
def abandon(clock, monkeypatch):
    """Let a store claim due jobs, then simulate the end of its process and of its leases."""

    def abandon(store):
        store.get_due_jobs(at(100))
        store._cycles.clear()
        monkeypatch.setattr(ObjectId, "_ObjectId__random", os.urandom(5))
        clock.advance(11)

    return abandon


def counts(store):
    return {
        each["_id"]: each["attempts"]["count"]
        for each in store.collection.find({"attempts": {"$ne": None}})
    }


def cycles(store):
    """Run cycles until no job is due; return the ids that each has submitted."""
    return list(iter(lambda: run(store)[0], []))


def test_abandoned_jobs_run_in_batches_that_double(make, abandon):
    dead, store = make(), make()
    dead.add_jobs([job(name, n) for n, name in enumerate(NAMES)])
    abandon(dead)
    assert [len(found) for found in cycles(store)] == [1, 2, 4, 3]
    assert counts(store) == {}
    assert store.quarantined() == []


def test_jobs_without_abandoned_claims_run_in_one_batch_uncounted(make, clock):
    store = make()
    store.add_jobs([job(name, n) for n, name in enumerate(NAMES)])
    assert cycles(store) == [NAMES]
    assert "attempts" not in store.collection.find_one()


def test_batches_start_at_one_again_after_another_process_ends(make, abandon):
    first, second, store = make(), make(), make()
    for dead in (first, second):
        dead.add_jobs([job(name, n) for n, name in enumerate(NAMES)], replace_existing=True)
        abandon(dead)
        assert [len(found) for found in cycles(store)] == [1, 2, 4, 3]


def test_job_is_quarantined_after_three_abandoned_claims(make, abandon):
    make(start=False).add_jobs([job("culprit"), job("b", 1)])
    abandon(make())
    abandon(make(batch_size=1))
    assert counts(make(start=False)) == {"culprit": 1}
    abandon(make())
    store = make()
    assert counts(store) == {"culprit": 2}
    assert run_all_due(store) == ["b"]
    (found,) = store.quarantined()
    assert (found.id, found.next_run_time) == ("culprit", at(0))
    assert found.reason == "its runs ended the process 3 times"
    assert leased(store) == []
    assert counts(store) == {}
    assert store.restore_quarantined() == []
    assert store.restore_quarantined(["culprit"]) == ["culprit"]
    assert cycles(store) == [["culprit"]]


def test_suspect_runs_alone_and_a_completed_run_removes_its_count(make, abandon):
    make(start=False).add_jobs([job(name, n) for n, name in enumerate("abcd")])
    abandon(make())
    abandon(make())
    store = make()
    assert counts(store) == {"a": 1}
    assert cycles(store) == [["a"], ["b"], ["c", "d"]]
    assert counts(store) == {}


def test_unreleased_claims_of_this_process_are_not_abandoned(make, clock):
    store = make()
    store.add_jobs([job(name, n) for n, name in enumerate(NAMES)])
    for _ in range(4):
        store.get_due_jobs(at(100))
        store._cycles.clear()
        clock.advance(11)
    assert cycles(store) == [NAMES]
    assert store.quarantined() == []


def test_scheduler_that_cannot_run_a_suspect_keeps_its_count(make, abandon):
    dead = make()
    dead.add_job(job("culprit", executor="special"))
    by_hand(dead).add_executor(Submissions(), "special")
    abandon(dead)
    here, there = make(), make()
    assert run(here)[0] == []
    assert leased(here) == []
    assert counts(here) == {"culprit": 1}
    by_hand(there).add_executor(Submissions(), "special")
    run(there)
    assert ids(there._scheduler._executors["special"].submitted and there.get_all_jobs()) == [
        "culprit"
    ]
    assert counts(here) == {}


def test_late_flush_keeps_the_count_of_its_successor(make, clock, caplog, monkeypatch):
    """The late scheduler stands still in its cycle for longer than its lease."""
    caplog.set_level(logging.INFO)
    make(start=False).add_job(job("a"))
    late, store = make(), make()

    def stop(_):
        monkeypatch.setattr(ObjectId, "_ObjectId__random", os.urandom(5))
        clock.advance(11)
        assert ids(store.get_due_jobs(at(1))) == ["a"]
        assert counts(store) == {"a": 1}

    assert run(late, stop)[0] == ["a"]
    assert counts(store) == {"a": 1}
    store._cycles.clear()
    clock.advance(11)
    assert cycles(store) == [["a"]]
    assert counts(store) == {}


def test_count_is_removed_from_a_job_that_others_change_during_its_run(make, abandon, stock):
    dead, store = make(), make()
    dead.add_job(job("a"))
    abandon(dead)
    assert run(store, lambda _: stock.update_job(job("a", YEARS)))[0] == ["a"]
    assert counts(store) == {}
    assert leased(store) == []


@pytest.mark.slow
def test_lethal_job_runs_at_most_three_times_across_schedulers(server, database, tmp_path):
    with MongoDBJobStore(database.name, host=server.uri).client as client:
        store = MongoDBJobStore(database.name, client=client, shared=True)
        store.add_jobs([job(f"{n}", n) for n in range(100)])
        store.add_job(job("culprit", 50.5, func="support.programs.run_lethal_jobs:end_process"))
        file = tmp_path / "submitted"
        supervisors = [
            Supervisor(server.uri, database.name, file, "shared", "cycle") for _ in range(3)
        ]
        threads = [threading.Thread(target=supervisor.run) for supervisor in supervisors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        runs = supervisors[0].submitted()
        assert 1 <= runs.pop("culprit") <= 3, "fewer if a process stood still beyond its lease"
        assert sum(supervisor.starts for supervisor in supervisors) <= 6
        assert runs.keys() == {f"{n}" for n in range(100)}
        assert ids(store.quarantined()) == ["culprit"]
