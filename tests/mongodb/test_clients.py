"""Stores whose connection arguments are equal share a client, which the last of them closes."""

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
    """Makes stores with clients of their own making, by `appname` different ones for each test."""
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
def test_stores_with_other_arguments_do_not(make, options):
    assert make().client is not make(**options).client


def test_arguments_are_equal_only_if_their_types_are(make):
    assert make(w=1).client is not make(w=True and "majority").client
    assert make(retryWrites=True).client is not make(retryWrites="true").client


def test_a_list_of_arguments_is_compared_by_its_items(make, server):
    commands = Commands()
    first, second = (make(host=[server.uri], event_listeners=[commands]) for _ in range(2))
    assert first.client is second.client
    assert first.client is not make(host=[server.uri], event_listeners=[Commands()]).client


def test_what_can_not_be_compared_is_not_shared(make):
    class Unhashable(Commands):
        __hash__ = None

    listeners = [Unhashable()]
    assert make(event_listeners=listeners).client is not make(event_listeners=listeners).client


def test_the_last_store_closes_the_client(make):
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


def test_a_store_that_starts_again_has_an_open_client(make):
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


def test_a_client_that_its_user_has_closed_is_not_shared(make):
    first = make()
    first.client.close()
    assert is_open(make("other").client)


def test_a_shutdown_after_its_user_closed_the_client_ends_with_cursors_left_to_kill(make):
    store = make()
    store.add_jobs(job(str(number)) for number in range(9))
    cursor = store.client[store.collection.database.name].jobs.find(batch_size=2)
    next(cursor)
    store.client.close()
    del cursor
    gc.collect()
    store.shutdown()
    assert not is_open(store.client)


def test_no_more_stores_share_a_client_than_its_pool_suffices_for(make):
    """A quarter of its connections: each store may need up to four."""
    clients = [id(make(f"{number}", maxPoolSize=8).client) for number in range(4)]
    assert [clients.index(each) for each in clients] == [0, 0, 2, 2]
    assert make("a", maxPoolSize=1).client is not make("b", maxPoolSize=1).client
    assert len({id(make(f"{number}", maxPoolSize=0).client) for number in range(30)}) == 1


@pytest.mark.filterwarnings("ignore:Unclosed MongoClient")  # PyMongo's, of a dropped store
def test_a_store_that_is_dropped_keeps_no_client(server, database):
    store = MongoDBJobStore(database.name, host=server.uri, appname=database.name)
    client = weakref.ref(store.client)
    del store
    until(lambda: gc.collect() >= 0 and client() is None)


def test_a_given_client_is_neither_shared_nor_closed(make, session_client, database):
    given = MongoDBJobStore(database.name, client=session_client)
    assert given.client is session_client
    assert make().client is not session_client
    given.shutdown()
    assert is_open(session_client)


def test_where_no_write_is_acknowledged_the_client_is_closed_again(make):
    with pytest.raises(ValueError, match="w=0"):
        make(w=0)


def test_a_forked_process_opens_a_client_for_its_new_stores(make, capfd):
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
