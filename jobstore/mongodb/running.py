"""What goes on from `start` to `shutdown`: the store's threads, and the filling of its mirror."""

import os
import time
import weakref
from functools import partial

import pymongo
from apscheduler.schedulers.base import STATE_STOPPED, BaseScheduler

from ..base import first_few
from .alarm import Alarm, can_be_woken
from .connection import CLOSE_SECONDS
from .flusher import Flusher
from .indexes import Indexes
from .mirrored import Mirrored
from .owner import Owner, start_failed
from .polling import poll_seconds
from .retry import Retry
from .server import check_server
from .status import Status
from .threads import daemon
from .through import WrittenThrough
from .watch import Watcher

__all__ = ["Running", "stores"]

LEAST_SECONDS = 0.1  # for the last writes, where threads of the store have used up the time
CLOSE_SHARE = 0.9  # of the time of `shutdown`: the commands in it end before it does


class Running(WrittenThrough):
    """The part of a store that begins and ends, with its threads."""

    _mirrored: Mirrored | None
    _alarm: Alarm
    _retry: Retry
    _indexes: Indexes
    _watched: bool | float
    _watcher: Watcher | None = None
    _flusher: Flusher | None = None
    _starts = 0
    _start_failed = False  # the last one, its scheduler's or its own

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        """Create the indexes that are missing, try what is in quarantine again, fill the mirror.

        O(n) with a mirror. Of the threads that it starts, `shutdown` ends all; so they end when
        the scheduler's start fails, or the store is dropped.

        :raises pymongo.errors.PyMongoError: if the server can't be reached within 30 s.
        :raises ValueError: if the server lacks updates with a pipeline, or is older than MongoDB
            4.4, or has no change streams to keep a mirror current by; if schedulers share the
            collection, or did, and this one was not told to.
        """
        super().start(scheduler, alias)
        self._end_threads()
        self._start_failed = True
        try:
            self._begin()
        except BaseException:
            self._end_threads()
            self._reader.reset()
            self._reader.closed()
            raise
        self._start_failed = False

    def _begin(self) -> None:
        self._starts += 1
        for part in (self._quarantine, self._retry, self._indexes, self._deferred):
            part.logger = self._logger
        with self._lock:
            self._connection.open()
            check_server(self._connection)
            self._deferred.flush()
            self._reader.opened(self._logger)
            self._indexes.create()
            self._quarantine.sweep()
            self._quarantine.put_back(self._runnable)
            self._retry.postpone()
        self._start_threads()

    def _is_in_use(self) -> bool:
        """For its threads: whether they go on. Shuts down if the scheduler's start has failed."""
        with start_failed(self._scheduler, self) as failed:
            if failed and not self._start_failed:
                self._start_failed = True
                self._logger.info("The scheduler's start has failed: its job store shuts down")
                self._end_threads()
                self._close(CLOSE_SECONDS)
                self._forget()
        return not failed

    def _start_again_if_running(self) -> None:
        """Start again, if the start has failed and the scheduler asks for jobs all the same."""
        if self._start_failed and self._scheduler and self._scheduler.state != STATE_STOPPED:
            self.start(self._scheduler, self._alias or "")

    def _start_threads(self) -> None:
        woken = self._watched is not False
        if woken and self._scheduler is not None and not can_be_woken(self._scheduler):
            kind = type(self._scheduler).__name__
            self._logger.info("No wake-ups: a %s can't be woken by other threads", kind)
            woken = False
        self._alarm.set(weakref.proxy(self._scheduler) if woken and self._scheduler else None)
        mirrored = self._mirrored
        if mirrored and not mirrored.follows:
            mirrored.fill()
        elif mirrored or (woken and self._scheduler):
            self._watcher = Watcher(
                Owner(self),
                self._connection,
                self._alarm,
                mirrored.queried if mirrored else self._reader,
                self._quarantine.passed_over,
                mirrored.mirror if mirrored else None,
                None if mirrored or self._watched is True else self._watched,
                poll_seconds(self._scheduler),
                self._logger,
            )
            self._watcher.start()
        if mirrored:
            self._flusher = Flusher(self._deferred, Owner(self), self._alarm, self._logger)
            self._flusher.start()
            with self._lock:
                mirrored.go_live()

    def _chores(self) -> None:
        """Quarantine, and what follows from it, and the indexes; in the store's own thread."""
        self._retry.step(self._runnable)
        self._indexes.look()
        self._reader.do_chores()

    @property
    def _has_thread(self) -> bool:
        """Whether a thread of the store does the chores; else the cycle does."""
        return self._watcher is not None or self._flusher is not None

    def status(self) -> Status:
        """Tell whether the server is there, what waits to be written, and how old the mirror is.

        >>> store.status().pending
        0
        """
        pending, oldest = self._deferred.status()
        watcher = self._watcher
        connected = not self._connection.closed and not self._deferred.failing
        return Status(
            connected=connected and (watcher is None or watcher.connected),
            pending=pending,
            oldest=oldest,
            lag=watcher.lag if watcher else None,
        )

    def shutdown(self) -> None:
        """Write what is deferred, and close the client, if it is the store's own; never raises.

        Waits at most 5 s for the last writes, also in a signal's handler, whatever that has
        interrupted. Jobs of the cycle that are not yet through stay due. `start` may follow.
        """
        ends_at = time.monotonic() + CLOSE_SECONDS
        self._deferred.hand_over_locks()
        self._end_watchers_together()
        self._end_threads()
        left = max(ends_at - time.monotonic(), LEAST_SECONDS)
        closing = daemon(partial(self._close, left * CLOSE_SHARE), "jobstore-shutdown")
        try:
            closing.start()
        except RuntimeError:  # no more threads, as the process ends
            self._close(left)
        else:
            closing.join(left)
        self._forget()

    def _close(self, seconds: float) -> None:
        """Do what may wait for the server, or for a lock of PyMongo that a signal's handler has."""
        starts = self._starts
        with pymongo.timeout(seconds):
            if self._lock.acquire(timeout=seconds):  # a thread may hang in a write
                try:
                    self._deferred.flush_if_possible()
                    for cycle in list(self._cycles.values()):
                        cycle.release()
                    self._reader.give_back()
                finally:
                    self._lock.release()
            if self._starts == starts:  # else `shutdown` has given up, and a start followed
                self._reader.closed()
                self._connection.close()  # tells the server, and that takes a command as well

    def _forget(self) -> None:
        left = self._deferred.writes
        if left:
            some = first_few(sorted(map(str, left)))
            self._logger.error("%d jobs are not written and run again: %s", len(left), some)
        self._deferred.forget()
        for cycle in list(self._cycles.values()):
            cycle.shut_down = True
        self._reader.reset()
        self._connection.closed = True  # also where closing the client hangs

    def _end_watchers_together(self) -> None:
        """Let the watchers of all stores end, if their scheduler has stopped.

        It shuts its stores down one after the other, and each waits for its own watcher.
        """
        if self._scheduler is None or self._scheduler.state != STATE_STOPPED:
            return
        for store in list(stores):
            watcher = store._watcher
            if watcher and store._scheduler is self._scheduler:
                watcher.end()
                store._reader.reset()  # nothing keeps it current any more

    def _end_threads(self) -> None:
        self._deferred.in_callers_thread()
        for thread in (self._watcher, self._flusher):
            if thread:
                thread.stop()
        self._watcher = self._flusher = None

    def _forked(self) -> None:
        """In a forked process, which has none of the threads."""
        self._deferred.forked()
        self._cycles.clear()
        self._reader.forked()
        self._alarm.set(None)
        self._watcher = self._flusher = None


stores: "weakref.WeakSet[Running]" = weakref.WeakSet()


def _forked() -> None:
    for store in list(stores):
        store._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
