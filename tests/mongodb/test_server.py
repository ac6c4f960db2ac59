"""A server that can't do all that the store needs is refused at the start."""

import pytest
from pymongo import MongoClient, common
from pymongo.errors import AutoReconnect, ExecutionTimeout, OperationFailure

from jobstore import MongoDBJobStore
from jobstore.testing import mongod
from support.jobs import job, names
from support.manual_scheduler import by_hand
from support.mirrored_stores import own_threads
from support.proxy import Proxy

MODES = {
    "queried": {},
    "mirrored": {"mirror": True},
    "exclusive": {"mirror": "exclusive"},
    "shared": {"shared": True},
}
LACK = r"lacks updates with an aggregation pipeline .*MongoDB 4\.4 or later"


@pytest.fixture
def proxy(server):
    with Proxy(server.nodes[0].port) as proxy:
        yield proxy


@pytest.fixture
def connect(database, proxy):
    """Makes stores behind the proxy."""
    stores = []

    def connect(**options):
        store = MongoDBJobStore(database.name, host=proxy.uri, appname="tried", **options)
        stores.append(store)
        return store

    yield connect
    for store in stores:
        store.shutdown()


@pytest.mark.parametrize("mode", MODES)
def test_a_server_without_pipeline_updates_is_refused_and_nothing_is_left_behind(
    connect, proxy, database, mode
):
    proxy.refuse_pipelines()
    before = own_threads()
    store = connect(**MODES[mode])
    with pytest.raises(ValueError, match=LACK) as raised:
        by_hand(store)
    assert "field u must be of BSON type object" in str(raised.value)
    assert proxy.fault_count == 1
    assert own_threads() == before
    assert database.list_collection_names() == []

    proxy.release()  # the server has been exchanged
    scheduler = by_hand(store)
    store.add_job(job("a"))
    scheduler._process_jobs()
    assert [name for name, _ in scheduler.executor.submitted] == ["a"]
    scheduler.shutdown()


@pytest.mark.parametrize("mode", MODES)
def test_a_server_older_than_4_4_is_refused_where_pymongo_takes_it(
    connect, proxy, database, mode, monkeypatch
):
    monkeypatch.setattr(common, "MIN_SUPPORTED_WIRE_VERSION", 6)  # as of PyMongo 4.7
    proxy.wire_version = 8
    with pytest.raises(ValueError, match=r"wire version is 8, .*Use MongoDB 4\.4 or later"):
        by_hand(connect(**MODES[mode]))
    assert database.list_collection_names() == []


@pytest.mark.parametrize(
    ("code", "error"),
    [(50, ExecutionTimeout), (91, AutoReconnect), (10107, AutoReconnect), (8, OperationFailure)],
)
def test_any_other_error_of_the_try_is_not_taken_for_a_lack(
    connect, session_client, database, code, error
):
    store = connect()
    data = {"failCommands": ["update"], "appName": "tried", "errorCode": code}
    session_client.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=data)
    with pytest.raises(error):
        by_hand(store)
    assert database.list_collection_names() == []
    by_hand(store)


@pytest.mark.parametrize("how", ["close", "lose"])
def test_a_connection_that_breaks_in_the_try_is_not_taken_for_a_lack(connect, proxy, database, how):
    store = connect()
    proxy.fail("update", how)
    with pytest.raises(AutoReconnect):
        by_hand(store)
    assert proxy.fault_count == 1
    assert database.list_collection_names() == []
    by_hand(store)


def test_a_start_changes_no_job(connect, database):
    store = connect()
    store.add_job(job("a", 1))
    before = list(database["jobs"].find())
    by_hand(store)
    assert names(store) == ["a"]
    assert list(database["jobs"].find()) == before


def test_a_user_who_may_only_read_is_not_told_of_a_lack():
    with mongod(standalone=True, options=("--auth",)) as server:
        with MongoClient(server.uri) as client:  # the first user is made by whoever is there
            client.admin.command("createUser", "root", pwd="secret", roles=["root"])
        with MongoClient(server.uri, username="root", password="secret") as client:
            roles = [{"role": "read", "db": "apscheduler"}]
            client.admin.command("createUser", "reader", pwd="secret", roles=roles)
        store = MongoDBJobStore(host=server.uri, username="reader", password="secret")
        store.start(None, "default")
        with pytest.raises(OperationFailure, match="not authorized"):
            store.add_job(job("a"))
        store.shutdown()
