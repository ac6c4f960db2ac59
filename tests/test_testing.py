"""`jobstore.testing` starts a real server for tests, and removes it afterwards."""

import os
from importlib import metadata
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError

from jobstore import testing
from jobstore.testing import find_mongod, mongod


@pytest.mark.parametrize(
    ("arguments", "members"), [({}, 1), ({"standalone": True}, 0), ({"nodes": 3}, 3)], ids=str
)
def test_server_is_a_replica_set_or_a_standalone_and_ends_with_the_block(arguments, members):
    with mongod(**arguments) as server, MongoClient(server.uri) as client:
        client["a"]["b"].insert_one({"_id": 1})
        assert client["a"]["b"].find_one() == {"_id": 1}
        assert len(client.admin.command("hello").get("hosts", [])) == members
        pids = [node.pid for node in server.nodes]
        folders = [node.folder for node in server.nodes]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not any(folder.exists() for folder in folders)


def test_killed_server_starts_again_with_its_data():
    with mongod() as server:
        with MongoClient(server.uri) as client:
            client["a"]["b"].insert_one({"_id": 1})
        server.kill()
        with (
            MongoClient(server.uri, serverSelectionTimeoutMS=100) as client,
            pytest.raises(ServerSelectionTimeoutError),
        ):
            client.admin.command("ping")
        server.start()
        with MongoClient(server.uri) as client:
            assert client["a"]["b"].find_one() == {"_id": 1}


def test_server_of_the_environment_is_used_and_not_controlled(monkeypatch):
    monkeypatch.setenv("JOBSTORE_MONGODB_URI", "mongodb://example.com")
    with mongod() as server:
        assert server.uri == "mongodb://example.com"
        with pytest.raises(RuntimeError, match="can't start or stop the server at"):
            server.kill()


def test_mongod_on_the_path_is_preferred(monkeypatch, tmp_path):
    own = tmp_path / "mongod"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_mongod() == str(own)


def test_error_without_a_mongod_says_what_to_do(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(testing.metadata, "distribution", missing)
    with pytest.raises(RuntimeError, match=r"\$JOBSTORE_MONGODB_URI.*jobstore\[testing\]"):
        find_mongod()


def test_error_of_a_mongod_that_does_not_start_shows_its_last_output():
    with (
        pytest.raises(RuntimeError, match=r"mongod did not start:\n(.|\n)*no-such-option"),
        mongod(options=("--no-such-option",)),
    ):
        pass


def test_mongod_of_the_wheel_is_executable():
    assert os.access(Path(find_mongod()), os.X_OK)
