"""A client's connection pool, which cycles and the watchers of change streams share.

A change stream occupies a connection while the server waits for a change. PyMongo lends each
connection to one thread at a time. In a small pool, watchers would leave no connection to a cycle.
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

YIELD_SECONDS = 0.0005  # enough for another thread to take a connection that was returned
SPARE_CONNECTIONS = 2  # for a cycle, and for a call by another thread at the same time


class Pool:
    """Counts the watchers of this process that use one client.

    :ivar watchers: their number.
    """

    def __init__(self, client: MongoClient[Document]) -> None:
        self._client = client
        self._lock = threading.Lock()
        self.watchers = 0
        self._warned = False

    @property
    def is_small(self) -> bool:
        """Whether watchers that occupy connections would leave too few."""
        size = self._client.options.pool_options.max_pool_size
        return bool(size) and size < self.watchers + SPARE_CONNECTIONS  # None or 0: no limit

    @property
    def needed_size(self) -> int | None:
        """The `maxPoolSize` that the stores need; None if the pool is not smaller."""
        return self.watchers + SPARE_CONNECTIONS if self.is_small else None

    @property
    def yield_seconds(self) -> float:
        """How many seconds to pause between many reads, so that other threads get a connection."""
        return YIELD_SECONDS if self.is_small else 0

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
                self.watchers + SPARE_CONNECTIONS,
                SPARE_CONNECTIONS,
            )

    def forked(self) -> None:
        """Reset the count in a forked process, which has no watchers yet."""
        self._lock = threading.Lock()
        self.watchers = 0

    @contextmanager
    def count_watcher(self) -> Iterator[None]:
        """Count one more watcher until the context ends."""
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

    The key is the client's identity, because clients with the same options are equal.
    """
    with _lock:
        pool = _pools.get(id(client))
        if pool is None:
            pool = _pools[id(client)] = Pool(client)
        return pool


def _forked() -> None:
    """Replace the locks, which may be held by threads that exist only in the parent."""
    global _lock
    _lock = threading.Lock()
    for pool in list(_pools.values()):
        pool.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
