"""`schedulers` lists the schedulers of a collection, whoever wrote their documents."""

import pytest

from support.presences import plant
from support.waiting import PATIENCE


def test_a_line_has_the_cells_of_a_scheduler(run, store):
    name = plant(store.collection, age=3.0)
    done = run("schedulers")
    [row] = done.rows
    started, age = row.pop(5), row.pop(3)
    assert row == [
        "web-1:4711",
        "firing",
        "queried",
        "12",
        "warn",
        "0.1.0",
        "3.11.3",
        "3.11.9",
        name,
    ]
    assert (done.code, done.err, started[:2]) == (0, "", "20")
    assert 3 <= int(age.removesuffix("s")) < PATIENCE


def test_a_scheduler_that_writes_no_more_is_gone(run, store):
    plant(store.collection, "a", state="waiting")
    plant(store.collection, "b", lives=False, age=50.0)
    assert [row[:2] for row in run("schedulers").rows] == [
        ["a:4711", "waiting"],
        ["b:4711", "gone"],
    ]


def test_json_has_all_that_a_scheduler_tells(run, store):
    name = plant(store.collection, status={"pending": 7, "others": ["b:2"]})
    [found] = run("schedulers", "--json").objects
    assert (found["id"], found["name"], found["alive"]) == (name, "web-1:4711", True)
    assert found["status"] == {"pending": 7, "others": ["b:2"]}
    assert found["executors"] == {"default": {"type": "ThreadPoolExecutor", "workers": 10}}


def test_a_collection_without_schedulers_has_no_lines(run, store):
    assert run("schedulers").out == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "\x1b[2J", "state": "\n", "others": {"a": 1}},
        {"versions": 5, "executors": None, "counters": [], "status": "none"},
        {"counters": {"fired": "\x1b]0;title\x07"}, "versions": {"jobstore": float("nan")}},
        {"seen": "today", "expires": "never", "started": 0, "clock": []},
        {"status": {"oldest": float("inf")}, "counters": {"fired": float("nan")}},
    ],
    ids=["texts", "types", "control characters", "times", "numbers"],
)
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["lines", "json"])
def test_documents_of_anybody_send_nothing_to_the_terminal(run, store, fields, options):
    plant(store.collection, "\x1b[31mred", **fields)
    done = run("schedulers", *options)
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == 1
    assert done.out.rstrip("\n").replace("\t", "").isprintable()
