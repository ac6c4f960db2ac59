"""Runs commands in this process, on the collection of the fixture `store`."""

import json
import sys
from typing import NamedTuple

import pytest

from jobstore.cli import main
from support.jobs import at, job
from support.presences import LATE, plant
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


@pytest.fixture
def busy(store):
    """Return a store whose collection has schedulers, jobs that wait, and one in quarantine."""
    store.add_jobs([job(f"job{n}", n) for n in range(30)])
    mark = {"reason": "gone", "since": at(0), "next_run_time": 5.0}
    update = {"$set": {"quarantine": mark, "next_run_time": None}}
    store.collection.update_one({"_id": "job4"}, update)
    status = {"cycle": 0.0123, "pending": 7, "lag": 2.5}
    for number in range(2):
        counters = {"fired": 1234, "lateness": LATE, "leases_lost": 3}
        host = f"web-{number}.example.com"
        plant(store.collection, host, counters=counters, status=status, mode="shared")
    plant(store.collection, "web-2.example.com", lives=False, age=95, status=status)
    return store
