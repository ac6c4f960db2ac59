"""The connections of a client, which cycles and the watchers of change streams share.

A change stream holds a connection for as long as the server waits for a change. PyMongo lends
each of them to one thread at a time; so in a small pool watchers would leave none to a cycle.
"""

import logging
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from pymongo import MongoClient

from .documents import Document

__all__ = ["Pool", "pool_of"]

TURN_SECONDS = 0.0005  # that another thread needs to take a connection that was given back
SPARE = 2  # connections: a cycle needs one, and a call by another thread beside it


class Pool:
    """Counts the watchers of this process that use one client.

    :ivar watchers: how many they are.
    """

    def __init__(self, client: MongoClient[Document]) -> None:
        self._client = client
        self._lock = threading.Lock()
        self.watchers = 0
        self._warned = False

    @property
    def is_small(self) -> bool:
        """Whether watchers that wait in a connection would leave too few."""
        size = self._client.options.pool_options.max_pool_size
        return bool(size) and size < self.watchers + SPARE  # None or 0: no limit

    @property
    def turn_seconds(self) -> float:
        """How long to pause between many reads, so that other threads get their turn."""
        return TURN_SECONDS if self.is_small else 0

    def warn(self, logger: logging.Logger) -> None:
        """Log once that the pool is small, and how large it should be."""
        with self._lock:
            warned, self._warned = self._warned, True
        if not warned:
            logger.warning(
                "The client's pool is small, with maxPoolSize=%d: to leave connections to the "
                "schedulers, changes by others are read 4 times a second, not at once. Use "
                "maxPoolSize=%d or more: one for each store, and %d",
                self._client.options.pool_options.max_pool_size,
                self.watchers + SPARE,
                SPARE,
            )

    def forked(self) -> None:
        """In a forked process, which has no watchers yet."""
        self._lock = threading.Lock()
        self.watchers = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count one watcher more, while it works."""
        with self._lock:
            self.watchers += 1
        try:
            yield
        finally:
            with self._lock:
                self.watchers -= 1


_pools: "weakref.WeakValueDictionary[int, Pool]" = weakref.WeakValueDictionary()
_lock = threading.Lock()


def pool_of(client: MongoClient[Document]) -> Pool:
    """Return the one `Pool` of a client.

    Clients with the same options are equal, so they are told apart by identity.
    """
    with _lock:
        pool = _pools.get(id(client))
        if pool is None:
            pool = _pools[id(client)] = Pool(client)
        return pool


def _forked() -> None:
    """In a forked process: none of its parent's watchers is here, nor who holds the locks."""
    global _lock
    _lock = threading.Lock()
    for pool in list(_pools.values()):
        pool.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
