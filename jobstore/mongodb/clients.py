"""The clients that stores make: stores with equal connection arguments share one.

A client has threads and connections of its own, to watch each server and to keep its pool. The
client is closed with the last store that uses it.
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
    """A client, and the stores' connections that use it; they are held weakly."""

    def __init__(self, client: MongoClient[Document]) -> None:
        self.client = client
        self._users: weakref.WeakSet[object] = weakref.WeakSet()

    def add_user(self, user: object) -> None:
        """Note one user more."""
        self._users.add(user)

    def has_room(self) -> bool:
        """Whether the pool suffices for one store more, and nobody has closed the client."""
        if getattr(self.client, "_closed", False):  # by the user, who may: it is `store.client`
            return False
        size = self.client.options.pool_options.max_pool_size
        return not size or len(self._users) < size // CONNECTIONS_PER_STORE  # None or 0: no limit

    def remove_user(self, user: object) -> None:
        """Note that a user needs the client no more; the last one closes it, once."""
        with _lock:
            is_user = user in self._users  # a shutdown may come twice, in two threads
            self._users.discard(user)
            is_last = is_user and not self._users
            if is_last:
                for key in [key for key, each in _latest.items() if each is self]:
                    del _latest[key]
        if is_last:
            with suppress(InvalidOperation):  # its user closed it with cursors left to kill
                self.client.close()


_latest: "weakref.WeakValueDictionary[Hashable, SharedClient]" = weakref.WeakValueDictionary()
_lock = threading.RLock()  # a signal's handler may shut a store down in the middle of this


def open_client(arguments: dict[str, Any], user: object) -> SharedClient:
    """Return the client of other stores with equal arguments, or a new one.

    Stores whose arguments can't be compared (unhashable ones) have clients of their own.

    :param arguments: for `MongoClient`.
    :param user: holds the client until it calls `remove_user`, or is dropped.
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
    """Make a dict's key of arguments; types count, as 1 and True are equal."""
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
    """In a forked process: its new stores don't share a client that was opened before the fork."""
    global _lock, _latest
    _lock = threading.RLock()
    _latest = weakref.WeakValueDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
