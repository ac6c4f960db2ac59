"""`verify`, `unverified` and `sign` of a store."""

import pytest

from jobstore import MongoDBJobStore
from jobstore.mongodb import UnverifiedJob, Verification
from support.jobs import job
from support.signed_documents import KEY, OLD_KEY
from support.signed_documents import sign as signed


@pytest.fixture
def keyed(server, database):
    """Return a store with keys, on the collection of `store`."""
    keyed = MongoDBJobStore(database.name, host=server.uri, signing_keys=[KEY, OLD_KEY])
    yield keyed
    keyed.shutdown()


@pytest.mark.parametrize(
    "call",
    [lambda store: store.verify(), lambda store: store.unverified(), lambda store: store.sign([])],
    ids=["verify", "unverified", "sign"],
)
def test_a_store_without_keys_refuses_the_call(store, call):
    with pytest.raises(ValueError, match="signing_keys is None: "):
        call(store)


def test_jobs_without_signatures_are_listed_signed_and_counted(store, keyed):
    store.add_jobs([job("a"), job("b"), job("c")])
    key_id = signed(store.collection, "c")
    listed = keyed.unverified()
    assert [type(each) for each in listed] == [UnverifiedJob] * 2
    assert [(each.id, each.info.func) for each in listed] == [
        ("a", "support.jobs:note"),
        ("b", "support.jobs:note"),
    ]
    assert keyed.unverified(after=listed[0], limit=1) == listed[1:]
    assert keyed.verify() == Verification(1, 2, 0, 0, {key_id: 1})
    assert keyed.sign(each for each in keyed.unverified() if each.id == "a") == ["a"]
    assert keyed.verify() == Verification(2, 1, 0, 0, {key_id: 2})


def test_the_stores_own_jobs_have_signatures(keyed):
    keyed.add_jobs([job("a"), job("b")])
    assert keyed.verify().valid == 2
    assert keyed.unverified() == []


def test_the_store_runs_what_it_has_signed(store, keyed):
    store.add_job(job("a"))
    assert keyed.lookup_job("a") is None
    keyed.sign(keyed.unverified())
    assert keyed.lookup_job("a").id == "a"


def test_a_signed_job_leaves_the_quarantine_when_it_is_retried(store, keyed):
    store.add_job(job("a"))
    keyed.start(None, "default")
    assert keyed.get_due_jobs(job("a").next_run_time) == []
    assert keyed.restore_quarantined() == []
    assert keyed.sign(keyed.unverified()) == ["a"]
    assert [each.id for each in keyed.quarantined()] == ["a"]
    assert keyed.restore_quarantined() == ["a"]
