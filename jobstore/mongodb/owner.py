"""What a store's threads know of it; they hold it weakly, and end when it is dropped."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import pymongo
from apscheduler.schedulers.base import STATE_STOPPED, BaseScheduler

from .connection import CLOSE_SECONDS, Connection
from .indexes import Indexes

__all__ = ["Owner", "start_failed"]


class Owned(Protocol):
    """What a thread asks of the lifecycle that it belongs to."""

    @property
    def connection(self) -> Connection:
        """The store's."""

    @property
    def indexes(self) -> Indexes:
        """The collection's."""

    def is_in_use(self) -> bool:
        """Whether threads go on."""

    def do_chores(self) -> None:
        """Do work that no cycle should wait for."""


class Owner:
    """A weak reference to a lifecycle, for its threads: they end when the store is dropped."""

    def __init__(self, lifecycle: Owned) -> None:
        self._lifecycle = weakref.ref(lifecycle)
        self._connection = lifecycle.connection

    def needs_thread(self) -> bool:
        """Whether the store exists still, and its scheduler's start has not failed."""
        lifecycle = self._lifecycle()
        return lifecycle is not None and lifecycle.is_in_use()

    def do_chores(self) -> None:
        """Do work that no cycle should wait for."""
        lifecycle = self._lifecycle()
        if lifecycle is not None:
            lifecycle.do_chores()

    def stream_is_lost(self) -> None:
        """Let the store look whether the collection was made anew, without its indexes."""
        lifecycle = self._lifecycle()
        if lifecycle is not None:
            lifecycle.indexes.look_soon()

    def thread_ends(self) -> None:
        """Close the client of a store that was dropped without `shutdown`."""
        if self._lifecycle() is None:
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
