"""Stores behind a proxy that can slow the line down."""

from contextlib import contextmanager

from pymongo import MongoClient

from jobstore import MongoDBJobStore
from support.commands import Commands
from support.proxy import Proxy


class Line:
    """A store behind a proxy, and its commands. The test sets the rate of the proxy."""

    def __init__(self, server, database, **options):
        self.proxy = Proxy(server.nodes[0].port)
        self.commands = Commands()
        self.client = MongoClient(self.proxy.uri, event_listeners=[self.commands])
        self.store = MongoDBJobStore(database.name, client=self.client, **options)

    def close(self):
        self.proxy.rate = 0.0
        self.store.shutdown()
        self.client.close()
        self.proxy.close()


@contextmanager
def lines(server, database):
    """Return a function that makes lines, and close them in the end."""
    made = []

    def line(**options):
        made.append(Line(server, database, **options))
        return made[-1]

    yield line
    for each in made:
        each.close()
