"""Every damaged document is listed, shown and counted, and does no harm."""

import json

import pytest

from support.damaged_documents import corpus, damaged, good

KINDS = corpus()
ALL = {*KINDS, "good"}
TIMELESS = {"time is decimal", "time is a list"}  # no range of the index on run times has them
BY_ID = ["--id-prefix", ""]


@pytest.fixture
def filled(store):
    store.collection.insert_many(
        [damaged(name, difference) for name, (difference, _) in KINDS.items()]
    )
    store.collection.insert_one(good("good"))
    return store


def test_ls_lists_every_damaged_document_in_lines_that_are_complete(run, filled):
    for order, ids in ([], ALL - TIMELESS), (BY_ID, ALL):
        done = run("ls", "--limit", 0, *order)
        assert (done.code, done.err) == (0, "")
        assert {row[0] for row in done.rows} == ids
        assert {len(row) for row in done.rows} == {7}


def test_json_lists_every_damaged_document(run, filled):
    done = run("ls", "--limit", 0, "--json", *BY_ID)
    assert (done.code, done.err) == (0, "")
    assert {job["id"] for job in done.objects} == ALL
    assert done.out.isascii()


@pytest.mark.parametrize(("order", "ids"), [([], ALL - TIMELESS), (BY_ID, ALL)])
def test_pages_of_one_find_every_damaged_document(run, filled, order, ids):
    found, after = [], []
    while jobs := run("ls", "--limit", 1, "--json", *order, *after).objects:
        found.append(jobs[0]["id"])
        after = ["--after", jobs[0]["key"]]
    assert sorted(found) == sorted(ids)


@pytest.mark.parametrize("name", KINDS)
def test_show_shows_a_damaged_document(run, store, name):
    store.collection.insert_one(damaged(name, KINDS[name][0]))
    done = run("show", name)
    assert (done.code, done.err) == (0, "")
    assert done.rows[0] == ["id", name]
    assert {len(row) for row in done.rows} == {2}
    assert json.loads(run("show", name, "--json").out)["id"] == name


def test_count_and_stats_count_every_damaged_document(run, filled):
    assert run("count").out == f"{len(ALL - TIMELESS)}\n"
    assert run("count", *BY_ID).out == f"{len(ALL)}\n"
    done = run("stats")
    assert (done.code, done.err) == (0, "")
    states = [int(jobs) for kind, _, jobs in done.rows if kind == "state"]
    functions = [int(jobs) for kind, _, jobs in done.rows if kind == "function"]
    assert sum(states) == sum(functions) == len(ALL)
