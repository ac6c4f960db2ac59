"""A MongoDB user needs few rights; passwords and TLS options are passed to the client."""

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

import jobstore
from jobstore import MongoDBJobStore
from jobstore.testing import mongod
from support.jobs import YEARS, at, job, names, run_times
from support.manual_scheduler import by_hand
from support.tls import make_certificate, tls_before
from support.waiting import until

RIGHTS = ["find", "insert", "update", "remove"]
PASSWORD = "keep-it-secret"


@pytest.fixture(scope="module")
def locked():
    """Start a server with users.

    - `worker` may read and write jobs, and read the mark of a shared collection.
    - `starter` may also create indexes.
    - `blind` may read and write jobs, but not read the mark.
    - `sharer` may do all of this, and set the mark.
    """
    with mongod(standalone=True, options=("--auth",)) as server:
        with MongoClient(server.uri) as client:  # the first user needs no login
            client.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
        with MongoClient(server.uri, username="root", password=PASSWORD) as client:
            users = {
                "worker": (RIGHTS, ["find"]),
                "starter": ([*RIGHTS, "createIndex"], ["find"]),
                "blind": (RIGHTS, []),
                "sharer": ([*RIGHTS, "createIndex"], ["find", "insert", "update"]),
            }
            for user, (on_jobs, on_mark) in users.items():
                privileges = [
                    {"resource": {"db": "apscheduler", "collection": name}, "actions": actions}
                    for name, actions in [("jobs", on_jobs), ("jobs_meta", on_mark)]
                    if actions
                ]
                client.admin.command("createRole", user, privileges=privileges, roles=[])
                client.admin.command("createUser", user, pwd=PASSWORD, roles=[user])
            yield server
            client.drop_database("apscheduler")


def connect(server, user, password=PASSWORD, **options):
    return MongoDBJobStore(
        host=server.uri,
        username=user,
        password=password,
        authMechanism="SCRAM-SHA-256",
        **options,
    )


def test_least_rights_are_enough_for_every_call(locked, caplog):
    """The first start needs `createIndex` as well."""
    store = connect(locked, "starter")
    store.start(None, "default")
    assert "next_run_time_1" in list_indexes(locked)
    store.shutdown()

    store = connect(locked, "worker")
    store.add_jobs([job("a"), job("b", 1, every=None), job("bad", 2, executor="gone")])
    scheduler = by_hand(store)
    scheduler._process_jobs()
    assert run_times(store) == {"a": at(YEARS).timestamp(), "bad": None}
    assert [each.id for each in store.quarantined()] == ["bad"]
    assert store.restore_quarantined() == []
    store.add_job(job("c"))
    store.add_jobs([job("c"), job("d")], replace_existing=True)
    store.update_jobs([job("c", 5)])
    store.update_job(job("d", 6))
    assert store.lookup_job("c").next_run_time == at(5)
    assert len(store) == 4
    store.remove_job("c")
    store.remove_jobs(["d"])
    assert [each.id for each in store.get_all_jobs()] == ["bad", "a"]
    store.remove_all_jobs()
    assert names(store) == []
    scheduler.shutdown()
    assert "No right to read" not in caplog.text
    assert caplog.text.count("No right to write to apscheduler.jobs_meta") == 2, "once a start"


def test_store_that_may_not_write_its_presence_looks_at_its_jobs_and_can_not_see_others(locked):
    starter = connect(locked, "starter")
    starter.start(None, "default")
    starter.shutdown()
    store = connect(locked, "worker")
    scheduler = by_hand(store)
    until(lambda: store.status().missing_indexes == ())
    assert store.status().overdue == 0
    assert store.status().others is None
    [others] = [each for each in jobstore.health(store).findings if each.name == "others"]
    assert (others.level, "can't see" in others.text) == ("well", True)
    scheduler.shutdown()
    assert store.status().others == ()


def test_sharing_needs_the_right_to_set_its_mark(locked):
    store = connect(locked, "sharer", shared=True)
    scheduler = by_hand(store)
    store.add_jobs([job("a"), job("b", 1, every=None)])
    scheduler._process_jobs()
    assert run_times(store) == {"a": at(YEARS).timestamp()}
    store.remove_all_jobs()
    scheduler.shutdown()
    alone = connect(locked, "worker")
    with pytest.raises(ValueError, match=r"schedulers have shared apscheduler\.jobs since"):
        alone.start(None, "default")
    alone.shutdown()
    store = connect(locked, "worker", shared=True)
    with pytest.raises(OperationFailure, match="not authorized"):
        store.start(None, "default")
    store.shutdown()
    store = connect(locked, "root")
    store.end_sharing()
    store.shutdown()


@pytest.mark.parametrize("others", ["refuse", "wait"])
@pytest.mark.parametrize("user", ["worker", "blind"])
def test_store_that_depends_on_others_needs_the_right_to_see_them(locked, user, others):
    store = connect(locked, user, others=others)
    with pytest.raises(ValueError, match=f"others is '{others}', but this user has no right"):
        store.start(None, "default")
    store.shutdown()


def test_start_without_the_right_to_read_the_mark_continues_with_a_warning(locked, caplog):
    store = connect(locked, "blind")
    store.start(None, "default")
    assert "No right to read apscheduler.jobs_meta" in caplog.text
    store.shutdown()


def test_start_without_the_right_to_read_the_mark_finds_sharing_by_claims(locked):
    with MongoClient(locked.uri, username="root", password=PASSWORD) as client:
        jobs = client["apscheduler"]["jobs"]
        jobs.insert_one({"_id": "a", "next_run_time": None, "acquired_by": "token"})
        store = connect(locked, "blind")
        with pytest.raises(ValueError, match=r'schedulers have shared .*\(job "a"'):
            store.start(None, "default")
        store.shutdown()
        jobs.delete_one({"_id": "a"})


def list_indexes(server):
    with MongoClient(server.uri, username="root", password=PASSWORD) as client:
        return list(client["apscheduler"]["jobs"].index_information())


def test_start_without_the_right_to_create_indexes_continues_with_a_warning(locked, caplog):
    with MongoClient(locked.uri, username="root", password=PASSWORD) as client:
        client["apscheduler"]["jobs"].drop()
    store = connect(locked, "worker")
    store.start(None, "default")
    assert "No right to create indexes" in caplog.text
    store.add_job(job("a", 1))
    assert [each.id for each in store.get_due_jobs(at(1))] == ["a"]
    store.get_next_run_time()
    store.shutdown()


def test_wrong_password_raises_at_the_start_and_is_not_shown(locked):
    store = connect(locked, "worker", "wrong-and-secret")
    with pytest.raises(OperationFailure, match="Authentication failed") as raised:
        store.start(None, "default")
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(store)
    store.shutdown()


def test_tls_options_reach_the_client(server, database, tmp_path):
    certificate, key = make_certificate(tmp_path)
    with tls_before(server.nodes[0].port, certificate, key) as uri:
        options = {"database": database.name, "host": uri, "tls": True}
        store = MongoDBJobStore(**options, tlsCAFile=str(certificate))
        by_hand(store)
        store.add_job(job("a", 1))
        assert names(store) == ["a"]
        store.shutdown()
        stranger = MongoDBJobStore(**options, timeoutMS=1000)
        with pytest.raises(Exception, match="certificate verify failed"):
            stranger.start(None, "default")  # it has no certificate of the CA
        stranger.shutdown()
