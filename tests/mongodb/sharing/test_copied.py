"""Jobs that schedulers have shared, and that were copied without the mark."""

import pytest
from pymongo import MongoClient
from pymongo.errors import ExecutionTimeout

from jobstore import MongoDBJobStore
from jobstore.mongodb.sharing import marker
from support.jobs import YEARS, at, job, names
from support.shared_stores import run

MODES = {
    "queried": {},
    "mirrored": {"mirror": True},
    "exclusive": {"mirror": "exclusive"},
}
COPIES = {"collection": "copies", "start": False}


@pytest.fixture(params=MODES)
def unshared(request):
    """Arguments of a store without `shared=True`."""
    return {"shared": False, **MODES[request.param], **COPIES}


def copy(database):
    """Copy all jobs to another collection; the mark stays where it is."""
    database["copies"].insert_many(list(database["jobs"].find()))


@pytest.fixture
def copied(make, database):
    """Copies of "a" and "b", which a sharing scheduler has run, and of "new", which has not run."""
    store = make()
    store.add_jobs([job("a"), job("b", 1)])
    assert run(store)[0] == ["a", "b"]
    store.add_job(job("new"))
    copy(database)


def refuses(store):
    with pytest.raises(ValueError, match=r'shared is False.*have shared .*\(job "') as raised:
        store.start(None, "default")
    return str(raised.value)


def test_a_scheduler_refuses_jobs_that_were_shared_and_changes_nothing(
    make, unshared, copied, database
):
    before = list(database["copies"].find())
    store = make(**unshared)
    error = refuses(store)
    assert f'shared {database.name}.copies (job "a" ' in error
    assert "Say shared=True" in error
    assert "end_sharing()" in error
    assert list(database["copies"].find()) == before
    assert list(database["copies"].index_information()) == ["_id_"]
    assert "copies_meta" not in database.list_collection_names()
    assert not store._reader.is_live
    refuses(store)


def test_a_scheduler_refuses_jobs_that_were_copied_in_mid_cycle(make, unshared, database):
    store = make()
    store.add_job(job("a"))
    store.get_due_jobs(at(10))
    copy(database)
    refuses(make(**unshared))


def test_schedulers_that_share_start_on_a_copy_and_mark_it(make, unshared, copied, database):
    store = make(**{**COPIES, "start": True})
    assert run(store)[0] == ["new"]
    assert database["copies_meta"].find_one({"_id": "sharing"})
    with pytest.raises(ValueError, match=r"schedulers have shared .* since"):
        make(**unshared).start(None, "default")


def test_end_sharing_lets_a_scheduler_start_on_a_copy(make, unshared, copied, database):
    store = make(**unshared)
    store.end_sharing()
    assert names(store) == ["a", "b", "new"]
    for document in database["copies"].find():
        assert sorted(document) == ["_id", "about", "job_state", "next_run_time"]
    assert run(store)[0] == ["new"]


def test_a_scheduler_refuses_a_collection_whose_sharing_ended_too_early(make, database):
    """Another scheduler still runs, and claims jobs after the mark was removed."""
    still_sharing = make()
    run(still_sharing)
    still_sharing.add_job(job("a"))
    still_sharing.end_sharing()
    assert run(still_sharing)[0] == ["a"]
    refuses(make(shared=False, start=False))


def test_scheduler_starts_on_copies_of_jobs_rewritten_since_their_last_run(
    make, unshared, database
):
    store = make()
    store.add_jobs([job("a"), job("b", 1)])
    run(store)
    store.update_job(job("a"))
    store.add_jobs([job("b", 1), job("new", 2)], replace_existing=True)
    copy(database)
    assert run(make(**unshared))[0] == ["a", "b", "new"]


# How many jobs a start searches for claims

PLACES = {
    "first stored": ["claimed", *"abcdef"],
    "first due": [*"abcdef", "claimed"],
    "in between": [*"abc", "claimed", *"def"],
}


@pytest.mark.parametrize(
    ("place", "run_time", "found"),
    [
        ("first stored", YEARS, True),
        ("first stored", None, True),
        ("first due", 0, True),
        ("in between", 0, True),
        ("in between", YEARS, False),
    ],
)
def test_start_searches_the_first_jobs_stored_and_those_due_first(
    make, database, monkeypatch, place, run_time, found
):
    monkeypatch.setattr(marker, "FIRST_STORED", 2)
    monkeypatch.setattr(marker, "FIRST_DUE", 2)
    store = make(shared=False)
    for name in PLACES[place]:
        store.add_job(job(name, run_time if name == "claimed" else 100))
    store.add_job(job("paused", None))
    store.shutdown()
    database["jobs"].update_one({"_id": "claimed"}, {"$set": {"acquired_by": "token"}})
    other = make(shared=False, start=False)
    if found:
        assert 'job "claimed"' in refuses(other)
    else:
        other.start(None, "default")


# Failures


@pytest.mark.parametrize("searches_before", [0, 1])
def test_start_raises_when_its_search_for_claims_fails_and_the_next_one_refuses(
    server, database, copied, monkeypatch, searches_before
):
    """If the second search fails, the first one has found no claim."""
    monkeypatch.setattr(marker, "FIRST_STORED", 1)
    database["copies"].update_one({"_id": "a"}, {"$unset": {"acquired_by": ""}})
    database["copies"].update_one({"_id": "new"}, {"$set": {"acquired_by": "token"}})
    data = {"failCommands": ["aggregate"], "appName": "looks", "errorCode": 50}
    point = {"configureFailPoint": "failCommand", "data": data}
    with MongoClient(f"{server.uri}&appName=looks") as client:
        store = MongoDBJobStore(database.name, "copies", client=client, watch=False)
        mode = {"skip": searches_before} if searches_before else "alwaysOn"
        database.client.admin.command({**point, "mode": mode})
        try:
            with pytest.raises(ExecutionTimeout):
                store.start(None, "default")
        finally:
            database.client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        assert "copies_meta" not in database.list_collection_names()
        refuses(store)
        store.shutdown()
