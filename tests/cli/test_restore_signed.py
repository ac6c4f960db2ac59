"""`quarantine restore` unpickles only what `--keys` and `--allow` trust."""

import pickle
import sys

import pytest
from bson import Binary

from support.damaged_documents import good
from support.jobs import at, job
from support.signed_documents import REFERENCE
from support.signed_documents import sign as signed

from .test_quarantine import put

KEYS = ["--keys", REFERENCE]


class Evil:
    def __reduce__(self):
        return exec, ("import sys; sys.modules['pwned by restore'] = sys",)


def put_evil(store, job_id):
    """Put a job into quarantine that runs code when it is unpickled."""
    put(store, job_id)
    state = {**job(job_id).__getstate__(), "args": (Evil(),)}
    update = {"$set": {"job_state": pickle.dumps(state)}}
    store.collection.update_one({"_id": job_id}, update)


@pytest.fixture(autouse=True)
def harmless():
    yield
    assert sys.modules.pop("pwned by restore", None) is None


def test_with_keys_only_signed_jobs_come_back(run, store):
    put(store, "a")
    put(store, "unsigned")
    put_evil(store, "evil")
    signed(store.collection, "a")
    done = run("quarantine", "restore", *KEYS)
    assert (done.code, done.out) == (1, "a\n")
    assert done.err.startswith("jobstore: 2 jobs stay in quarantine (")
    assert run("quarantine", "restore", *KEYS, "unsigned").code == 1


def test_a_state_with_the_signature_of_another_stays(run, store):
    put(store, "a")
    put_evil(store, "evil")
    signed(store.collection, "a")
    copied = {"signature": store.collection.find_one({"_id": "a"})["signature"]}
    store.collection.update_one({"_id": "evil"}, {"$set": copied})
    assert run("quarantine", "restore", *KEYS).out == "a\n"


@pytest.mark.parametrize("ids", [[], ["a"], ["a", "b"]])
def test_without_keys_a_signed_job_is_refused_and_nothing_is_restored(run, store, ids):
    put(store, "a")
    put_evil(store, "b")
    signed(store.collection, "a")
    done = run("quarantine", "restore", *ids)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "jobstore: job 'a' has a signature: give --keys, so that signatures are checked before any "
        "code runs\n"
    )
    assert len(store.quarantined()) == 2


def test_without_keys_a_job_is_restored_although_others_are_signed(run, store):
    put(store, "a")
    put(store, "b")
    signed(store.collection, "a")
    store.add_job(job("c"))
    signed(store.collection, "c")
    assert run("quarantine", "restore", "b") == (0, "b\n", "")


def test_a_signature_of_another_form_is_one_too(run, store):
    put(store, "a")
    store.collection.update_one({}, {"$set": {"signature": Binary(b"")}})
    assert run("quarantine", "restore").code == 1
    store.collection.update_one({}, {"$set": {"signature": None}})
    assert run("quarantine", "restore") == (0, "a\n", "")


def test_ids_of_any_type_in_quarantine_are_looked_up(run, store):
    mark = {"reason": "gone", "since": at(0), "next_run_time": 5.0}
    for job_id in ({"a": 1}, 5, "a"):
        document = {**good("a"), "_id": job_id, "quarantine": mark, "next_run_time": None}
        store.collection.insert_one(document)
    assert run("quarantine", "restore").out == "a\n"
    store.collection.update_one({"_id": 5}, {"$set": {"signature": 5}})
    assert run("quarantine", "restore").err.startswith("jobstore: job '5' has a signature")


def test_allow_refuses_other_names_with_keys_and_without(run, store):
    put(store, "a")
    put_evil(store, "evil")
    done = run("quarantine", "restore", "--allow", "other:*", "--allow", "support.*")
    assert (done.code, done.out) == (1, "a\n")
    put(store, "b")
    signed(store.collection, "b", "evil")
    assert run("quarantine", "restore", *KEYS, "--allow", "other.*").out == ""
    assert run("quarantine", "restore", *KEYS, "--allow", "support.*").out == "b\n"


def test_an_empty_pattern_is_refused(run):
    done = run("quarantine", "restore", "--allow", "")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("jobstore: --allow: allow is ['']: ")
