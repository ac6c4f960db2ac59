"""Catching up changes no job that others change, run or have leased meanwhile."""

import logging
import re
import threading
from datetime import datetime, timedelta, timezone

import pytest
from bson import ObjectId

from jobstore import MongoDBJobStore
from jobstore.mongodb.overdue import catch_up
from support.jobs import YEARS, at, job, run_times
from support.overdue import ACTING, EVERY_MODE, HOUR, ago, document_of, now, summary_lines
from support.shared_stores import leased


@pytest.fixture(autouse=True)
def _all_levels(caplog):
    caplog.set_level(logging.INFO)


@pytest.fixture
def between(monkeypatch):
    """Return a function that makes a change between the reading and the writing of jobs."""

    def between(change):
        send = catch_up.send

        def changed_first(connection, writes, *args):
            if writes:
                monkeypatch.setattr(catch_up, "send", send)
                change()
            return send(connection, writes, *args)

        monkeypatch.setattr(catch_up, "send", changed_first)

    return between


OTHERS_CHANGES = {
    "rescheduled": lambda stock: stock.update_job(job("a", YEARS * 3)),
    "paused": lambda stock: stock.update_job(job("a", None)),
    "removed": lambda stock: stock.remove_job("a"),
}


@EVERY_MODE
@pytest.mark.parametrize("policy", ACTING)
@pytest.mark.parametrize("change", OTHERS_CHANGES)
def test_change_by_another_process_wins(start_on, stock, between, policy, change, mode):
    between(lambda: OTHERS_CHANGES[change](stock))
    _, store = start_on(policy, jobs=[job("a", 0), job("b", 1)], **mode)
    expected = {"rescheduled": at(YEARS * 3).timestamp()}.get(change)
    assert run_times(store).get("a") == expected
    assert "held" not in (document_of(store, "a") or {})
    assert run_times(store)["b"] != at(1).timestamp()


@pytest.mark.parametrize("policy", ACTING)
def test_job_with_a_new_state_is_caught_up_in_its_new_state(start_on, stock, between, policy):
    newer = job("a", 0, args=("newer",), every=2 * YEARS)
    between(lambda: stock.update_job(newer))
    _, store = start_on(policy, jobs=[job("a", 0), job("b", 1)])
    assert store.lookup_job("a").args == ("newer",)
    assert run_times(store)["a"] != at(0).timestamp()
    if policy == "skip":
        assert run_times(store)["a"] == at(2 * YEARS).timestamp()


def test_jobs_that_others_keep_changing_are_left_in_the_end(start_on, stock, monkeypatch, caplog):
    send, count = catch_up.send, 0

    def changed_first(connection, writes, *args):
        nonlocal count
        count += bool(writes)
        stock.update_job(job("a", 0, args=(count,)))
        return send(connection, writes, *args)

    monkeypatch.setattr(catch_up, "send", changed_first)
    _, store = start_on("hold", jobs=[job("a", 0)])
    assert count == catch_up.MAX_ROUNDS
    assert run_times(store) == {"a": at(0).timestamp()}
    assert summary_lines(caplog)[0].endswith("0 held, 0 removed, 1 left as they are")


@pytest.mark.parametrize("policy", ACTING)
def test_jobs_that_another_scheduler_has_leased_are_left(start_on, policy, caplog):
    """The lease may be older than the start, or fall between reading and writing."""
    _, first = start_on("fire", shared=True, batch_size=2)
    first.add_jobs([job("a", 0), job("b", 1), job("c", 2)])
    held_out = list(first.get_due_jobs(at(9)))
    assert leased(first) == ["a", "b"]
    _, second = start_on(policy, shared=True)
    assert run_times(second)["a"] == at(0).timestamp()
    assert run_times(second)["b"] == at(1).timestamp()
    assert run_times(second)["c"] != at(2).timestamp()
    assert leased(first) == ["a", "b"]
    assert len(held_out) == 2
    assert summary_lines(caplog)[0].endswith("2 left as they are")


@pytest.mark.parametrize("policy", ACTING)
def test_job_that_another_scheduler_leases_meanwhile_is_left(start_on, between, policy):
    _, first = start_on("fire", shared=True, batch_size=1)
    first.add_jobs([job("a", 0), job("b", 1)])
    between(lambda: list(first.get_due_jobs(at(9))))
    _, second = start_on(policy, shared=True)
    assert run_times(second)["a"] == at(0).timestamp()
    assert run_times(second)["b"] != at(1).timestamp()
    assert leased(first) == ["a"]


@pytest.mark.parametrize("policy", ACTING)
def test_job_whose_lease_is_renewed_meanwhile_is_left(start_on, database, between, policy):
    token = ObjectId()

    def lease(until):
        fields = {"acquired_by": token, "acquired_until": until}
        database["jobs"].update_one({"_id": "a"}, {"$set": fields})

    between(lambda: lease(now() + timedelta(hours=1)))
    adder = MongoDBJobStore(database.name, client=database.client)
    adder.add_jobs([job("a", 0), job("b", 1)])
    lease(ago(HOUR))
    _, store = start_on(policy, shared=True)
    assert run_times(store)["a"] == at(0).timestamp()
    assert run_times(store)["b"] != at(1).timestamp()


@pytest.mark.parametrize("policy", ["spread:600", "hold"])
def test_abandoned_job_stays_suspect(start_on, database, policy):
    fields = {
        "acquired_by": ObjectId(),
        "acquired_until": datetime(2020, 1, 1, tzinfo=timezone.utc),
        "attempts": {"count": 2, "by": "12345"},
    }
    MongoDBJobStore(database.name, client=database.client).add_job(job("a", 0))
    database["jobs"].update_one({"_id": "a"}, {"$set": fields})
    _, store = start_on(policy, shared=True)
    found = document_of(store, "a")
    assert {name: found[name] for name in fields} == fields
    assert found["next_run_time"] != at(0).timestamp()


def test_skip_takes_the_count_of_attempts_away(start_on, database):
    MongoDBJobStore(database.name, client=database.client).add_jobs([job("a", 0), job("b", 1)])
    database["jobs"].update_one({"_id": "a"}, {"$set": {"attempts": {"count": 2, "by": "12345"}}})
    _, store = start_on("skip")
    assert document_of(store, "a")["attempts"] is None
    assert run_times(store) == {"a": at(YEARS).timestamp(), "b": at(YEARS + 1).timestamp()}


@EVERY_MODE
@pytest.mark.parametrize("policy", ACTING)
def test_stores_that_start_together_catch_up_with_each_job_once(start_on, policy, mode, caplog):
    """Only with `shared` may both run jobs. A start by mistake does no harm either."""
    jobs = [job(f"{i:04}", i, every=None if i % 2 else YEARS) for i in range(2_000)]
    _, first = start_on("fire", jobs=jobs, **mode)
    _, second = start_on("fire", **mode)
    for store in (first, second):
        store._lifecycle._catch_up = catch_up.CatchUp(
            store._connection, store._host, store._incidents, policy, 60
        )
    threads = [threading.Thread(target=store._lifecycle._catch_up.run) for store in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = " ".join(summary_lines(caplog)).replace(",", "")
    counted = map(int, re.findall(r"(\d+) (?:moved|spread|held|removed)", text))
    assert sum(counted) == 2_000
    times = run_times(first)
    assert len(times) == (1_000 if policy == "skip" else 2_000)
    assert not {at(i).timestamp() for i in range(2_000)} & set(times.values())
    for each in first.collection.find({"held": {"$exists": True}}):
        assert each["held"]["next_run_time"] == at(int(each["_id"])).timestamp()
