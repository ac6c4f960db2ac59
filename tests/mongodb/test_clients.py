"""Stores with equal connection arguments share a client, and the last one closes it."""

import gc
import os
import signal
import weakref

import pytest
from pymongo.errors import InvalidOperation

from jobstore import MongoDBJobStore
from support.commands import Commands
from support.jobs import job, names
from support.manual_scheduler import by_hand
from support.waiting import until


@pytest.fixture
def make(server, database):
    """Return a function that makes stores. The `appname` separates the clients of each test."""
    stores = []

    def make(collection="jobs", **options):
        options = {"host": server.uri, "appname": database.name, **options}
        stores.append(MongoDBJobStore(database.name, collection, **options))
        return stores[-1]

    yield make
    for store in stores:
        store.shutdown()


def is_open(client):
    try:
        client.admin.command("ping")
    except InvalidOperation:
        return False
    return True


def test_stores_with_equal_arguments_share_a_client(make):
    first, second = make(), make("other")
    assert first.client is second.client


@pytest.mark.parametrize(
    "options",
    [{"w": 1}, {"timeoutMS": 10_000}, {"retryWrites": False}, {"appname": "another"}],
)
def test_stores_with_different_arguments_do_not_share_a_client(make, options):
    assert make().client is not make(**options).client


def test_arguments_of_different_types_are_not_equal(make):
    assert make(w=1).client is not make(w=True and "majority").client
    assert make(retryWrites=True).client is not make(retryWrites="true").client


def test_lists_of_arguments_are_compared_by_their_items(make, server):
    commands = Commands()
    first, second = (make(host=[server.uri], event_listeners=[commands]) for _ in range(2))
    assert first.client is second.client
    assert first.client is not make(host=[server.uri], event_listeners=[Commands()]).client


def test_stores_with_an_unhashable_argument_do_not_share_a_client(make):
    class Unhashable(Commands):
        __hash__ = None

    listeners = [Unhashable()]
    assert make(event_listeners=listeners).client is not make(event_listeners=listeners).client


def test_last_store_closes_the_shared_client(make):
    first, second = make(), make("other")
    by_hand(first)
    scheduler = by_hand(second)
    client = first.client
    first.shutdown()
    first.shutdown()
    scheduler.add_job(print, id="a")
    assert names(second) == ["a"]
    second.shutdown()
    assert not is_open(client)


def test_restarted_store_has_an_open_client(make):
    first, second = make(), make("other")
    first.shutdown()
    first.start(None, "default")
    first.add_job(job("a"))
    assert first.client is second.client
    second.shutdown()
    assert names(first) == ["a"]
    first.shutdown()
    first.start(None, "default")
    assert names(first) == ["a"]


def test_client_closed_by_the_user_is_not_shared(make):
    first = make()
    first.client.close()
    assert is_open(make("other").client)


def test_shutdown_ends_when_the_user_has_closed_the_client_and_a_cursor_is_open(make):
    store = make()
    store.add_jobs(job(str(number)) for number in range(9))
    cursor = store.client[store.collection.database.name].jobs.find(batch_size=2)
    next(cursor)
    store.client.close()
    del cursor
    gc.collect()
    store.shutdown()
    assert not is_open(store.client)


def test_client_is_shared_by_no_more_stores_than_its_pool_can_serve(make):
    """Each store may need up to four connections, so a quarter of the pool's size is the limit."""
    clients = [id(make(f"{number}", maxPoolSize=8).client) for number in range(4)]
    assert [clients.index(each) for each in clients] == [0, 0, 2, 2]
    assert make("a", maxPoolSize=1).client is not make("b", maxPoolSize=1).client
    assert len({id(make(f"{number}", maxPoolSize=0).client) for number in range(30)}) == 1


@pytest.mark.filterwarnings("ignore:Unclosed MongoClient")  # PyMongo warns of a dropped store
def test_client_of_a_dropped_store_is_freed(server, database):
    store = MongoDBJobStore(database.name, host=server.uri, appname=database.name)
    client = weakref.ref(store.client)
    del store
    until(lambda: gc.collect() >= 0 and client() is None)


def test_given_client_is_neither_shared_nor_closed(make, session_client, database):
    given = MongoDBJobStore(database.name, client=session_client)
    assert given.client is session_client
    assert make().client is not session_client
    given.shutdown()
    assert is_open(session_client)


def test_store_with_unacknowledged_writes_is_refused_and_its_client_closed(make):
    with pytest.raises(ValueError, match="w=0"):
        make(w=0)


def test_forked_process_opens_a_new_client_for_its_stores(make, capfd):
    first = make()
    first.add_job(job("a"))
    child = os.fork()
    if not child:
        signal.alarm(60)
        status = 1
        try:
            second = make("jobs")
            is_new = second.client is not first.client
            found = names(second) == ["a"]
            second.shutdown()
            status = 0 if is_new and found else 1
        finally:
            os._exit(status)  # the child must not go on as a second pytest
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert names(first) == ["a"]


@pytest.mark.parametrize("options", [{}, {"mirror": True}, {"mirror": "exclusive"}])
def test_dropped_store_does_not_keep_the_shared_client_open(server, database, options):
    options = {"host": server.uri, "appname": database.name, "watch": False, **options}
    dropped = MongoDBJobStore(database.name, **options)
    other = MongoDBJobStore(database.name, "other", **options)
    client = other.client
    assert dropped.client is client
    gc.collect()
    gc.disable()  # the reference count alone has to free the store
    try:
        del dropped
        other.shutdown()
    finally:
        gc.enable()
    assert not is_open(client)
