"""The start refuses a server that lacks a feature that the store needs."""

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
    """Return a function that makes stores behind the proxy."""
    stores = []

    def connect(**options):
        store = MongoDBJobStore(database.name, host=proxy.uri, appname="tried", **options)
        stores.append(store)
        return store

    yield connect
    for store in stores:
        store.shutdown()


@pytest.mark.parametrize("mode", MODES)
def test_server_without_pipeline_updates_is_refused_and_the_start_undone(
    connect, proxy, database, mode
):
    proxy.refuse_pipelines()
    before = own_threads()
    store = connect(**MODES[mode])
    with pytest.raises(ValueError, match=LACK) as raised:
        by_hand(store)
    assert "field u must be of BSON type object" in str(raised.value)
    assert proxy.fault_count == 1
    assert {*own_threads()} <= {*before}
    assert database.list_collection_names() == []

    proxy.release()  # as if the server had been upgraded
    scheduler = by_hand(store)
    store.add_job(job("a"))
    scheduler._process_jobs()
    assert [name for name, _ in scheduler.executor.submitted] == ["a"]
    scheduler.shutdown()


@pytest.mark.parametrize("mode", MODES)
def test_server_older_than_4_4_is_refused_when_pymongo_accepts_it(
    connect, proxy, database, mode, monkeypatch
):
    monkeypatch.setattr(common, "MIN_SUPPORTED_WIRE_VERSION", 6)  # that of PyMongo 4.7
    proxy.greeting = {"maxWireVersion": 8}
    with pytest.raises(ValueError, match=r"wire version is 8, .*Use MongoDB 4\.4 or later"):
        by_hand(connect(**MODES[mode]))
    assert database.list_collection_names() == []


@pytest.mark.parametrize(
    ("code", "error"),
    [(50, ExecutionTimeout), (91, AutoReconnect), (10107, AutoReconnect), (8, OperationFailure)],
)
def test_other_error_of_the_trial_update_is_raised_unchanged(
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
def test_broken_connection_during_the_trial_update_raises_auto_reconnect(
    connect, proxy, database, how
):
    store = connect()
    proxy.fail("update", how)
    with pytest.raises(AutoReconnect):
        by_hand(store)
    assert proxy.fault_count == 1
    assert database.list_collection_names() == []
    by_hand(store)


def test_start_changes_no_job(connect, database):
    store = connect()
    store.add_job(job("a", 1))
    before = list(database["jobs"].find())
    by_hand(store)
    assert names(store) == ["a"]
    assert list(database["jobs"].find()) == before


def test_user_with_read_rights_only_gets_the_servers_error():
    with mongod(standalone=True, options=("--auth",)) as server:
        with MongoClient(server.uri) as client:  # the first user needs no login
            client.admin.command("createUser", "root", pwd="secret", roles=["root"])
        with MongoClient(server.uri, username="root", password="secret") as client:
            roles = [{"role": "read", "db": "apscheduler"}]
            client.admin.command("createUser", "reader", pwd="secret", roles=roles)
        store = MongoDBJobStore(host=server.uri, username="reader", password="secret")
        store.start(None, "default")
        with pytest.raises(OperationFailure, match="not authorized"):
            store.add_job(job("a"))
        store.shutdown()
