"""A server that does not answer is a clear error after 3 s, or after the limit in the URL."""

import os
import socket
import subprocess

import pytest
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.testing import mongod
from support.jobs import job
from support.processes import PATIENCE
from support.proxy import Proxy

from .conftest import PROGRAM, url_of

KEYS = ["--keys", "keys_of_the_cli_test:KEYS"]
VERIFY, SIGN = ["verify", *KEYS], ["sign", "--yes", *KEYS]
COMMANDS = [["ls"], ["stats"], ["quarantine", "restore"], ["index"], VERIFY, SIGN]


@pytest.fixture(autouse=True)
def with_keys(tmp_path, monkeypatch):
    """Let processes find signing keys in the current directory."""
    (tmp_path / "keys_of_the_cli_test.py").write_text("KEYS = [b'k' * 16]\n")
    monkeypatch.setenv("PYTHONPATH", os.getcwd(), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)


def error_of(url, monkeypatch, *arguments):
    """Run a command that fails in a process, and return its only line."""
    monkeypatch.setenv("JOBSTORE_URL", url)
    command = [*PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def lonely():
    """Start a server that tests stop."""
    with mongod(standalone=True) as server:
        yield server


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_stopped_server_is_an_error_of_one_line(lonely, arguments, monkeypatch):
    lonely.kill()
    line = error_of(url_of(lonely.uri, "d"), monkeypatch, *arguments)
    lonely.start()
    assert line.startswith("jobstore: no answer from the server within 3 s: ")
    assert "Connection refused" in line


@pytest.mark.parametrize("arguments", [["ls"], ["stats"]], ids=" ".join)
def test_frozen_server_is_an_error_of_one_line(lonely, arguments, monkeypatch):
    [node] = lonely.nodes
    node.freeze()
    try:
        line = error_of(url_of(lonely.uri, "d"), monkeypatch, *arguments)
    finally:
        node.thaw()
    assert line.startswith("jobstore: no answer from the server within 3 s: ")


def test_user_may_set_another_time_limit(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and says nothing
        port = silent.getsockname()[1]
        url = f"mongodb://127.0.0.1:{port}/d.c?directConnection=true&timeoutMS=300"
        line = error_of(url, monkeypatch, "ls")
    assert "within 3 s" not in line
    assert line.startswith("jobstore: no answer from the server: ")


def hang_from(proxy, *commands):
    """Let a proxy answer nothing from the first of these commands on."""
    hangs = []

    def fault(request):  # see `Proxy.fail`
        hangs.extend(name for name in commands if request[26:].startswith(name + b"\x00"))
        return "hang" if hangs else ""

    proxy.faults.append(fault)


HANGING = [["ls"], ["count"], ["show", "a"], ["stats"], VERIFY, SIGN]


@pytest.mark.parametrize("arguments", HANGING, ids=" ".join)
def test_server_that_hangs_later_is_an_error_of_one_line(server, database, arguments, monkeypatch):
    with MongoClient(server.uri) as client:
        MongoDBJobStore(database.name, client=client).add_job(job("a"))
    with Proxy(server.nodes[0].port) as proxy:
        hang_from(proxy, b"find", b"aggregate")
        line = error_of(url_of(proxy.uri, database.name), monkeypatch, *arguments)
    assert line.startswith(("jobstore: the server did not answer in time: ", "jobstore: no answer"))


def test_unknown_host_is_named(monkeypatch):
    line = error_of("mongodb://no-such-host.invalid/d.c", monkeypatch, "ls")
    assert "no-such-host.invalid" in line
