"""`stats` counts by state, function, executor and time."""

from datetime import datetime, timedelta, timezone

from bson import ObjectId

from support.jobs import at, job


def rows_of(done, kind):
    assert (done.code, done.err) == (0, "")
    return {name: int(jobs) for each, name, jobs in done.rows if each == kind}


def fill(store):
    now = datetime.now(timezone.utc)
    store.add_jobs([job("a"), job("b", executor="slow"), job("p", None), job("leased")])
    store.add_jobs(
        [job(f"next{n}", next_run_time=now + timedelta(minutes=10 * n + 5)) for n in range(8)]
    )
    mark = {"acquired_by": ObjectId(), "acquired_until": now + timedelta(hours=1)}
    store.collection.update_one({"_id": "leased"}, {"$set": mark})


def test_stats_counts_each_job_once_in_its_state(run, store):
    fill(store)
    assert rows_of(run("stats"), "state") == {
        "scheduled": 8,
        "overdue": 2,
        "leased": 1,
        "paused": 1,
        "held": 0,
        "quarantined": 0,
        "invalid": 0,
    }


def test_stats_counts_functions_executors_and_the_next_runs_of_the_hour(run, store):
    fill(store)
    done = run("stats")
    assert rows_of(done, "function") == {"support.jobs:note": 12}
    assert rows_of(done, "executor") == {"default": 11, "slow": 1}
    load = rows_of(done, "due")
    assert len(load) == 60
    assert sum(load.values()) == 6


def test_stats_reads_the_states_of_a_stock_stores_documents(run, stock, store):
    for each in (job("a"), job("b", executor="slow")):
        stock.add_job(each)
    store.add_job(job("ours"))
    done = run("stats")
    assert rows_of(done, "function") == {"support.jobs:note": 3}
    assert rows_of(done, "executor") == {"default": 2, "slow": 1}


def test_json_has_all_counts(run, store):
    fill(store)
    [found] = run("stats", "--json").objects
    assert found["jobs"] == 12
    assert found["states"]["overdue"] == 2
    assert found["funcs"] == [{"func": "support.jobs:note", "jobs": 12}]
    assert found["executors"][0] == {"executor": "default", "jobs": 11}
    assert sum(found["load"]) == 6
    datetime.fromisoformat(found["at"])


def test_stats_of_an_empty_collection_are_zero(run, store):
    done = run("stats")
    assert set(rows_of(done, "state").values()) == {0}
    assert rows_of(done, "function") == {}


def test_held_and_quarantined_jobs_are_counted_as_such(run, store):
    store.add_jobs([job("held", None), job("bad", None)])
    mark = {"next_run_time": 5.0, "op": "catch_up", "by": "h:1", "at": at(0)}
    store.collection.update_one({"_id": "held"}, {"$set": {"held": mark}})
    mark = {"reason": "gone", "since": at(0), "next_run_time": 5.0}
    store.collection.update_one({"_id": "bad"}, {"$set": {"quarantine": mark}})
    states = rows_of(run("stats"), "state")
    assert (states["held"], states["quarantined"], states["paused"]) == (1, 1, 0)
