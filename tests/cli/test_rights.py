"""Everything but `index`, `sign` and `quarantine restore` needs only the right to read."""

import pytest
from pymongo import MongoClient

from jobstore.cli import main
from jobstore.testing import mongod
from support.jobs import at, job
from support.signed_documents import REFERENCE

PASSWORD = "keep-it-secret"
KEYS = ["--keys", REFERENCE]
READING = [
    ["ls"],
    ["ls", "--json"],
    ["ls", "--due", "5m", "--func", "support.jobs:note"],
    ["ls", "--tag", "x"],
    ["show", "a"],
    ["count"],
    ["count", "--executor", "default"],
    ["stats"],
    ["why", "a", "--json"],
    ["quarantine"],
    ["quarantine", "list", "--json"],
    ["sign", "--json", *KEYS],
]
WRITING = [["index"], ["quarantine", "restore"], ["sign", "--yes", *KEYS]]


@pytest.fixture(scope="module")
def locked():
    """Start a server with two users: `reader` may read the jobs, and `stranger` nothing."""
    with mongod(standalone=True, options=("--auth",)) as server:
        with MongoClient(server.uri) as client:  # the first user needs no login
            client.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
        with MongoClient(server.uri, username="root", password=PASSWORD) as client:
            resource = {"db": "apscheduler", "collection": "jobs"}
            privileges = [{"resource": resource, "actions": ["find"]}]
            client.admin.command("createRole", "reader", privileges=privileges, roles=[])
            client.admin.command("createUser", "reader", pwd=PASSWORD, roles=["reader"])
            client.admin.command("createUser", "stranger", pwd=PASSWORD, roles=[])
            from jobstore import MongoDBJobStore

            store = MongoDBJobStore(client=client)
            store.add_jobs([job("a", 1), job("b")])
            mark = {"reason": "gone", "since": at(0), "next_run_time": 5.0}
            update = {"$set": {"quarantine": mark, "next_run_time": None}}
            store.collection.update_one({"_id": "b"}, update)
            yield server


@pytest.fixture
def as_user(locked, monkeypatch, capsys):
    """Return a function that runs a command as a user."""

    def as_user(user, arguments, password=PASSWORD):
        url = locked.uri.replace("mongodb://", f"mongodb://{user}:{password}@")
        url = url.replace("/?", "/apscheduler.jobs?authSource=admin&")
        monkeypatch.setenv("JOBSTORE_URL", url)
        capsys.readouterr()
        code = main(arguments)
        out, err = capsys.readouterr()
        assert PASSWORD not in out + err
        return code, out, err

    return as_user


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_reading_commands_need_no_right_but_find(as_user, arguments):
    code, _, err = as_user("reader", arguments)
    assert (code, err) == (0, "")


@pytest.mark.parametrize("arguments", WRITING, ids=" ".join)
def test_writing_commands_say_which_user_lacks_a_right(as_user, arguments):
    code, _, err = as_user("reader", arguments)
    assert code == 1
    assert err.startswith("jobstore: the user lacks a right: not authorized on apscheduler")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_user_without_rights_gets_one_line(as_user, arguments):
    code, _, err = as_user("stranger", arguments)
    assert code == 1
    assert err.startswith("jobstore: the user lacks a right: not authorized on apscheduler")
    assert len(err.splitlines()) == 1


def test_verify_needs_no_right_but_find(as_user):
    code, out, err = as_user("reader", ["verify", *KEYS])
    assert code == 1
    assert err.startswith("jobstore: 2 of 2 jobs have no valid signature")
    assert len(out.splitlines()) == 4
    code, _, err = as_user("stranger", ["verify", *KEYS])
    assert code == 1
    assert err.startswith("jobstore: the user lacks a right: not authorized on apscheduler")


def test_wrong_password_is_an_error_that_does_not_show_it(as_user):
    code, _, err = as_user("reader", ["ls"], "wrong-and-secret")
    assert code == 1
    assert "Authentication failed" in err
    assert "authSource" in err
    assert "secret" not in err


def test_doctor_tells_a_reader_which_right_is_missing(as_user):
    code, out, err = as_user("reader", ["doctor"])
    assert (code, err) == (1, "")
    lines = {line.split("\t")[1]: line.split("\t") for line in out.splitlines()}
    assert lines["schedulers"][2].startswith("can't tell: not authorized on apscheduler")
    assert lines["schedulers"][3].startswith("Grant the user the rights")
    assert lines["quarantine"][2].startswith("1 job in quarantine")


def test_doctor_tells_a_stranger_that_nothing_works(as_user):
    code, out, err = as_user("stranger", ["doctor"])
    assert (code, err) == (1, "")
    assert "nothing works" in out


def test_health_without_the_right_to_read_the_presences_can_not_tell_who_fires(as_user):
    code, out, err = as_user("reader", ["health"])
    assert (code, err) == (1, "")
    lines = {line.split("\t")[2]: line.split("\t") for line in out.splitlines()}
    assert lines["schedulers"][0] == "degraded"
    assert lines["schedulers"][3].startswith("can't tell: not authorized on apscheduler")
    assert lines["quarantine"][3].startswith("1 job in quarantine")


def test_schedulers_needs_the_right_to_read_the_presences(as_user):
    code, out, err = as_user("reader", ["schedulers"])
    assert (code, out) == (1, "")
    assert err.startswith("jobstore: the user lacks a right: not authorized on apscheduler")


def test_top_needs_the_right_to_read_the_presences(as_user):
    code, out, err = as_user("reader", ["top", "--json"])
    assert (code, out) == (1, "")
    assert err.startswith("jobstore: the user lacks a right: not authorized on apscheduler")
