"""Pages have each job that is meant once, in order; the count is their number."""

import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from bson import Code, Decimal128, MaxKey, encode
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from jobstore import MongoDBJobStore, Where
from jobstore.mongodb import connection
from jobstore.mongodb.looking.pages import Reader
from support.damaged_documents import good
from support.jobs import at, job
from support.manual_scheduler import by_hand
from support.mirrored_stores import regular, run
from support.proxy import Proxy
from support.various_documents import another, expected, insert, paged

VALUES = {
    "id_prefix": ["", "job-1", "job", "gr", "grö", "x", "no", "😀", "\U0010ffff", "a\ud800"],
    "due_before": [at(2), at(2.5), at(5), datetime.max, datetime(2020, 1, 1, 0, 0, 3)],
    "due_after": [
        at(2),
        at(2.5),
        at(5),
        datetime.min,
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    ],
    "paused": [True, False],
    "quarantined": [True, False],
    "func": ["support.jobs:note", f"{another.__module__}:another", "gone:f", "\ud800"],
    "name": ["job-1-1", "x", "no such name"],
    "executor": ["default", "other", "gone"],
    "trigger": ["interval", "cron", "date"],
    "tag": ["a", "size:1", "none", "\ud800"],
}


@pytest.fixture(scope="module")
def filled(server):
    with MongoClient(server.uri) as client:
        store = MongoDBJobStore("jobstore_test_find", client=client)
        store.collection.create_index("next_run_time", sparse=True)
        insert(store.collection)
        yield store
        client.drop_database("jobstore_test_find")


def check(store, where, limits=(1, 2, 7, 50)):
    keys = expected(store.collection, where)
    for limit in limits:
        assert paged(store, where, limit, by_key=limit % 2) == keys, (where, limit)
    assert store.count(where) == len(keys), where
    return keys


@pytest.mark.parametrize("name", VALUES)
def test_each_condition_alone(filled, name):
    found = [check(filled, Where(**{name: value})) for value in VALUES[name]]
    assert any(found)


def test_without_a_condition_all_come_but_those_without_a_place_in_the_index(filled):
    others = {"next_run_time": {"$in": [[1.0], Decimal128("1.5")]}}
    missing = {"next_run_time": {"$exists": False}}
    found = filled.collection.count_documents({"$nor": [others, missing]})
    assert len(check(filled, Where())) == found


def test_pages_pass_ids_that_are_javascript(store):
    """Such an id is read as a `str`, and is not among the strings."""
    ids = ["a", Code("a"), Code("b"), Code("a", {}), Code("b", {"x": 1}), MaxKey()]
    store.collection.insert_many([{**good("x"), "_id": each} for each in ids])
    found = paged(store, Where(), 1, by_key=True)
    assert found == paged(store, Where(), 50) == expected(store.collection, Where())
    assert len(found) == len(ids)


def test_all_ids_that_are_strings_come_in_order_of_id(filled):
    strings = filled.collection.count_documents({"_id": {"$type": "string"}})
    assert len(check(filled, Where(id_prefix=""))) == strings


def test_random_conditions(filled):
    chance = random.Random(1)
    found = 0
    for _ in range(150):
        names = chance.sample(list(VALUES), chance.randint(2, 4))
        where = Where(**{name: chance.choice(VALUES[name]) for name in names})
        found += bool(check(filled, where, [chance.choice([2, 7, 50])]))
    assert found > 20


def raw(name, seconds):
    """Make a document whose id is bytes that need not be UTF-8."""
    document = encode({**good("?" * len(name), seconds)})
    return RawBSONDocument(document.replace(b"?" * len(name), name, 1))


BYTES = [
    b"a\xff\xff",
    b"a\xff\xfe",
    b"a\x80",
    b"ab",
    b"a\xef\xbf\xbd",
    b"\xff",
    b"\x80x",
    b"b",
    b"a\x7f",
]


@pytest.mark.parametrize("where", [Where(), Where(id_prefix="a"), Where(tag="t")], ids=repr)
def test_ids_that_are_not_utf_8_end_no_page_too_early_and_let_none_begin_again(store, where):
    about = {"$set": {"about": {"tags": ["t"]}}}
    store.collection.insert_many([raw(name, 1) for name in BYTES])
    store.collection.update_many({}, about)
    keys = paged(store, where, 50)
    assert len(keys) == store.count(where)
    for limit in (1, 2, 3):
        # Where a page ends between two ids that look the same, the next one begins after both.
        assert list(dict.fromkeys(paged(store, where, limit))) == list(dict.fromkeys(keys))


@pytest.mark.parametrize("after", ["", "[", "null", "[1]", "[1, 2, 3]", '["1", "a"]', "[NaN, 5]"])
def test_a_key_of_no_job_is_refused(store, after):
    with pytest.raises(ValueError, match=re.escape(f"after is {after!r}: it must be a job")):
        store.find(after=after)


@pytest.mark.parametrize("after", [5, ["a"], ("a", 1), b"[null, 5]x"], ids=repr)
def test_anything_else_is_refused_as_a_key(store, after):
    with pytest.raises(ValueError, match="it must be a job that find returned, or its key"):
        store.find(after=after)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, None, "5"], ids=repr)
def test_a_limit_that_is_no_whole_number_from_1_on_is_refused(store, limit):
    with pytest.raises(ValueError, match=r"limit is .*: it must be a whole number from 1 on"):
        store.find(limit=limit)


def test_a_page_stays_full_if_jobs_of_the_same_time_run_while_it_is_read(store, monkeypatch):
    store.add_jobs([job(f"job {number:02d}", number // 10) for number in range(20)])
    read = Reader._read

    def read_and_run(reader, query, order, limit, skip=0):
        found = read(reader, query, order, limit, skip)
        ran = {"_id": {"$lt": "job 08"}}
        store.collection.update_many(ran, {"$set": {"next_run_time": at(99).timestamp()}})
        return found

    monkeypatch.setattr(Reader, "_read", read_and_run)
    page = store.find(limit=6)
    assert [each.id for each in page] == [f"job {number:02d}" for number in range(8, 14)]


def test_a_page_after_a_job_that_is_gone_begins_where_it_was(store):
    store.add_jobs([job(f"job {number}", number % 3) for number in range(9)])
    for where in (Where(), Where(id_prefix="job")):
        keys = [each.key for each in store.find(where)]
        for removed in range(1, 8):
            after = store.find(where)[removed]
            store.remove_job(after.id)
            rest = [each.key for each in store.find(where, after)]
            assert rest == keys[removed + 1 :]
            store.add_job(job(after.id, int(after.id[-1]) % 3))


def test_one_job_is_described_by_its_id(store):
    store.add_job(job("a", 1, args=(1,)))
    store.collection.insert_one({"_id": "damaged", "job_state": 5})
    assert store.describe("a")[:3] == ("a", "a", "support.jobs:note")
    assert store.describe("a").next_run_time == at(1)
    assert store.describe("damaged").unreadable == "its job_state is a int, not binary"
    assert store.describe("none") is None
    assert store.describe("\ud800") is None
    assert store.describe(2**64) is None
    assert store.find() == [store.describe("a")]


def test_jobs_that_stay_as_they_are_come_once_while_a_scheduler_runs(make):
    store = make(shared=False)
    store.add_jobs([job(f"still {number}", 9e8 + number % 5) for number in range(300)])
    store.add_jobs([regular(f"busy {number}", every=1) for number in range(100)])
    scheduler = run(store)
    for where in [Where(), Where(id_prefix="")] * 5:
        found = [json.loads(key)[1] for key in paged(store, where, 10)]
        still = [name for name in found if name.startswith("still")]
        assert len(still) == len(set(still)) == 300
    scheduler.shutdown()


def test_a_mark_in_a_list_is_no_quarantine(store):
    mark = {"reason": "gone", "since": at(0)}
    document = {**good("a"), "next_run_time": None, "quarantine": [mark]}
    store.collection.insert_one(document)
    for where, number in (
        (Where(quarantined=True), 0),
        (Where(quarantined=False), 1),
        (Where(paused=True), 1),
        (Where(paused=False), 0),
    ):
        assert (len(store.find(where)), store.count(where)) == (number, number), where


@pytest.mark.parametrize("mode", [{"mirror": True}, {"shared": True}, {}], ids=repr)
def test_a_store_in_any_mode_finds_from_its_start_on(make, mode):
    store = make(**{"shared": False, **mode})
    scheduler = by_hand(store)
    store.add_jobs([job("a", 1e9), job("b", None, executor="other")])
    assert [each.id for each in store.find()] == ["a", "b"]
    assert store.count(Where(executor="other")) == 1
    assert store.describe("b").paused
    scheduler.shutdown()


def test_a_search_waits_for_no_lock_of_the_store(make):
    store = make(shared=False)
    store.add_job(job("a", 1e9))
    with store._locks.io_lock, store._locks.memory_lock, ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: (store.find(), store.count(), store.describe("a")))
        assert found.result(30)[1] == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.find(),
        lambda store: store.find(Where(func="a:b")),
        lambda store: store.count(),
        lambda store: store.count(Where(func="a:b")),
        lambda store: store.describe("a"),
        lambda store: store.describe_all(),
    ],
)
def test_an_outage_is_an_error_within_the_time_limit(server, monkeypatch, call):
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 0.2)
    with Proxy(server.nodes[0].port) as proxy:
        store = MongoDBJobStore(host=proxy.uri)
        proxy.hold()
        with pytest.raises(PyMongoError):
            call(store)
        store.shutdown()
