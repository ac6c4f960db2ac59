"""Lets stores with equal connection arguments share a client.

Each client has its own threads and connections, for monitoring the servers and for its pool. The
last store that uses a client closes it.
"""

import os
import threading
import weakref
from collections.abc import Hashable
from contextlib import suppress
from typing import Any

from pymongo import MongoClient
from pymongo.errors import InvalidOperation

from .documents import Document

__all__ = ["SharedClient", "open_client"]

CONNECTIONS_PER_STORE = 4  # its threads take two, its callers the others


class SharedClient:
    """A client, and weak references to its users: the connections of stores."""

    def __init__(self, client: MongoClient[Document]) -> None:
        self.client = client
        self._users: weakref.WeakSet[object] = weakref.WeakSet()

    def add_user(self, user: object) -> None:
        """Add a user."""
        self._users.add(user)

    def has_room(self) -> bool:
        """Whether the pool suffices for one more store, and the client is open."""
        if getattr(self.client, "_closed", False):  # an application may close `store.client`
            return False
        size = self.client.options.pool_options.max_pool_size
        return not size or len(self._users) < size // CONNECTIONS_PER_STORE  # None or 0: no limit

    def remove_user(self, user: object) -> None:
        """Remove a user; with the last one, close the client. Harmless if repeated."""
        with _lock:
            is_user = user in self._users  # two threads may shut down the same store
            self._users.discard(user)
            is_last = is_user and not self._users
            if is_last:
                for key in [key for key, each in _latest.items() if each is self]:
                    del _latest[key]
        if is_last:
            with suppress(InvalidOperation):  # an application closed it with open cursors
                self.client.close()


_latest: "weakref.WeakValueDictionary[Hashable, SharedClient]" = weakref.WeakValueDictionary()
_lock = threading.RLock()  # a signal handler may shut down a store while its thread has the lock


def open_client(arguments: dict[str, Any], user: object) -> SharedClient:
    """Return the client of other stores with equal arguments, or a new one.

    Stores with unhashable arguments don't share clients.

    :param arguments: arguments of `MongoClient`.
    :param user: uses the client until `remove_user`, or until it is dropped.
    """
    key = _key(arguments)
    with _lock:
        shared = None if key is None else _latest.get(key)
        if shared is None or not shared.has_room():
            shared = SharedClient(MongoClient(**arguments))
            if key is not None:
                _latest[key] = shared
        shared.add_user(user)
        return shared


def _key(arguments: dict[str, Any]) -> Hashable | None:
    """Make a dict's key, with types, as 1 == True; None if an argument is unhashable."""
    key = tuple(
        (name, type(value), tuple(value) if isinstance(value, list) else value)
        for name, value in sorted(arguments.items())
    )
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _forked() -> None:
    """After a fork, let the child's new stores share none of the parent's clients."""
    global _lock, _latest
    _lock = threading.RLock()
    _latest = weakref.WeakValueDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
