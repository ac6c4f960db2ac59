"""Runs commands in this process, on the collection of the fixture `store`."""

import json
import sys
from typing import NamedTuple

import pytest

from jobstore.cli import main
from support.terminals import VARIABLES

PROGRAM = [sys.executable, "-m", "jobstore"]


class Done(NamedTuple):
    """The results of a command."""

    code: int
    out: str
    err: str

    @property
    def rows(self):
        """The lines of stdout, split at tabs."""
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def objects(self):
        """The lines of stdout as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in (*VARIABLES, "JOBSTORE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def url_of(uri, database, collection="jobs"):
    """Return the TARGET for a collection on the server at a URI of the tests."""
    return uri.replace("/?", f"/{database}.{collection}?")


@pytest.fixture
def target(server, database):
    return url_of(server.uri, database.name)


@pytest.fixture
def run(target, monkeypatch, capsys):
    """Return a function that runs a command on the fixture's target."""
    monkeypatch.setenv("JOBSTORE_URL", target)

    def run(*arguments):
        capsys.readouterr()
        code = main([str(each) for each in arguments])
        return Done(code, *capsys.readouterr())

    return run
