"""The page on rights: its role suffices and has no right too many, and its TLS options connect."""

import json
import re
from itertools import count

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from jobstore import MongoDBJobStore, Where
from jobstore.testing import mongod
from support.jobs import job, names, note
from support.pages import DOCS, blocks
from support.tls import make_certificate
from support.waiting import until

PAGE = DOCS / "how-to" / "rights.md"
PASSWORD = "keep-it-secret"
NUMBERS = count()
MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


def role():
    """Return the privileges of the role on the page."""
    (script,) = (block.code for block in blocks(PAGE) if block.language == "js")
    (privileges,) = re.findall(r"privileges: (\[.*\]),\n", script, re.DOTALL)
    return json.loads(re.sub(r"(\w+):", r'"\1":', privileges))


ROLE = role()


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """Start a replica set that requires a login and TLS; return its options for the root user."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = make_certificate(folder)
    pem = folder / "mongod.pem"
    pem.write_text(key.read_text() + certificate.read_text())
    pem.chmod(0o600)
    secret = folder / "secret"
    secret.write_text("a" * 100)
    secret.chmod(0o600)
    options = (
        *("--auth", "--keyFile", str(secret), "--tlsMode", "allowTLS"),
        *("--tlsCertificateKeyFile", str(pem), "--tlsCAFile", str(certificate)),
        "--tlsAllowConnectionsWithoutCertificates",
    )
    with mongod(options=options) as server:
        with MongoClient(server.uri) as client:
            client.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
        root = {"host": server.uri, "username": "root", "password": PASSWORD}
        root |= {"tls": True, "tlsCAFile": str(certificate)}
        with MongoClient(**root) as client:
            for mode in ("preferTLS", "requireTLS"):
                client.admin.command("setParameter", 1, tlsMode=mode)
        yield root


@pytest.fixture
def admin(locked):
    with MongoClient(**locked) as client:
        client.drop_database("apscheduler")
        yield client


def user_without(admin, collection=None, action=None):
    """Create a user with the rights on the page but one; returns the name."""
    name = f"user{next(NUMBERS)}"
    privileges = [
        each | {"actions": [right for right in each["actions"] if right != action]}
        if each["resource"]["collection"] == collection
        else each
        for each in ROLE
    ]
    admin.admin.command("createRole", name, privileges=privileges, roles=[])
    admin.admin.command("createUser", name, pwd=PASSWORD, roles=[name])
    return name


def work_with_all_rights(options):
    """Start a scheduler, run jobs, and make all calls."""
    store = MongoDBJobStore(**options)
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone="UTC")
    try:
        scheduler.start()
        scheduler.add_job(note, id="once")
        scheduler.add_job(note, "interval", seconds=0.1, id="often")
        first = scheduler.get_job("often").next_run_time
        until(lambda: scheduler.get_job("once") is None)  # flushes first, so it raises errors
        until(lambda: scheduler.get_job("often").next_run_time > first)
        store.add_jobs([job("a"), job("b")])
        store.update_jobs([job("a", 5)])
        assert store.restore_quarantined() == [] == store.quarantined()
        assert store.release_held() == 0
        scheduler.remove_job("often")
        store.remove_all_jobs()
        assert len(store) == 0
    finally:
        scheduler.shutdown() if scheduler.running else store.shutdown()
    ender = MongoDBJobStore(**options)
    try:
        ender.end_sharing()
    finally:
        ender.shutdown()


@pytest.mark.parametrize("mode", MODES)
def test_role_on_the_page_suffices_for_every_mode(locked, admin, mode, caplog):
    user = user_without(admin)
    work_with_all_rights(locked | {"username": user} | MODES[mode])
    assert [each for each in caplog.records if each.levelname in ("WARNING", "ERROR")] == []
    assert len(admin["apscheduler"]["jobs"].index_information()) == 3
    left = [each["_id"] for each in admin["apscheduler"]["jobs_meta"].find()]
    assert left == ["format"], "no trace of the scheduler"


@pytest.mark.parametrize(
    ("collection", "action", "mode", "warning"),
    [
        ("jobs", "find", "queried", None),
        ("jobs", "insert", "queried", None),
        ("jobs", "update", "queried", None),
        ("jobs", "remove", "queried", None),
        ("jobs", "createIndex", "queried", "No right to create indexes"),
        ("jobs", "changeStream", "queried", "No change stream, polling every 0.25 s instead"),
        ("jobs", "changeStream", "mirrored", None),
        ("jobs_meta", "find", "queried", "No right to read apscheduler.jobs_meta"),
        ("jobs_meta", "insert", "queried", "No right to write to apscheduler.jobs_meta"),
        ("jobs_meta", "insert", "shared", None),
        ("jobs_meta", "update", "queried", "No right to write to apscheduler.jobs_meta"),
        ("jobs_meta", "update", "shared", None),
        ("jobs_meta", "remove", "shared", None),
    ],
)
def test_no_right_on_the_page_can_be_spared(
    locked, admin, caplog, collection, action, mode, warning
):
    """Without it there is a warning, or an error if `warning` is None."""
    user = user_without(admin, collection, action)
    options = locked | {"username": user} | MODES[mode]
    if warning:
        work_with_all_rights(options)
        assert warning in caplog.text
    else:
        with pytest.raises(OperationFailure, match="not authorized on apscheduler"):
            work_with_all_rights(options)


LOOKS = {
    "find": lambda store: [
        store.find(where)[0] for where in (Where(), Where(func="support.jobs:note"))
    ],
    "count": lambda store: [store.count(), store.count(Where(paused=False, executor="default"))],
    "describe": lambda store: store.describe("a").func,
    "statistics": lambda store: store.statistics().jobs,
    "verify": lambda store: store.verify(lambda done, total: None).unsigned,
    "unverified": lambda store: store.unverified()[0].id,
    "describe_all": lambda store: store.describe_all(),
    "sign": lambda store: store.sign(store.unverified()),
    "create_indexes": lambda store: store.create_indexes(),
}


def rights_to_look_in():
    """Return the rights that the page names for each call."""
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ((?:`\w+`(?:, )?)+) \|$", PAGE.read_text(), re.M)
    return {
        call: re.findall(r"\w+", rights)
        for calls, rights in rows
        for call in re.findall(r"\w+", calls)
        if call in LOOKS
    }


@pytest.mark.parametrize("call", LOOKS)
def test_rights_to_look_in_suffice_and_none_can_be_spared(locked, admin, call):
    writer = MongoDBJobStore(**locked)
    writer.add_jobs([job("a"), job("b", None)])
    writer.shutdown()
    admin["apscheduler"]["jobs"].update_many({}, {"$unset": {"about": 1}})
    rights = rights_to_look_in()[call]
    for spared in (None, *rights):
        user, actions = f"user{next(NUMBERS)}", [each for each in rights if each != spared]
        resource = {"db": "apscheduler", "collection": "jobs"}
        privileges = [{"resource": resource, "actions": actions}] if actions else []
        admin.admin.command("createRole", user, privileges=privileges, roles=[])
        admin.admin.command("createUser", user, pwd=PASSWORD, roles=[user])
        store = MongoDBJobStore(**locked | {"username": user}, signing_keys=[b"k" * 16])
        try:
            if spared is None:
                assert LOOKS[call](store) or call in ("describe_all", "create_indexes")
                fields = {"about": 1, "signature": 1}
                admin["apscheduler"]["jobs"].update_many({}, {"$unset": fields})
            else:
                with pytest.raises(OperationFailure, match="not authorized on apscheduler"):
                    LOOKS[call](store)
        finally:
            store.shutdown()


def test_options_on_the_page_connect(locked, admin, monkeypatch):
    """All but the host and the file with the CA are the page's."""
    monkeypatch.setenv("MONGODB_PASSWORD", PASSWORD)
    admin.admin.command("createRole", "scheduler", privileges=ROLE, roles=[])
    admin.admin.command("createUser", "scheduler", pwd=PASSWORD, roles=["scheduler"])
    (code,) = (block.code for block in blocks(PAGE) if block.language == "python")
    code = code.replace('"db.example.com"', repr(locked["host"]))
    code = code.replace('"/etc/ssl/ca.pem"', repr(locked["tlsCAFile"]))
    namespace = {}
    exec(code, namespace)
    namespace["scheduler"].add_job(note, "interval", days=1, id="a")
    assert names(namespace["store"]) == ["a"]
    namespace["scheduler"].shutdown()


def test_server_refuses_connections_without_tls(locked):
    client = MongoClient(locked["host"], serverSelectionTimeoutMS=500)
    with client, pytest.raises(PyMongoError):
        client.admin.command("ping")
