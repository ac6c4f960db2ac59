"""`health` has a line for each finding, and an exit code that a probe understands."""

import re
from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from support.jobs import job, note
from support.presences import plant
from support.terminals import on_terminal
from support.waiting import PATIENCE, until

from .conftest import PROGRAM


def names_by_level(done):
    """Return the findings' names and those that they are about, by level."""
    found = {}
    for level, about, name, *_ in done.rows:
        found.setdefault(level, set()).add((about, name))
    return found


@pytest.fixture
def started(store):
    """Return a store whose indexes exist. No scheduler runs."""
    store._connection.open()
    store._lifecycle.indexes.create()
    return store


@pytest.fixture
def name(started):
    return started.collection.full_name


def test_a_collection_with_a_scheduler_that_is_well_is_well(run, started, name):
    plant(started.collection, status={"since_cycle": 0.5, "cycle": 0.01, "expected": 3.0})
    done = run("health")
    assert (done.code, done.err) == (0, "")
    assert set(names_by_level(done)) == {"well"}
    about_scheduler = [row for row in done.rows if row[1] == "web-1:4711"]
    assert [row[2:] for row in about_scheduler] == [
        ["cycle", "the last cycle ended 0.5 s ago, after 0.010 s", "-"]
    ]
    about_collection = {row[2] for row in done.rows if row[1] == name}
    assert about_collection == {
        "schedulers",
        "others",
        "format",
        "indexes",
        "quarantine",
        "held",
        "overdue",
    }


def test_a_collection_without_a_living_scheduler_is_down(run, started, name):
    assert run("health").code == 2
    plant(started.collection, lives=False, age=77.0)
    done = run("health")
    assert done.code == 2
    assert names_by_level(done)["down"] == {(name, "schedulers")}
    [seconds] = re.findall("web-1:4711 was last seen ([0-9]+) s ago", done.out)
    assert 77 <= int(seconds) < 77 + PATIENCE


def test_a_collection_with_standbys_alone_is_down(run, started, name):
    plant(started.collection, state="waiting", status={"firing": False})
    done = run("health")
    assert done.code == 2
    assert names_by_level(done)["down"] == {(name, "schedulers")}


def test_a_standby_beside_a_scheduler_that_fires_is_well(run, started):
    plant(started.collection, "a", others="wait")
    plant(started.collection, "b", state="waiting", others="wait", status={"firing": False})
    done = run("health")
    assert done.code == 0
    assert "a:4711 may fire the jobs, and 1 hot standby may take over" in done.out


def test_a_scheduler_without_a_running_scheduler_counts_for_nothing(run, started):
    plant(started.collection, state="idle")
    assert run("health").code == 2


def test_two_schedulers_that_do_not_share_are_degraded(run, started, name):
    plant(started.collection, "a")
    plant(started.collection, "b", mode="mirrored")
    done = run("health")
    assert done.code == 1
    assert names_by_level(done)["degraded"] == {(name, "others")}
    assert "shared=True" in done.out


def test_two_schedulers_that_share_are_well(run, started):
    plant(started.collection, "a", mode="shared")
    plant(started.collection, "b", mode="shared")
    assert run("health").code == 0


def test_a_scheduler_that_hangs_is_down_and_the_collection_too(run, started):
    plant(started.collection, status={"expected": -40.0})
    done = run("health")
    assert done.code == 2
    assert names_by_level(done)["down"] == {("web-1:4711", "cycle")}


def test_a_scheduler_that_hangs_beside_one_that_shares_its_jobs_degrades(run, started):
    plant(started.collection, "a", mode="shared", status={"expected": -40.0})
    plant(started.collection, "b", mode="shared")
    done = run("health")
    assert done.code == 1
    assert names_by_level(done)["down"] == {("a:4711", "cycle")}


def test_a_scheduler_that_hangs_beside_a_hot_standby_is_down_and_the_collection_too(run, started):
    plant(started.collection, "a", others="wait", status={"expected": -40.0})
    plant(started.collection, "b", state="waiting", others="wait", status={"firing": False})
    assert run("health").code == 2


def test_paused_scheduler_is_down_and_the_collection_too(run, started):
    plant(started.collection, state="paused", status={"paused": True, "firing": False})
    done = run("health")
    assert done.code == 2
    assert ("web-1:4711", "cycle") in names_by_level(done)["down"]
    assert "web-1:4711 is paused" in done.out
    plant(started.collection, "b", mode="shared")
    assert run("health").code == 1


def test_scheduler_that_was_not_seen_for_two_beats_is_degraded(run, started):
    plant(started.collection, age=20.0)
    done = run("health")
    assert done.code == 1
    assert names_by_level(done)["degraded"] == {("web-1:4711", "presence")}


def test_scheduler_that_is_silent_does_not_count_as_firing_beside_its_successor(run, started):
    plant(started.collection, "dead", age=20.0)
    plant(started.collection, "new")
    assert names_by_level(run("health"))["degraded"] == {("dead:4711", "presence")}


def test_two_schedulers_of_one_name_are_judged_each_for_itself(run, started):
    for expected in (-40.0, 5.0):
        plant(started.collection, "host", mode="shared", status={"expected": expected})
    assert run("health").code == 1


def test_all_that_is_wrong_with_a_scheduler_is_listed(run, started):
    status = {"connected": False, "flush_failures_in_a_row": 2, "needed_pool": 9, "doubles": 1}
    plant(started.collection, status=status | {"since_double": 5.0})
    found = names_by_level(run("health"))
    assert found["degraded"] == {
        ("web-1:4711", name) for name in ("connection", "flush", "pool", "doubles")
    }


def test_jobs_that_wait_too_long_are_degraded(run, started, name):
    plant(started.collection)
    due = datetime.now(timezone.utc) - timedelta(seconds=100)
    started.add_job(job("late", next_run_time=due))
    done = run("health")
    assert done.code == 1
    assert names_by_level(done)["degraded"] == {(name, "overdue")}
    [seconds] = re.findall("1 job overdue, the oldest by ([0-9]+) s", done.out)
    assert 100 <= int(seconds) < 100 + PATIENCE


def test_jobs_in_quarantine_are_degraded(run, started, name):
    plant(started.collection)
    mark = {"reason": "gone", "since": "x", "next_run_time": 1.0}
    started.collection.insert_one({"_id": "bad", "next_run_time": None, "quarantine": mark})
    done = run("health")
    assert done.code == 1
    assert names_by_level(done)["degraded"] == {(name, "quarantine")}


def test_missing_indexes_are_degraded(run, started, name):
    plant(started.collection)
    started.collection.drop_indexes()
    started.add_job(job("any"))
    started.remove_all_jobs()
    done = run("health")
    assert done.code == 1
    assert names_by_level(done)["degraded"] == {(name, "indexes")}


def test_json_has_one_object_a_finding(run, started, name):
    plant(started.collection, status={"pending": 3, "oldest": 99.0})
    done = run("health", "--json")
    assert done.code == 1
    [finding] = [each for each in done.objects if each["level"] != "well"]
    assert finding.pop("text").startswith("the writes of 3 jobs wait, the oldest for 99 s")
    assert finding.pop("advice")
    assert finding == {"about": "web-1:4711", "level": "degraded", "name": "flush"}


def test_a_server_that_can_not_be_reached_is_down(run):
    done = run("health", "mongodb://localhost:1/apscheduler.jobs?timeoutMS=200")
    assert (done.code, done.out) == (2, "")
    assert "no answer from the server" in done.err


@pytest.mark.parametrize(
    "status",
    [
        {"connected": "no", "pending": True, "oldest": "x", "lag": [], "others": [1, 2]},
        {"expected": float("nan"), "cycle": {"a": 1}, "missing_indexes": "next_run_time"},
        {"added by a later version": 5, "since_cycle": 1.0},
        {"flush_failures_in_a_row": 2.5, "needed_pool": "9", "dropped": None},
    ],
    ids=["types", "numbers", "names", "kinds of numbers"],
)
def test_values_of_other_types_than_those_of_a_status_are_left_out(run, started, status):
    plant(started.collection, status=status)
    assert run("health").code == 0


def test_texts_of_anybody_send_nothing_to_the_terminal(run, started):
    plant(started.collection, "\x1b[31m", mode="\x1b[2J")
    plant(started.collection, "b")
    done = run("health")
    assert done.out.replace("\t", "").replace("\n", "").isprintable()


def test_a_real_scheduler_is_well_until_it_shuts_down(run, store):
    scheduler = BackgroundScheduler({"apscheduler.timezone": "UTC"}, jobstores={"default": store})
    scheduler.start()
    try:
        now = datetime.now(timezone.utc)
        scheduler.add_job(note, "interval", days=1, next_run_time=now, misfire_grace_time=None)
        until(lambda: store.status().fired == 1)
        until(lambda: run("health").code == 0)
        name = store.schedulers()[0].name
        assert (name, "cycle") in names_by_level(run("health"))["well"]
        until(lambda: run("schedulers").rows[0][4] == "1")  # written by the next beat
        assert run("schedulers").rows[0][:3] == [name, "firing", "queried"]
    finally:
        scheduler.shutdown()
    assert run("health").code == 2
    assert run("schedulers").out == ""


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_gets_headings_and_lines_that_fit(target, started, name, width):
    plant(started.collection, "a", status={"flush_failures_in_a_row": 2})
    plant(started.collection, "b" * 30)
    with on_terminal([*PROGRAM, "health", target], width) as terminal:
        assert terminal.end() == 1
    lines = terminal.screen
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", terminal.text)
    assert plain.count("\n") == len(lines)
    assert {name, "a:4711"} <= set(lines)
    assert any(line.startswith("degraded  flush") for line in lines)
    with on_terminal([*PROGRAM, "schedulers", target], width) as terminal:
        assert terminal.end() == 0
    head, *rows = terminal.screen
    assert head.split()[:5] == ["SCHEDULER", "STATE", "MODE", "SEEN", "FIRED"]
    assert ("PYTHON" in head) == (width == 200)
    assert len(rows) == 2
