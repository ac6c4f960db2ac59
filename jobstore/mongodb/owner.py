"""Weak references from a store's threads to the store, so that a dropped store can end them."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import pymongo
from apscheduler.schedulers.base import STATE_STOPPED, BaseScheduler

from .connection import CLOSE_SECONDS, Connection
from .indexes import Indexes

__all__ = ["Owner", "start_failed"]


class OwnedLifecycle(Protocol):
    """The part of a `Lifecycle` that its threads use."""

    @property
    def connection(self) -> Connection:
        """The store's connection."""

    @property
    def owners(self) -> "weakref.WeakValueDictionary[int, Owner]":
        """One for each of its threads that has not ended."""

    @property
    def indexes(self) -> Indexes:
        """The collection's indexes."""

    def check_in_use(self) -> bool:
        """Whether the store still needs its threads."""

    def do_chores(self) -> None:
        """Do work that no cycle should wait for."""

    def beat(self) -> float:
        """Write the scheduler's presence, if it is time; return the seconds until the next time."""

    def farewell(self) -> Callable[[], None]:
        """Return a function that removes the scheduler's presence, also when the store is gone."""


class Owner:
    """A weak reference to a lifecycle, held by its threads: they end when the store is dropped."""

    def __init__(self, lifecycle: OwnedLifecycle) -> None:
        self._lifecycle = weakref.ref(lifecycle)
        self._connection, self._leave = lifecycle.connection, lifecycle.farewell()
        self._all = lifecycle.owners
        self._all[id(self)] = self

    def needs_thread(self) -> bool:
        """Whether the store still exists, and its scheduler's start has not failed."""
        lifecycle = self._lifecycle()
        return lifecycle is not None and lifecycle.check_in_use()

    def do_chores(self) -> None:
        """Do the store's chores, if the store still exists."""
        lifecycle = self._lifecycle()
        if lifecycle is not None:
            lifecycle.do_chores()

    def beat(self) -> float:
        """Write the scheduler's presence, if it is time; return the seconds until the next time."""
        lifecycle = self._lifecycle()
        return lifecycle.beat() if lifecycle else 0.0

    def stream_lost(self) -> None:
        """Let the store check its indexes soon: the collection may have been dropped."""
        lifecycle = self._lifecycle()
        if lifecycle is not None:
            lifecycle.indexes.check_soon()

    def thread_ended(self) -> None:
        """Note that the thread ends, which waits at most 5 s.

        If the store was dropped without `shutdown`, the last thread removes the scheduler's
        presence, and closes the client.
        """
        self._all.pop(id(self), None)
        if self._lifecycle() is None and not self._all:
            with pymongo.timeout(CLOSE_SECONDS):
                self._leave()
                self._connection.close()


@contextmanager
def start_failed(scheduler: BaseScheduler | None, store: object) -> Iterator[bool]:
    """Yield whether a scheduler's start failed after it had started the store.

    If so, the scheduler can't start again before the context ends. APScheduler takes its lock
    before it starts the stores, and holds it until all pending jobs are added. It sets its state a
    moment later. In that moment the answer may be wrong.
    """
    if (
        scheduler
        and scheduler.state == STATE_STOPPED
        and store in list(scheduler._jobstores.values())  # else the user started the store
        and scheduler._jobstores_lock.acquire(blocking=False)  # else it starts, or shuts down
    ):
        try:
            yield scheduler.state == STATE_STOPPED
        finally:
            scheduler._jobstores_lock.release()
    else:
        yield False
