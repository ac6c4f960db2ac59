"""The store that a thread works for. It is held weakly: when it is dropped, its threads end."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pymongo
from apscheduler.schedulers.base import STATE_STOPPED, BaseScheduler

from .connection import CLOSE_SECONDS, Connection
from .indexes import Indexes

__all__ = ["Owner", "start_failed", "weakly"]


class Owned(Protocol):
    """What a thread asks of its store."""

    _connection: Connection
    _indexes: Indexes

    def _is_in_use(self) -> bool: ...

    def _chores(self) -> None: ...


class Owner:
    """A weak reference to a store, for its threads."""

    def __init__(self, store: Owned) -> None:
        self._store = weakref.ref(store)
        self._connection = store._connection

    def needs_thread(self) -> bool:
        """Whether the store exists still, and its scheduler's start has not failed."""
        store = self._store()
        return store is not None and store._is_in_use()

    def do_chores(self) -> None:
        """Do what the store does beside its cycles."""
        store = self._store()
        if store is not None:
            store._chores()

    def stream_is_lost(self) -> None:
        """Let the store look whether the collection was made anew, without its indexes."""
        store = self._store()
        if store is not None:
            store._indexes.look_soon()

    def thread_ends(self) -> None:
        """Close the client of a store that was dropped without `shutdown`."""
        if self._store() is None:
            with pymongo.timeout(CLOSE_SECONDS):
                self._connection.close()


@contextmanager
def start_failed(scheduler: BaseScheduler | None, store: object) -> Iterator[bool]:
    """Tell whether a scheduler's start has failed after it had started the store.

    If so, the scheduler can't start again before the context ends. APScheduler holds its lock from
    before it starts the stores until all pending jobs are added, and sets its state a moment
    later. In that moment the answer may be wrong.
    """
    if (
        scheduler
        and scheduler.state == STATE_STOPPED
        and store in list(scheduler._jobstores.values())  # else it was started by hand
        and scheduler._jobstores_lock.acquire(blocking=False)  # else it starts, or shuts down
    ):
        try:
            yield scheduler.state == STATE_STOPPED
        finally:
            scheduler._jobstores_lock.release()
    else:
        yield False


def weakly(method: Callable[..., None]) -> Callable[..., None]:
    """Make a function of a method that doesn't keep its object alive.

    :raises ReferenceError: when that is called after the object is gone.
    """
    reference = weakref.WeakMethod(method)

    def call(*args: Any) -> None:
        bound = reference()
        if bound is None:
            raise ReferenceError("the store was dropped")
        bound(*args)

    return call
