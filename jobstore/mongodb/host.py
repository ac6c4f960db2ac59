"""Gives a store's parts access to its scheduler and its settings."""

import logging
import weakref
from typing import Protocol

from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler

from ..about import Tags
from ..submissions import retry_seconds
from .documents import Record, restore_runnable

__all__ = ["Host", "Store"]


class Store(Protocol):
    """The attributes of a store that its parts use; APScheduler sets the first three."""

    _scheduler: BaseScheduler | None
    _alias: str | None
    _logger: logging.Logger
    _tags: Tags | None
    pickle_protocol: int


class Host:
    """Refers to a store weakly, so that its parts don't keep a dropped store alive."""

    def __init__(self, store: Store) -> None:
        self._store = weakref.ref(store)

    @property
    def store(self) -> Store | None:
        """The store; None if it was garbage-collected."""
        return self._store()

    @property
    def scheduler(self) -> BaseScheduler | None:
        """The scheduler that started the store, if any."""
        store = self._store()
        return store._scheduler if store else None

    @property
    def alias(self) -> str | None:
        """The store's alias in that scheduler."""
        store = self._store()
        return store._alias if store else None

    @property
    def retry_seconds(self) -> float:
        """The scheduler's `jobstore_retry_interval`, in seconds."""
        return retry_seconds(self.scheduler)

    @property
    def logger(self) -> logging.Logger:
        """The store's logger, which APScheduler sets at `start`."""
        store = self._store()
        return store._logger if store else logging.getLogger(__name__)

    @property
    def pickle_protocol(self) -> int:
        """The pickle protocol for the jobs' states."""
        store = self._store()
        assert store is not None
        return store.pickle_protocol

    @property
    def tags(self) -> Tags | None:
        """Returns a job's tags; None if there are none."""
        store = self._store()
        return store._tags if store else None

    def restore_runnable(self, record: Record) -> Job:
        """Make the job of a record, to run in this scheduler.

        :raises UnreadableError: if the job can't be restored, or the scheduler lacks its executor.
        """
        return restore_runnable(record, self.scheduler, self.alias)
