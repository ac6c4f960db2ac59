"""`ls`, `show` and `count` without a terminal, on a real server."""

import json
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.triggers.cron import CronTrigger
from bson import ObjectId

from jobstore import MongoDBJobStore
from support.jobs import at, job


def from_now(seconds):
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


def named(each, name):
    """Give a job a name that is not its id."""
    each.name = name
    return each


def soon(name, seconds, **options):
    """Make a job that is due so many seconds from now."""
    return job(name, **options, next_run_time=from_now(seconds))


@pytest.fixture
def filled(store):
    store.add_jobs(
        [
            named(job("overdue", 0, args=(1, "x")), "first"),
            soon("soon", 200),
            soon("far", 86_400, executor="slow", trigger=CronTrigger(hour=3, timezone="UTC")),
            job("paused", None),
        ]
    )
    store.collection.insert_one(
        {
            "_id": "bad",
            "next_run_time": None,
            "job_state": b"garbage",
            "quarantine": {"reason": "gone", "since": at(5), "next_run_time": 3.5},
        }
    )
    return store


def ids(done):
    assert (done.code, done.err) == (0, "")
    return [row[0] for row in done.rows]


def test_ls_lists_the_jobs_by_run_time_in_lines_of_seven_cells(run, filled):
    done = run("ls")
    assert (done.code, done.err) == (0, "")
    assert done.rows[0] == [
        "overdue",
        "2020-01-01T00:00:00+00:00",
        "overdue",
        "support.jobs:note",
        "interval[3650 days, 0:00:00]",
        "default",
        "first",
    ]
    assert [row[0] for row in done.rows] == ["overdue", "soon", "far", "bad", "paused"]
    assert [row[2] for row in done.rows] == [
        "overdue",
        "scheduled",
        "scheduled",
        "quarantined",
        "paused",
    ]
    assert done.rows[2][4:6] == ["cron[hour='3']", "slow"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--due", "0s"], ["overdue"]),
        (["--due", "5m"], ["overdue", "soon"]),
        (["--due", "2d"], ["overdue", "soon", "far"]),
        (["--due", "999999999d"], ["overdue", "soon", "far"]),
        (["--paused"], ["paused"]),
        (["--quarantined"], ["bad"]),
        (["--func", "support.jobs:note"], ["far", "overdue", "paused", "soon"]),
        (["--func", "support.jobs:gone"], []),
        (["--executor", "slow"], ["far"]),
        (["--trigger", "cron"], ["far"]),
        (["--name", "first"], ["overdue"]),
        (["--id-prefix", "pa"], ["paused"]),
        (["--func", "support.jobs:note", "--due", "5m"], ["overdue", "soon"]),
        (["--tag", "red"], []),
    ],
)
def test_options_choose_jobs_for_ls_and_for_count(run, filled, options, expected):
    assert ids(run("ls", *options)) == expected
    assert run("count", *options) == (0, f"{len(expected)}\n", "")


def test_tags_of_the_store_are_found(run, server, database):
    store = MongoDBJobStore(database.name, host=server.uri, tags=lambda job: [job.name])
    store.add_jobs([named(job("a"), "red"), named(job("b"), "blue")])
    store.shutdown()
    assert ids(run("ls", "--tag", "red")) == ["a"]
    assert run("show", "a").out.splitlines()[-2] == "tags\tred"


def test_target_may_be_an_argument(run, filled, target, monkeypatch):
    monkeypatch.delenv("JOBSTORE_URL")
    assert run("count", target).out == "5\n"
    assert run("ls", target, "--limit", 1).rows[0][0] == "overdue"
    assert run("show", target, "soon").rows[0] == ["id", "soon"]


def test_limit_and_after_page_through_the_jobs(run, filled):
    assert ids(run("ls", "--limit", 2)) == ["overdue", "soon"]
    [_, last] = run("ls", "--limit", 2, "--json").objects
    assert ids(run("ls", "--after", last["key"])) == ["far", "bad", "paused"]
    assert ids(run("ls", "--after", last["key"], "--limit", 1)) == ["far"]


def test_limit_zero_lists_all(run, store):
    store.add_jobs([job(f"{number:04}", number) for number in range(2500)])
    assert len(ids(run("ls"))) == 50
    assert ids(run("ls", "--limit", 0)) == [f"{number:04}" for number in range(2500)]
    assert len(ids(run("ls", "--limit", 1500))) == 1500


@pytest.mark.parametrize("key", ["", "x", "{}", "[]", '["a", "b", "c"]', "[1]", "null"])
def test_wrong_key_is_an_error_that_names_it(run, filled, key):
    done = run("ls", "--after", key)
    assert (done.code, done.out) == (2, "")
    assert f"--after is {key!r}: it must be the key of a job" in done.err


def test_json_has_every_property_of_a_job(run, filled):
    [first, *_, paused] = run("ls", "--json").objects
    assert first.pop("bytes") > 100
    assert first == {
        "id": "overdue",
        "name": "first",
        "func": "support.jobs:note",
        "trigger": "interval[3650 days, 0:00:00]",
        "executor": "default",
        "args": "(1, 'x')",
        "kwargs": "{}",
        "misfire_grace_time": None,
        "coalesce": True,
        "max_instances": 1,
        "next_run_time": "2020-01-01T00:00:00+00:00",
        "paused": False,
        "quarantine": None,
        "lease": None,
        "held": None,
        "tags": [],
        "unreadable": None,
        "key": '[1577836800.0, "overdue"]',
    }
    assert (paused["id"], paused["paused"], paused["next_run_time"]) == ("paused", True, None)


def test_json_of_a_job_in_quarantine_has_its_mark(run, filled):
    [job] = run("ls", "--quarantined", "--json").objects
    assert job["quarantine"] == {
        "reason": "gone",
        "since": "2020-01-01T00:00:05+00:00",
        "next_run_time": "1970-01-01T00:00:03.500000+00:00",
    }
    assert job["unreadable"]


def test_show_prints_a_line_for_each_property(run, filled):
    done = run("show", "overdue")
    assert (done.code, done.err) == (0, "")
    shown = dict(done.rows)
    assert shown.pop("next run").startswith("2020-01-01 00:00:00 UTC (")
    assert shown.pop("state size").endswith(" bytes")
    assert shown == {
        "id": "overdue",
        "state": "overdue",
        "name": "first",
        "function": "support.jobs:note",
        "args": "(1, 'x')",
        "kwargs": "{}",
        "trigger": "interval[3650 days, 0:00:00]",
        "executor": "default",
        "misfire grace": "unlimited",
        "coalesce": "yes",
        "max instances": "1",
    }


def test_show_says_why_a_job_is_in_quarantine(run, filled):
    shown = dict(run("show", "bad").rows)
    assert (shown["state"], shown["quarantine"]) == ("quarantined", "gone")
    assert shown["since"].startswith("2020-01-01 00:00:05 UTC")
    assert shown["was due"].startswith("1970-01-01 00:00:03 UTC")


def test_show_as_json_is_what_ls_prints(run, filled):
    assert run("show", "soon", "--json").objects == run("ls", "--json").objects[1:2]


def test_leased_and_held_jobs_are_shown_as_such(run, filled):
    token = ObjectId()
    until = from_now(3600)
    filled.collection.update_one(
        {"_id": "overdue"}, {"$set": {"acquired_by": token, "acquired_until": until}}
    )
    mark = {"next_run_time": at(7).timestamp(), "op": "catch_up", "by": "h:1", "at": at(9)}
    filled.collection.update_one({"_id": "paused"}, {"$set": {"held": mark}})
    assert {row[0]: row[2] for row in run("ls").rows} == {
        "overdue": "leased",
        "soon": "scheduled",
        "far": "scheduled",
        "bad": "quarantined",
        "paused": "held",
    }
    assert f"token {token}" in dict(run("show", "overdue").rows)["lease"]
    assert "was due 2020-01-01 00:00:07 UTC" in dict(run("show", "paused").rows)["held"]
    [job] = run("show", "overdue", "--json").objects
    assert job["lease"]["token"] == str(token)


def test_unknown_job_is_an_error_with_a_code_of_its_own(run, filled):
    done = run("show", "gone")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("jobstore: there is no job 'gone' in jobstore_test_")


@pytest.mark.parametrize(
    ("job_id", "text"),
    [
        (ObjectId("6749a1b2c3d4e5f601234567"), '{"$oid": "6749a1b2c3d4e5f601234567"}'),
        (7, "7"),
        ({"a": 1}, '{"a": 1}'),
        (None, "null"),
        (float("nan"), '{"$numberDouble": "NaN"}'),
    ],
)
def test_ids_of_other_types_are_extended_json(run, store, job_id, text):
    store.collection.insert_one({"_id": job_id, "next_run_time": 5.0, "job_state": b"x"})
    [listed] = run("ls", "--json").objects
    done = run("show", text)
    assert done.code == 0
    assert listed["unreadable"]
    assert listed["id"] == json.loads(text)


def test_jobs_of_a_stock_store_are_found_and_shown(run, stock):
    stock.add_job(named(job("a", 5, args=(1,)), "first"))
    stock.add_job(job("b", None, executor="slow"))
    assert ids(run("ls")) == ["a", "b"]
    assert ids(run("ls", "--executor", "slow")) == ["b"]
    assert ids(run("ls", "--func", "support.jobs:note", "--name", "first")) == ["a"]
    assert run("count", "--func", "support.jobs:note").out == "2\n"
    assert dict(run("show", "a").rows)["args"] == "(1,)"


def test_empty_collection_has_no_jobs(run, store):
    assert run("ls") == (0, "", "")
    assert run("ls", "--json") == (0, "", "")
    assert run("count") == (0, "0\n", "")


@pytest.mark.parametrize("due", ["5", "m", "-5m", "5 m", "5w", "nan", "1e5s", "\u0665m"])
def test_wrong_duration_is_refused_by_name(run, due):
    done = run("count", f"--due={due}")
    assert done.code == 2
    assert "'--due'" in done.err
    assert repr(due) in done.err


@pytest.mark.parametrize("limit", ["-1", "x", "1.5", ""])
def test_wrong_limit_is_refused_by_name(run, limit):
    done = run("ls", f"--limit={limit}")
    assert done.code == 2
    assert "'--limit'" in done.err
