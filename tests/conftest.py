"""Fixtures: a real MongoDB server, and an empty database for each test."""

import itertools

import pytest
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from hypothesis import HealthCheck, settings
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection
from jobstore.mongodb.slow_line import paced
from jobstore.mongodb.writes import write_behind
from jobstore.testing import mongod
from support.collections_of_garbage import quick_collections  # a fixture
from support.commands import Commands
from support.fail_points import point  # a fixture
from support.history import recording  # a fixture
from support.mirrored_stores import start  # a fixture
from support.one_offs import one_offs  # a fixture
from support.overdue import start_on  # a fixture
from support.restarts import in_another_process, restart  # fixtures
from support.shared_stores import clock, make  # fixtures
from support.signed_stores import signed_on  # a fixture
from support.standbys import scheduler_on  # a fixture
from support.unsteady import mode, retry_clock, unsteady, unsteady_store  # fixtures

__all__ = ["clock", "in_another_process", "make", "mode", "one_offs", "point"]
__all__ += [
    "quick_collections",
    "recording",
    "restart",
    "retry_clock",
    "scheduler_on",
    "signed_on",
    "start",
    "start_on",
    "unsteady",
    "unsteady_store",
]

NUMBERS = itertools.count()

# No test depends on a fast machine, as the machine may be emulated.
settings.register_profile("slow", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slow")


@pytest.fixture(scope="session")
def server():
    """Start a replica set of one node. Without a mongod, the tests that need one fail."""
    with mongod(options=("--setParameter", "enableTestCommands=1")) as server:
        yield server


@pytest.fixture(scope="session")
def session_client(server):
    with MongoClient(server.uri) as client:
        yield client


@pytest.fixture
def database(session_client):
    """Return a new database for one test."""
    database = session_client[f"jobstore_test_{next(NUMBERS)}"]
    yield database
    for name in database.list_collection_names():  # much faster than dropping the database
        database.drop_collection(name)


@pytest.fixture
def unhurried(monkeypatch):
    """Lift the time limits, so that a slow machine sends as many commands as a fast one."""
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 300.0)
    monkeypatch.setattr(paced, "TARGET_SECONDS", 60.0)
    monkeypatch.setattr(write_behind, "FLUSH_SECONDS", 60.0)


@pytest.fixture
def commands():
    """Return the listener that lists the commands of the client of `store`."""
    return Commands()


@pytest.fixture
def store(server, database, commands):
    """Return a MongoDB store on an empty collection."""
    with MongoClient(server.uri, event_listeners=[commands]) as client:
        store = MongoDBJobStore(database.name, client=client)
        yield store
        store.shutdown()


@pytest.fixture
def stock(database, session_client):
    """Return a stock store on the collection of `store`, with a client of its own."""
    stock = StockMongoDBJobStore(database.name, client=session_client)
    stock.start(None, "default")
    return stock
