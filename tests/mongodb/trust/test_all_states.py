"""Counts, lists and signs the states of a collection, while others may change them."""

import pickle
import sys
import tracemalloc
from hashlib import sha256

import pytest
from bson import Binary, Code, ObjectId, encode
from pymongo.errors import BulkWriteError, PyMongoError

from jobstore.mongodb import connection
from jobstore.mongodb.looking import walk
from jobstore.mongodb.trust import all_states
from jobstore.mongodb.trust.all_states import sign, unverified, verify
from support.damaged_documents import good
from support.jobs import at, job
from support.mirrored_stores import wait_until_equal
from support.signed_documents import KEY, OLD_KEY, all_unverified, signatures_of
from support.signed_documents import sign as signed
from support.slow_line import lines
from support.various_documents import infos, insert

REASONS = {
    "unsigned": "it has no signature",
    "wrong": "its signature is wrong",
    "damaged": "its signature is damaged",
}


@pytest.fixture
def small_pages(monkeypatch):
    for module in walk, all_states:
        monkeypatch.setattr(module, "BATCH", 3)


@pytest.fixture
def trusted(store):
    """Return what checks the signatures of the store's collection."""
    return signatures_of(store.collection)


def set_signature(store, job_id, signature):
    store.collection.update_one({"_id": job_id}, {"$set": {"signature": signature}})


def mixed(store):
    """Store jobs of each standing; return the ids of the keys that signed some."""
    store.add_jobs([job(name) for name in ("a", "b", "c", "old", "unsigned", "null")])
    store.add_jobs([job(name) for name in ("wrong", "damaged", "unknown", "moved")])
    key, old = signed(store.collection, "a", "b", "c", "moved"), None
    old = signed(store.collection, "old", key=OLD_KEY)
    signed(store.collection, "unknown", key=b"another key of others")
    valid = store.collection.find_one({"_id": "a"})["signature"]
    set_signature(store, "wrong", valid)
    set_signature(store, "damaged", [valid])
    set_signature(store, "null", None)
    mark = {"reason": "gone", "since": at(0), "next_run_time": 5.0}
    marked = {"$set": {"quarantine": mark, "next_run_time": None}}
    store.collection.update_many({"_id": {"$in": ["c", "unsigned"]}}, marked)
    store.collection.update_one({"_id": "moved"}, {"$set": {"next_run_time": 7.0}})
    return key, old


def test_verify_counts_all_documents_by_signature_and_key(store, small_pages):
    key, old = mixed(store)
    trusted = signatures_of(store.collection, KEY, OLD_KEY)
    found = verify(store._connection, trusted, None)
    assert found == (5, 2, 2, 1, {key: 4, old: 1})
    assert found.valid + found.unsigned + found.wrong + found.unknown == len(store)


def test_verify_of_an_empty_collection_counts_nothing(store, trusted):
    assert verify(store._connection, trusted, None) == (0, 0, 0, 0, {})
    assert unverified(store._connection, trusted, None, 5) == []


def test_verify_tells_its_progress(store, trusted, small_pages):
    store.add_jobs([job(f"{n}") for n in range(7)])
    told = []
    verify(store._connection, trusted, lambda done, total: told.append((done, total)))
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_documents_that_are_no_jobs_count_as_wrong_and_are_never_signed(store, trusted):
    insert(store.collection)
    found = verify(store._connection, trusted, None)
    listed = all_unverified(store, trusted, 50)
    assert [each.key for each in listed] == [info.key for _, info in infos(store.collection)]
    jobs = [each for each in listed if each.can_be_signed]
    assert (found.unsigned, found.wrong) == (len(jobs), len(listed) - len(jobs))
    before = infos(store.collection)
    assert sorted(sign(store._connection, trusted, listed)) == sorted(each.id for each in jobs)
    can_be_signed = {each.key for each in jobs}
    for (old, info), (new, _) in zip(before, infos(store.collection), strict=True):
        assert ("signature" in new) == (info.key in can_be_signed)
        new.pop("signature", None)
        assert str(new) == str(old)
    assert verify(store._connection, trusted, None).valid == len(jobs)


NO_JOBS = {
    "id is no text": {"_id": ObjectId()},
    "id is code": {"_id": Code("id is code")},
    "id is not utf-8": {"_id": "x\ufffd"},
    "state is missing": {"job_state": None},
    "state is a text": {"job_state": "text"},
    "state is of another subtype": {"job_state": Binary(good("x")["job_state"], 128)},
    "state can't be read": {"job_state": b"\x80\x05garbage"},
    "state is that of another job": {"job_state": good("another")["job_state"]},
    "state has no trigger": {"job_state": pickle.dumps({**job("x").__getstate__(), "trigger": 5})},
}


@pytest.mark.parametrize("kind", NO_JOBS)
def test_a_document_that_is_no_job_is_listed_without_names_and_stays_unsigned(store, kind, trusted):
    document = {**good("x"), **NO_JOBS[kind]}
    if kind == "id is not utf-8":
        document |= {"job_state": good("x\ufffd")["job_state"]}
    store.collection.insert_one(document)
    [listed] = all_unverified(store, trusted)
    assert (listed.names, listed.can_be_signed) == ((), False)
    assert listed.reason == REASONS["unsigned"]
    assert sign(store._connection, trusted, [listed]) == []
    assert sign(store._connection, trusted, [listed._replace(names=("a:b",))]) == []
    assert "signature" not in store.collection.find_one({})
    assert verify(store._connection, trusted, None) == (0, 0, 1, 0, {})


def test_pages_hold_the_reasons_in_order_of_id(store, small_pages, trusted):
    mixed(store)
    listed = all_unverified(store, trusted, 2)
    assert [each.id for each in listed] == sorted(each.id for each in listed)
    unknown = signatures_of(store.collection, OLD_KEY).keys.first.id
    reasons = {each.id: each.reason for each in listed}
    other = reasons.pop("unknown")
    assert other.startswith("its signature is by the unknown key ")
    assert reasons == {
        "unsigned": REASONS["unsigned"],
        "null": REASONS["unsigned"],
        "wrong": REASONS["wrong"],
        "damaged": REASONS["damaged"],
        "old": f"its signature is by the unknown key {unknown}",
    }


def test_a_page_goes_on_after_a_job_its_description_or_its_key(store, trusted):
    store.add_jobs([job("a"), job("b"), job("c")])
    [first] = unverified(store._connection, trusted, None, 1)
    for after in first, first.info, first.key:
        ids = [each.id for each in unverified(store._connection, trusted, after, 5)]
        assert ids == ["b", "c"]


@pytest.mark.parametrize(("after", "limit"), [("x", 5), (5, 5), (None, 0), (None, "5")])
def test_wrong_arguments_of_a_page_are_refused(store, trusted, after, limit):
    with pytest.raises((ValueError, TypeError)):
        unverified(store._connection, trusted, after, limit)


class Evil:
    def __reduce__(self):
        return exec, ("import sys; sys.modules['pwned'] = sys",)


def test_names_show_hidden_classes_and_nothing_of_them_is_called(store, trusted):
    state = {**job("a").__getstate__(), "args": ([{"k": Evil()}],), "func": "gone_module:f"}
    store.collection.insert_one({**good("a"), "job_state": pickle.dumps(state)})
    [listed] = all_unverified(store, trusted)
    assert "builtins:exec" in listed.names
    assert "apscheduler.triggers.interval:IntervalTrigger" in listed.names
    assert list(listed.names) == sorted(listed.names)
    assert listed.info.func == "gone_module:f"
    assert listed.digest == sha256(pickle.dumps(state)).digest()
    assert sign(store._connection, trusted, [listed]) == ["a"]
    assert not {"pwned", "gone_module"} & set(sys.modules)


def test_sign_signs_exactly_the_states_that_were_listed(store, trusted, small_pages):
    store.add_jobs([job(f"{n}") for n in range(8)])
    listed = all_unverified(store, trusted)
    store.update_job(job("3", args=("swapped",)))
    store.remove_job("5")
    store.add_job(job("8"))
    ids = sign(store._connection, trusted, iter(listed[1:]))
    assert sorted(ids) == ["1", "2", "4", "6", "7"]
    assert sorted(each.id for each in all_unverified(store, trusted)) == ["0", "3", "8"]


def test_a_state_that_is_swapped_after_it_was_read_again_stays_unsigned(
    store, trusted, monkeypatch
):
    store.add_jobs([job("a"), job("b")])
    listed = all_unverified(store, trusted)
    write = all_states._write

    def swap_and_write(*arguments):
        store.update_job(job("a", args=("swapped",)))
        return write(*arguments)

    monkeypatch.setattr(all_states, "_write", swap_and_write)
    assert sign(store._connection, trusted, listed) == ["b"]
    assert [each.id for each in all_unverified(store, trusted)] == ["a"]


def test_a_very_large_state_swapped_for_one_of_the_same_size_gets_a_wrong_signature(
    store, trusted, monkeypatch
):
    text = "x" * 6_100_000
    store.add_job(job("a", args=(text,)))
    listed = all_unverified(store, trusted)
    write = all_states._write

    def swap_and_write(*arguments):
        store.update_job(job("a", args=("y" + text[1:],)))
        return write(*arguments)

    monkeypatch.setattr(all_states, "_write", swap_and_write)
    assert sign(store._connection, trusted, listed) == ["a"]
    [left] = all_unverified(store, trusted)
    assert (left.id, left.reason) == ("a", REASONS["wrong"])
    monkeypatch.setattr(all_states, "_write", write)
    assert sign(store._connection, trusted, [left]) == ["a"]
    assert all_unverified(store, trusted) == []


def test_a_listing_with_another_digest_signs_nothing(store, trusted):
    store.add_jobs([job("a"), job("b")])
    a, b = all_unverified(store, trusted)
    assert sign(store._connection, trusted, [a._replace(digest=b.digest), b]) == ["b"]


def test_a_second_call_and_jobs_given_twice_change_nothing(store, trusted):
    store.add_jobs([job("a"), job("b")])
    listed = all_unverified(store, trusted)
    assert sorted(sign(store._connection, trusted, listed + listed)) == ["a", "b"]
    before = list(store.collection.find())
    assert sorted(sign(store._connection, trusted, listed)) == ["a", "b"]
    assert list(store.collection.find()) == before


def test_a_wrong_signature_is_replaced_and_an_old_key_signs_no_more(store):
    mixed(store)
    trusted = signatures_of(store.collection, KEY, OLD_KEY)
    assert len(sign(store._connection, trusted, all_unverified(store, trusted))) == 5
    found = verify(store._connection, trusted, None)
    assert (found.valid, found.unsigned, found.wrong, found.unknown) == (10, 0, 0, 0)
    assert list(found.by_key.values()) == [9, 1]


def test_signing_leaves_jobs_in_quarantine_and_all_other_fields(store, trusted):
    mixed(store)
    before = {each["_id"]: each for each in store.collection.find()}
    sign(store._connection, trusted, all_unverified(store, trusted))
    assert {each.id for each in store.quarantined()} == {"c", "unsigned"}
    for document in store.collection.find():
        old = before[document["_id"]]
        assert {**document, "signature": None} == {**old, "signature": None}


def test_a_document_that_the_server_refuses_is_left_and_the_others_are_signed(
    store, database, trusted
):
    store.add_jobs([job("a"), job("refused"), job("z")])
    listed = all_unverified(store, trusted)
    rule = {"$or": [{"_id": {"$ne": "refused"}}, {"signature": {"$exists": False}}]}
    database.command("collMod", store.collection.name, validator=rule)
    assert sorted(sign(store._connection, trusted, listed)) == ["a", "z"]


def test_a_document_of_16_mib_has_no_room_for_a_signature_and_is_left(store, trusted):
    document = {**good("full"), "filler": b""}
    document["filler"] = b"x" * (16 * 1024 * 1024 - len(encode(document)))
    store.collection.insert_one(document)
    store.add_job(job("a"))
    assert sign(store._connection, trusted, all_unverified(store, trusted)) == ["a"]


@pytest.fixture
def line(server, database):
    """Return a store behind a proxy."""
    with lines(server, database) as line:
        yield line()


@pytest.mark.parametrize("how", ["lose", "close"])
@pytest.mark.parametrize("command", ["find", "update"])
def test_a_lost_answer_changes_nothing(line, how, command):
    store, trusted = line.store, signatures_of(line.store.collection)
    store.add_jobs([job("a"), job("b")])
    listed = all_unverified(store, trusted)
    line.proxy.fail(command, how)
    assert sorted(sign(store._connection, trusted, listed)) == ["a", "b"]
    assert line.proxy.fault_count == 1
    assert verify(store._connection, trusted, None).valid == 2


def test_an_error_of_the_server_is_raised_and_a_second_call_signs_the_rest(
    store, trusted, point, small_pages
):
    store.add_jobs([job(f"{n}") for n in range(5)])
    listed = all_unverified(store, trusted)
    point("failCommand", skip=1, failCommands=["update"], errorCode=13)
    with pytest.raises(PyMongoError):
        sign(store._connection, trusted, listed)
    point.off()
    assert verify(store._connection, trusted, None).valid == 3
    assert len(sign(store._connection, trusted, all_unverified(store, trusted))) == 2


def test_a_transient_refusal_is_raised(store, trusted, monkeypatch):
    store.add_job(job("a"))
    listed = all_unverified(store, trusted)

    def refuse(*arguments, **options):
        raise BulkWriteError({"writeErrors": [{"code": 112}], "writeConcernErrors": []})

    monkeypatch.setattr(type(store._connection.jobs), "bulk_write", refuse)
    with pytest.raises(BulkWriteError):
        sign(store._connection, trusted, listed)


def test_a_line_too_slow_for_a_page_gets_smaller_pages(line, monkeypatch):
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 1.0)
    store, trusted = line.store, signatures_of(line.store.collection)
    store.add_jobs([job(f"{n:02}", args=("x" * 100_000,)) for n in range(12)])
    line.proxy.rate = 400_000.0
    assert verify(store._connection, trusted, None).unsigned == 12
    assert store._connection.reading.is_bounded
    assert len(sign(store._connection, trusted, all_unverified(store, trusted))) == 12


def test_a_server_that_hangs_is_an_error(line, monkeypatch):
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 0.3)
    store, trusted = line.store, signatures_of(line.store.collection)
    store.add_job(job("a"))
    for command in "find", "ping":
        line.proxy.fail(command, "hang", 10**9)
    with pytest.raises(PyMongoError) as error:
        verify(store._connection, trusted, None)
    assert error.value.timeout


def test_pages_of_large_states_keep_only_their_descriptions(store, trusted):
    size, number = 3_000_000, 20
    store.add_jobs(job(f"{n:02}", args=[b"x" * size]) for n in range(number))
    tracemalloc.start()
    try:
        listed = unverified(store._connection, trusted, None, number)
        assert verify(store._connection, trusted, None).unsigned == len(listed) == number
        assert len(sign(store._connection, trusted, listed)) == number
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < number * size * 0.75


def test_a_mirror_of_another_store_takes_the_signatures_over(store, trusted, start):
    _, other = start()
    store.add_jobs([job("a"), job("b")])
    listed = all_unverified(store, trusted)
    sign(store._connection, trusted, listed)
    wait_until_equal(other)
