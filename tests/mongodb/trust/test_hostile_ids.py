"""Ids that no store writes: all pages end, and no such document is signed."""

import re

import pytest
from bson import Code
from bson.raw_bson import RawBSONDocument

from jobstore.mongodb.trust.all_states import sign, unverified, verify
from support.damaged_documents import good
from support.signed_documents import all_unverified, signatures_of


@pytest.fixture
def trusted(store):
    """Return what checks the signatures of the store's collection."""
    return signatures_of(store.collection)


def test_pages_pass_ids_that_are_javascript(store, trusted):
    ids = [Code("a"), Code("b"), Code("a", {}), Code("b", {"x": 1})]
    store.collection.insert_many([{**good("x"), "_id": each} for each in ids])
    assert [each.id for each in all_unverified(store, trusted, 1)] == ids


def insert_raw(database, name, raw_id):
    """Insert the document of a job whose `_id` has this type and these bytes."""
    state = good(name)["job_state"]
    body = raw_id[:1] + b"_id\x00" + raw_id[1:]
    body += b"\x05job_state\x00" + len(state).to_bytes(4, "little") + b"\x00" + state + b"\x00"
    document = RawBSONDocument((len(body) + 4).to_bytes(4, "little") + body)
    database.command("insert", "jobs", documents=[document])


def test_an_id_that_is_not_utf_8_is_listed_and_never_signed(store, database, trusted):
    insert_raw(database, "x\ufffd", b"\x02\x03\x00\x00\x00x\xff\x00")
    [listed] = all_unverified(store, trusted)
    assert (listed.id, listed.names) == ("x\ufffd", ())
    assert sign(store._connection, trusted, [listed._replace(names=("a:b",))]) == []


NO_QUERY = re.escape("no query can name the document with the _id {'a': 1}")
TWICE = b"\x10a\x00\x02\x00\x00\x00" + b"\x10a\x00\x01\x00\x00\x00"  # {a: 2, a: 1}


def test_an_id_that_is_read_as_another_one_does_not_make_pages_endless(store, database, trusted):
    insert_raw(database, "x", b"\x03" + (len(TWICE) + 5).to_bytes(4, "little") + TWICE + b"\x00")
    for call in (
        lambda: verify(store._connection, trusted, None),
        lambda: unverified(store._connection, trusted, None, 5),
        store.describe_all,
    ):
        with pytest.raises(ValueError, match=NO_QUERY):
            call()


def test_pages_pass_ids_that_are_symbols(store, database, trusted):
    store.collection.insert_many([{**good(f"{each}"), "_id": each} for each in (5, "a", "c")])
    for name in "b", "d":
        insert_raw(database, name, b"\x0e\x02\x00\x00\x00" + name.encode() + b"\x00")
    assert [each.id for each in all_unverified(store, trusted, 1)] == [5, "a", "b", "c", "d"]
    assert [each.id for each in all_unverified(store, trusted)] == [5, "a", "b", "c", "d"]


def test_an_id_that_is_a_pointer_does_not_make_pages_endless(store, database, trusted):
    """The driver reads it as a document, which has another place."""
    insert_raw(database, "x", b"\x0c\x02\x00\x00\x00d\x00" + 12 * b"p")
    with pytest.raises(ValueError, match="no query can name the document with the _id DBRef"):
        verify(store._connection, trusted, None)
