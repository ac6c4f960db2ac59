"""Every damaged document is listed, shown and counted, and does no harm."""

import json

import pytest

from support.damaged_documents import corpus, damaged, good

KINDS = corpus()


@pytest.fixture
def filled(store):
    store.collection.insert_many(
        [damaged(name, difference) for name, (difference, _) in KINDS.items()]
    )
    store.collection.insert_one(good("good"))
    return store


def test_ls_lists_every_damaged_document_in_lines_that_are_complete(run, filled):
    done = run("ls", "--limit", 0)
    assert (done.code, done.err) == (0, "")
    assert {row[0] for row in done.rows} == {*KINDS, "good"}
    assert {len(row) for row in done.rows} == {7}


def test_json_lists_every_damaged_document(run, filled):
    done = run("ls", "--limit", 0, "--json")
    assert (done.code, done.err) == (0, "")
    assert {job["id"] for job in done.objects} == {*KINDS, "good"}
    assert done.out.isascii()


def test_pages_of_one_find_every_damaged_document(run, filled):
    found, after = [], []
    while jobs := run("ls", "--limit", 1, "--json", *after).objects:
        found.append(jobs[0]["id"])
        after = ["--after", jobs[0]["key"]]
    assert sorted(found) == sorted([*KINDS, "good"])


@pytest.mark.parametrize("name", KINDS)
def test_show_shows_a_damaged_document(run, store, name):
    store.collection.insert_one(damaged(name, KINDS[name][0]))
    done = run("show", name)
    assert (done.code, done.err) == (0, "")
    assert done.rows[0] == ["id", name]
    assert {len(row) for row in done.rows} == {2}
    assert json.loads(run("show", name, "--json").out)["id"] == name


def test_count_and_stats_count_every_damaged_document(run, filled):
    assert run("count").out == f"{len(KINDS) + 1}\n"
    done = run("stats")
    assert (done.code, done.err) == (0, "")
    states = [int(jobs) for kind, _, jobs in done.rows if kind == "state"]
    functions = [int(jobs) for kind, _, jobs in done.rows if kind == "function"]
    assert sum(states) == sum(functions) == len(KINDS) + 1
