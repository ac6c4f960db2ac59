"""The store as its parts know it: the scheduler that it serves, and its own settings."""

import logging
import weakref
from collections.abc import Iterable
from typing import Protocol

from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler

from .documents import Record, UnreadableError, restore_runnable

__all__ = ["Host", "Store"]


class Store(Protocol):
    """What a store says of itself; the first three come from APScheduler's base class."""

    _scheduler: BaseScheduler | None
    _alias: str | None
    _logger: logging.Logger
    pickle_protocol: int


class Host:
    """A weak reference to a store: its parts must not keep a dropped store alive."""

    def __init__(self, store: Store) -> None:
        self._store = weakref.ref(store)

    @property
    def store(self) -> Store | None:
        """The store; None if it was dropped."""
        return self._store()

    @property
    def scheduler(self) -> BaseScheduler | None:
        """The scheduler that has started the store, if any."""
        store = self._store()
        return store._scheduler if store else None

    @property
    def alias(self) -> str | None:
        """The store's name in that scheduler."""
        store = self._store()
        return store._alias if store else None

    @property
    def logger(self) -> logging.Logger:
        """The logger that APScheduler gives the store."""
        store = self._store()
        return store._logger if store else logging.getLogger(__name__)

    @property
    def pickle_protocol(self) -> int:
        """The protocol for the jobs' states."""
        store = self._store()
        assert store is not None
        return store.pickle_protocol

    def restore_runnable(self, record: Record) -> Job:
        """Make the job of a record, to run in this scheduler.

        :raises UnreadableError: if it can't be made, or its executor isn't here.
        """
        return restore_runnable(record, self.scheduler, self.alias)

    def restore_all(
        self, records: Iterable[Record]
    ) -> tuple[list[tuple[Job, Record]], list[tuple[Record, UnreadableError]]]:
        """Make the jobs that can run here; returns them, and the records of the others."""
        runnable, unrunnable = [], []
        for record in records:
            try:
                runnable.append((self.restore_runnable(record), record))
            except UnreadableError as reason:
                unrunnable.append((record, reason))
        return runnable, unrunnable
