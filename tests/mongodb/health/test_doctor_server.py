"""The doctor finds each fault of a server, of the user's rights and of the client's options."""

import pytest
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection
from jobstore.testing import mongod
from support.jobs import job
from support.presences import plant
from support.proxy import Proxy

PASSWORD = "keep-it-secret"
ALL = ["find", "insert", "update", "remove"]
SNAPSHOTS = "minSnapshotHistoryWindowInSeconds"
MEGABYTE = 2**20


def found(store):
    """Return the doctor's findings by name, of which each has one."""
    findings = store.doctor()
    by_name = {each.name: each for each in findings}
    assert len(by_name) == len(findings)
    return by_name


@pytest.fixture
def examine(database):
    """Return a function that examines the collection through a client with these arguments."""

    def examine(*args, **options):
        with MongoClient(*args, **options) as client:
            return found(MongoDBJobStore(database.name, client=client))

    return examine


@pytest.fixture
def proxy(server):
    with Proxy(server.nodes[0].port) as proxy:
        yield proxy


# Outages


def test_server_that_is_gone_is_the_only_finding(examine):
    (finding,) = examine("127.0.0.1", 1, serverSelectionTimeoutMS=100).values()
    assert (finding.level, finding.name) == ("down", "connection")
    assert finding.text == "no answer: 127.0.0.1:1: [Errno 111] Connection refused"
    assert finding.advice.startswith("See whether the server runs at this address")


@pytest.mark.parametrize("how", ["hang", "close"])
@pytest.mark.parametrize("command", ["ping", "connectionStatus", "count"])
def test_outage_ends_the_examination_with_a_finding(examine, proxy, command, how, monkeypatch):
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 0.5)
    proxy.fail(command, how, times=99)
    findings = examine(proxy.uri)
    assert list(findings)[-1] == "connection"
    assert findings["connection"].level == "down"
    assert ("server" in findings) == (command != "ping")
    assert "quarantine" not in findings


# Kinds of servers


def test_replica_set_is_named_with_its_version(examine, server):
    text = examine(server.uri)["server"].text
    assert text.startswith("MongoDB 6.0.")
    assert text.endswith("replica set jobstore of 1 node")


def test_old_server_is_down(examine, proxy):
    proxy.greeting = {"maxWireVersion": 8}
    findings = examine(proxy.uri)
    finding = findings.get("server") or findings["connection"]  # newer drivers refuse it themselves
    assert finding.level == "down"
    assert "MongoDB 4.4 or later" in finding.advice


def test_router_has_no_oplog_and_no_window(examine, proxy):
    proxy.greeting = {"msg": "isdbgrid", "setName": None}
    findings = examine(proxy.uri)
    assert findings["server"].text.endswith("a router of a sharded cluster")
    assert findings["oplog"].text == "no oplog: its shards have one each"
    assert findings["snapshots"].level == "well"


@pytest.fixture(scope="module")
def standalone():
    with mongod(standalone=True) as server:
        yield server


def test_standalone_server_comes_with_advice_and_is_well(standalone):
    with MongoClient(standalone.uri) as client:
        store = MongoDBJobStore("alone", client=client)
        store.start(None, "default")
        store.shutdown()
        plant(store.collection)
        findings = found(store)
    assert {each.level for each in findings.values()} == {"well"}
    assert "replica set of one node" in findings["server"].advice
    assert findings["oplog"].text == "no oplog: a standalone server has none"
    assert findings["write concern"].text.startswith("w=1, the server's default, without the jour")
    assert findings["write concern"].advice.startswith("Pass journal=True")


# The write concern


@pytest.fixture(scope="module")
def three():
    with mongod(3) as server:
        yield server


@pytest.mark.slow
def test_write_concern_below_the_majority_is_degraded_in_a_set_of_three(three, examine):
    finding = examine(three.uri, w=1)["write concern"]
    assert finding.level == "degraded"
    assert finding.text.startswith("w=1, the client's: a failover may undo writes")
    assert 'w="majority"' in finding.advice
    for w in ("majority", 2, 3):
        assert examine(three.uri, w=w)["write concern"].level == "well", w
    assert examine(three.uri)["write concern"].text == "w='majority', the server's default"
    with MongoClient(three.uri) as client:
        default = {"defaultWriteConcern": {"w": 1}, "writeConcern": {"w": "majority"}}
        client.admin.command("setDefaultRWConcern", 1, **default)
    finding = examine(three.uri)["write concern"]
    assert finding.level == "degraded"
    assert finding.text.startswith("w=1, the server's default: a failover")


def test_write_without_the_journal_comes_with_advice(examine, server):
    for options in ({"w": 1}, {"w": "majority", "journal": False}):
        finding = examine(server.uri, **options)["write concern"]
        assert finding.level == "well"
        assert "without the journal" in finding.text
        assert finding.advice.startswith("Pass journal=True")
    for options in ({"w": 1, "journal": True}, {"w": "majority"}, {}):
        assert examine(server.uri, **options)["write concern"].advice == ""


# The oplog, and the window of snapshots


@pytest.fixture(scope="module")
def other():
    """Start a replica set whose settings the tests may change."""
    with mongod() as server:
        yield server


def test_oplog_that_has_room_is_well(other, examine):
    finding = examine(other.uri)["oplog"]
    assert finding.level == "well"
    assert "of 64 MB used" in finding.text


def test_full_oplog_of_less_than_an_hour_is_degraded(other, examine):
    with MongoClient(other.uri) as client:
        for _ in range(9):
            client["filler"]["filler"].insert_many([{"x": b"x" * MEGABYTE} for _ in range(8)])
    finding = examine(other.uri)["oplog"]
    assert finding.level == "degraded"
    assert "after a longer outage a mirror reads all jobs again" in finding.text
    assert "replSetResizeOplog" in finding.advice


@pytest.mark.parametrize("seconds", [0, 300])
def test_window_of_snapshots_is_named_with_its_cost(other, examine, seconds):
    with MongoClient(other.uri) as client:
        client.admin.command("setParameter", 1, **{SNAPSHOTS: seconds})
    finding = examine(other.uri)["snapshots"]
    assert finding.level == "well"
    assert finding.text.startswith(f"{SNAPSHOTS} is {seconds}")
    assert (f"{SNAPSHOTS}: 0" in finding.advice) == bool(seconds)
    assert ("82 %" in finding.text) == bool(seconds)


# Rights

USERS = {
    "scheduler": ([*ALL, "createIndex", "changeStream"], ALL),
    "reader": (["find"], ["find"]),
    "blind": ([*ALL, "createIndex", "changeStream"], []),
    "clumsy": (["find", "insert", "update", "changeStream"], ALL),
    "stranger": ([], []),
}


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """Start a replica set with users; return its URI."""
    secret = tmp_path_factory.mktemp("secret") / "secret"
    secret.write_text("a" * 100)
    secret.chmod(0o600)
    with mongod(options=("--auth", "--keyFile", str(secret))) as server:
        with MongoClient(server.uri) as client:  # the first user needs no login
            client.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
        with MongoClient(server.uri, username="root", password=PASSWORD) as client:
            for user, rights in USERS.items():
                privileges = [
                    {"resource": {"db": "apscheduler", "collection": name}, "actions": actions}
                    for name, actions in zip(("jobs", "jobs_meta"), rights, strict=True)
                    if actions
                ]
                client.admin.command("createRole", user, privileges=privileges, roles=[])
                client.admin.command("createUser", user, pwd=PASSWORD, roles=[user])
            roles = [{"role": "readWrite", "db": "apscheduler"}]
            client.admin.command("createUser", "writer", pwd=PASSWORD, roles=roles)
            roles = [*roles, "clusterMonitor", {"role": "read", "db": "local"}]
            client.admin.command("createUser", "monitor", pwd=PASSWORD, roles=roles)
            store = MongoDBJobStore(client=client)
            store.start(None, "default")
            store.add_job(job("a"))
            store.shutdown()
            plant(store.collection)
        yield server.uri


@pytest.fixture
def as_user(locked):
    """Return a function that examines the collection as a user."""

    def as_user(name, password=PASSWORD):
        with MongoClient(locked, username=name, password=password) as client:
            return found(MongoDBJobStore(client=client))

    return as_user


def unknown(findings):
    return {name for name, each in findings.items() if each.text.startswith("can't tell")}


OF_ADMINISTRATORS = {"write concern", "oplog", "snapshots"}
OF_META = {"format", "mark", "schedulers"}


@pytest.mark.parametrize("user", ["scheduler", "writer"])
def test_user_of_a_scheduler_can_tell_all_but_the_findings_of_administrators(as_user, user):
    findings = as_user(user)
    assert unknown(findings) == OF_ADMINISTRATORS
    assert {each.level for each in findings.values()} == {"well"}
    assert f"{user}@admin has all rights" in findings["rights"].text
    assert "clusterMonitor" in findings["oplog"].advice


def test_monitor_can_tell_all(as_user):
    findings = as_user("monitor")
    assert unknown(findings) == set()
    assert {each.level for each in findings.values()} == {"well"}


def test_reader_is_told_to_examine_the_rights_of_the_schedulers(as_user):
    finding = as_user("reader")["rights"]
    assert finding.level == "well"
    assert "reader@admin may only look, and lacks insert, update, remove, createIndex, change" in (
        finding.text
    )
    assert "as their user" in finding.advice


def test_user_with_some_of_the_rights_is_degraded_with_the_effects(as_user):
    findings = as_user("clumsy")
    assert findings["rights"].level == "degraded"
    assert "clumsy@admin lacks remove, createIndex on jobs: a job that has ended" in (
        findings["rights"].text
    )
    assert unknown(findings) == OF_ADMINISTRATORS


def test_user_who_may_not_read_the_presences_is_told_so(as_user):
    findings = as_user("blind")
    assert unknown(findings) == OF_ADMINISTRATORS | OF_META
    assert {findings[name].level for name in OF_META} == {"degraded"}
    assert "others" not in findings  # nobody can tell whether a scheduler fires
    assert "not authorized on apscheduler" in findings["mark"].text
    assert findings["mark"].advice.startswith("Grant the user the rights")
    assert findings["rights"].text.endswith(
        "schedulers don't know of each other, and shared=True doesn't start"
    )


def test_stranger_is_told_which_rights_are_missing(as_user):
    findings = as_user("stranger")
    assert unknown(findings) == OF_ADMINISTRATORS | OF_META | {
        "jobs",
        "indexes",
        "quarantine",
        "held",
    }
    assert findings["rights"].level == "degraded"
    assert "nothing works" in findings["rights"].text


def test_wrong_password_is_a_finding_that_does_not_show_it(as_user):
    (finding,) = as_user("reader", "wrong-and-secret").values()
    assert (finding.level, finding.name) == ("down", "connection")
    assert finding.text == "the server refuses the client: Authentication failed."
    assert "authSource" in finding.advice


def test_server_that_requires_a_login_is_told_from_one_that_does_not(locked, examine, server):
    finding = examine(server.uri)["rights"]
    assert finding.text == "the server requires no login"
    assert finding.advice.startswith("Turn authentication on")
    findings = examine(locked)
    assert findings["rights"].text.startswith("can't tell: command find requires authentication")
