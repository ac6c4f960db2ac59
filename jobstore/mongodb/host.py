"""Gives a store's parts access to its scheduler and its settings."""

import logging
import weakref
from typing import Protocol

from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler

from ..submissions import retry_seconds
from .codec import Codec
from .documents import Record

__all__ = ["Host", "Store"]


class Store(Protocol):
    """The attributes of a store that its parts use; APScheduler sets the first three."""

    _scheduler: BaseScheduler | None
    _alias: str | None
    _logger: logging.Logger


class Host:
    """Refers to a store weakly, so that its parts don't keep a dropped store alive.

    :ivar codec: converts the store's jobs to documents and back.
    """

    def __init__(self, store: Store, codec: Codec) -> None:
        self._store = weakref.ref(store)
        self.codec = codec

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

    def restore(self, record: Record) -> Job:
        """Make the job of a record.

        :raises UnreadableError: if the job can't be restored.
        """
        return self.codec.restore(record, self.scheduler, self.alias)

    def restore_runnable(self, record: Record) -> Job:
        """Make the job of a record, to run in this scheduler.

        :raises UnreadableError: if the job can't be restored, or the scheduler lacks its executor.
        """
        return self.codec.restore_runnable(record, self.scheduler, self.alias)
