"""A store accepts any synchronous client, and refuses other objects."""

import pytest
from pymongo import AsyncMongoClient, MongoClient

from jobstore import MongoDBJobStore
from support.jobs import job

NOWHERE = {"host": "mongodb://127.0.0.1:1", "connect": False}
with MongoClient(**NOWHERE) as plain:
    database = plain["app"]
    collection = database["jobs"]
asynchronous = AsyncMongoClient(**NOWHERE)


class Wrapper:
    """Wraps a client and delegates to it, as instrumentation does."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        return getattr(self._client, name)

    def __getitem__(self, name):
        return self._client[name]


class Derived(MongoClient):
    pass


@pytest.mark.parametrize(
    ("client", "given"),
    [
        (asynchronous, "AsyncMongoClient"),
        (asynchronous["app"], "AsyncDatabase"),
        (database, "Database"),
        (collection, "Collection"),
        ("mongodb.test_given_client:asynchronous", "AsyncMongoClient"),
        ("mongodb.test_given_client:database", "Database"),
        (MongoClient, "type"),
        ({"host": "localhost"}, "dict"),
        (17, "int"),
    ],
)
@pytest.mark.parametrize("mode", [{}, {"mirror": True}, {"shared": True}])
def test_argument_that_is_not_a_client_is_refused_at_once(client, given, mode):
    with pytest.raises(TypeError, match=rf"client is a {given}.*a pymongo\.MongoClient"):
        MongoDBJobStore(client=client, **mode)


@pytest.mark.parametrize("kind", [Derived, lambda uri: Wrapper(MongoClient(uri))])
def test_derived_and_wrapped_clients_are_accepted(server, database, kind):
    client = kind(server.uri)
    store = MongoDBJobStore(database.name, client=client)
    store.start(None, "default")
    store.add_job(job("a"))
    assert store.lookup_job("a").id == "a"
    store.shutdown()
    client.close()
