"""Each write outside a cycle stores the texts by which a job is found."""

import pytest
from bson import encode
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb.about_field import crc_of
from jobstore.mongodb.codec import MAX_DOCUMENT, Codec
from support.jobs import job, names

TEXTS = {
    "func": "support.jobs:note",
    "name": "a",
    "executor": "default",
    "trigger": "interval",
    "tags": [],
}
WRITES = {
    "add_job": lambda store, job: store.add_job(job),
    "add_jobs": lambda store, job: store.add_jobs([job]),
    "add_jobs from an iterator": lambda store, job: store.add_jobs(iter([job])),
    "replace_existing": lambda store, job: store.add_jobs([job], replace_existing=True),
    "update_job": lambda store, job: store.update_job(job),
    "update_jobs": lambda store, job: store.update_jobs([job]),
}
CHANGES = {name: write for name, write in WRITES.items() if "add_job" not in name}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
every_change = pytest.mark.parametrize("write", CHANGES.values(), ids=CHANGES)
paused_or_not = pytest.mark.parametrize("seconds", [5, None], ids=["timed", "paused"])


def tags_of(job):
    return job.args


def texts(store, name="a"):
    """Return a document's texts; asserts that they are valid."""
    document = store.collection.find_one({"_id": name})
    about = document["about"]
    assert about.pop("crc") == crc_of(document["job_state"])
    return about


@pytest.fixture
def tagged(server, database):
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore(database.name, client=client, tags=tags_of)
        yield store
        store.shutdown()


def prepared(store, write, **options):
    """Store another job of the same id if the write is to change it."""
    if write in CHANGES.values():
        store.add_job(job("a", 1, **options))
    return store


@every_write
@paused_or_not
def test_every_write_stores_the_texts(store, write, seconds):
    write(prepared(store, write, executor="other"), job("a", seconds))
    assert texts(store) == TEXTS


@every_write
@paused_or_not
def test_every_write_stores_the_tags_sorted_and_once(tagged, write, seconds):
    write(prepared(tagged, write, args=["old"]), job("a", seconds, args=["b", "a", "b"]))
    assert texts(tagged) == {**TEXTS, "tags": ["a", "b"]}


@every_write
@paused_or_not
def test_texts_that_look_like_expressions_are_literal(tagged, write, seconds):
    new = job("a", seconds, args=["$_id", "$$ROOT"], executor="$job_state")
    new.name = "$$REMOVE"
    write(prepared(tagged, write), new)
    expected = {"name": "$$REMOVE", "executor": "$job_state", "tags": ["$$ROOT", "$_id"]}
    assert texts(tagged) == {**TEXTS, **expected}


@every_change
@paused_or_not
def test_a_change_leaves_nothing_of_the_field_that_was_there(store, write, seconds):
    store.add_job(job("a", 1))
    store.collection.update_one({}, {"$set": {"about.more": 1, "about.func": {"a": 1}}})
    write(store, job("a", seconds))
    assert texts(store) == TEXTS


@pytest.mark.parametrize("wrong", [["good", 5], [None], [b"bytes"], "text", 5, None], ids=repr)
@every_write
def test_wrong_tags_are_refused_before_anything_is_written(server, database, write, wrong):
    store = MongoDBJobStore(
        database.name, host=server.uri, tags=lambda job: wrong if job.name == "bad" else ()
    )
    store.add_job(job("a", 1))
    before = list(store.collection.find())
    bad = job("a", 2)
    bad.name = "bad"
    with pytest.raises(TypeError, match="for job 'a'"):
        write(store, bad)
    with pytest.raises(TypeError, match="for job 'a'"):
        store.add_jobs([job("b"), bad, job("c")])
    assert list(store.collection.find()) == before
    store.shutdown()


def test_an_error_of_the_callable_is_raised_before_anything_is_written(server, database):
    store = MongoDBJobStore(
        database.name, host=server.uri, tags=lambda job: [""] * (1 // len(job.args))
    )
    with pytest.raises(ZeroDivisionError):
        store.add_jobs([job("b", args=(1,)), job("a")])
    assert names(store) == []
    store.shutdown()


def test_a_tag_without_encoding_is_refused_before_anything_is_written(tagged):
    with pytest.raises(UnicodeEncodeError):
        tagged.add_jobs([job("a"), job("b", args=["\ud800"])])
    assert names(tagged) == []


@pytest.mark.parametrize("tags", ["report", 5, ["a"], {"a": "b"}], ids=repr)
def test_the_store_refuses_tags_that_are_no_callable(tags):
    with pytest.raises(ValueError, match=r"tags is .*: it must be a function"):
        MongoDBJobStore(tags=tags)


@every_write
@paused_or_not
@pytest.mark.parametrize("name", ["\ud800", "x" * 1001], ids=["no UTF-8", "very long"])
def test_a_text_that_has_no_place_is_null_and_the_job_is_stored(store, write, seconds, name):
    new = job("a", seconds)
    new.name = name
    write(prepared(store, write), new)
    assert texts(store) == {**TEXTS, "name": None}
    assert store.lookup_job("a").name == name


def test_texts_in_other_alphabets_are_stored(tagged):
    new = job("a", args=["ночь", "夜"])
    new.name = "größer"
    tagged.add_job(new)
    assert texts(tagged) == {**TEXTS, "name": "größer", "tags": ["ночь", "夜"]}


@every_write
def test_a_job_that_fills_its_document_is_stored_without_the_field(store, write):
    length = 9_000_000
    document = Codec(store.pickle_protocol).to_document(job("a", 5, args=(b"x" * length,)))
    del document["about"]
    room = MAX_DOCUMENT - (len(encode(document)) - length)
    for free, is_kept in ((50, False), (500, True)):
        write(prepared(store, write), job("a", 5, args=(b"x" * (room - free),)))
        assert ("about" in store.collection.find_one()) is is_kept
        store.remove_job("a")
