"""What goes on from `start` to `shutdown`: a store's threads, and what goes with them."""

import os
import time
import weakref
from functools import partial

import pymongo
from apscheduler.schedulers.base import STATE_STOPPED

from ..base import first_few
from .connection import CLOSE_SECONDS
from .indexes import Indexes
from .mirroring.change_stream import Watcher
from .mirroring.flusher import Flusher
from .mirroring.mirror import Mirror
from .mirroring.mirrored import Mirrored
from .owner import Owner, start_failed
from .parts import Parts
from .polling import poll_seconds
from .readers import Reader
from .server import check_server
from .status import Status
from .threads import daemon
from .wakeups import can_be_woken
from .writes.retry import Retry

__all__ = ["Lifecycle"]

MIN_SECONDS = 0.1  # for the last writes, where threads of the store have used up the time
CLOSE_SHARE = 0.9  # of the time of `shutdown`: the commands in it end before it does


class Lifecycle:
    """Starts the threads of a store and ends them; with them what else begins and ends.

    :param watched: the store's argument `watch`.
    :ivar watcher: the thread that follows the collection, if there is one.
    :ivar flusher: the thread that flushes a mirrored store's writes.
    """

    def __init__(self, parts: Parts, watched: bool | float) -> None:
        self._host, self._locks, self._cycles = parts.host, parts.locks, parts.cycles
        self.connection, self._quarantine = parts.connection, parts.quarantine
        self._write_behind, self._reader, self._wakeups = (
            parts.write_behind,
            parts.reader,
            parts.wakeups,
        )
        self._watched = watched
        self._retry = Retry(parts.connection, parts.quarantine)
        self.indexes = Indexes(parts.connection)
        self.watcher: Watcher | None = None
        self.flusher: Flusher | None = None
        self._starts = 0
        self._start_failed = False  # the last one, the scheduler's or the store's own
        _all.add(self)

    def start(self) -> None:
        """Connect, look after the collection, and start the threads; O(n) with a mirror.

        If that fails, no thread is left.
        """
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
        for part in (self._quarantine, self._retry, self.indexes, self._write_behind):
            part.logger = self._host.logger
        with self._locks.io_lock:
            self.connection.open()
            check_server(self.connection)
            self._write_behind.flush()
            self._reader.opened(self._host.logger)
            self.indexes.create()
            self._quarantine.sweep()
            self._quarantine.put_back(self._host.restore_runnable)
            self._retry.postpone()
        self._start_threads()

    def is_in_use(self) -> bool:
        """Whether threads go on. Shuts down if the scheduler's start has failed."""
        with start_failed(self._host.scheduler, self._host.store) as failed:
            if failed and not self._start_failed:
                self._start_failed = True
                self._host.logger.info("The scheduler's start has failed: its job store shuts down")
                self._end_threads()
                self._close(CLOSE_SECONDS)
                self._forget()
        return not failed

    def start_again_if_running(self) -> None:
        """Start again, if the start has failed and the scheduler asks for jobs all the same."""
        scheduler = self._host.scheduler
        if self._start_failed and scheduler and scheduler.state != STATE_STOPPED:
            self.start()

    def _start_threads(self) -> None:
        is_woken = self._choose_whom_to_wake()
        if isinstance(self._reader, Mirrored):
            self._start_mirror(self._reader)
        elif is_woken:
            every = None if self._watched is True else self._watched
            self._start_watcher(self._reader, None, every)

    def _choose_whom_to_wake(self) -> bool:
        """Wake the store's scheduler where that is wanted and possible; returns whether it is."""
        scheduler = self._host.scheduler
        is_woken = self._watched is not False and scheduler is not None
        if is_woken and not can_be_woken(scheduler):
            kind = type(scheduler).__name__
            self._host.logger.info("No wake-ups: a %s can't be woken by other threads", kind)
            is_woken = False
        self._wakeups.set(weakref.proxy(scheduler) if is_woken else None)
        return is_woken

    def _start_mirror(self, mirrored: Mirrored) -> None:
        if mirrored.follows:
            self._start_watcher(mirrored.queried, mirrored.mirror, None)
        else:
            mirrored.fill()
        logger = self._host.logger
        self.flusher = Flusher(self._write_behind, Owner(self), self._wakeups, logger)
        self.flusher.start()
        with self._locks.io_lock:
            mirrored.go_live()

    def _start_watcher(self, reader: Reader, mirror: Mirror | None, every: float | None) -> None:
        self.watcher = Watcher(
            Owner(self),
            self.connection,
            self._wakeups,
            reader,
            self._quarantine.passed_over,
            mirror,
            every,
            poll_seconds(self._host.scheduler),
            self._host.logger,
        )
        self.watcher.start()

    @property
    def is_told_all(self) -> bool:
        """Whether a change stream tells of all changes that make a job due earlier."""
        watcher = self.watcher
        return watcher is not None and watcher.tells_all

    def do_chores(self) -> None:
        """Do work that no cycle should wait for."""
        self._retry_and_look()
        self._reader.do_chores()

    def do_chores_without_thread(self) -> None:
        """Do the same in a cycle, unless a thread of the store does."""
        if self.watcher is None and self.flusher is None:
            self._retry_and_look()

    def _retry_and_look(self) -> None:
        self._retry.step(self._host.restore_runnable)
        self.indexes.look()

    def status(self) -> Status:
        """Tell how the store and its server get on."""
        pending, oldest = self._write_behind.status()
        watcher = self.watcher
        connected = not self.connection.closed and not self._write_behind.failing
        return Status(
            connected=connected and (watcher is None or watcher.connected),
            pending=pending,
            oldest=oldest,
            lag=watcher.lag if watcher else None,
        )

    def stop(self) -> None:
        """End the threads, write what is deferred, and close the connection; at most 5 s.

        Never raises, also in a signal's handler, whatever that has interrupted.
        """
        ends_at = time.monotonic() + CLOSE_SECONDS
        self._locks.hand_over()
        self._end_watchers_together()
        self._end_threads()
        left = max(ends_at - time.monotonic(), MIN_SECONDS)
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
            io_lock = self._locks.io_lock
            if io_lock.acquire(timeout=seconds):  # a thread may hang in a write
                try:
                    self._write_behind.flush_if_possible()
                    self._cycles.release()
                    self._reader.give_back()
                finally:
                    io_lock.release()
            if self._starts == starts:  # else `shutdown` has given up, and a start followed
                self._reader.closed()
                self.connection.close()  # tells the server, and that takes a command as well

    def _forget(self) -> None:
        left = self._write_behind.writes
        if left:
            some = first_few(sorted(map(str, left)))
            self._host.logger.error("%d jobs are not written and run again: %s", len(left), some)
        self._write_behind.forget()
        self._cycles.shut_down()
        self._reader.reset()
        self.connection.closed = True  # also where closing the client hangs

    def _end_watchers_together(self) -> None:
        """Let the watchers of all stores end, if their scheduler has stopped.

        It shuts its stores down one after the other, and each waits for its own watcher.
        """
        scheduler = self._host.scheduler
        if scheduler is None or scheduler.state != STATE_STOPPED:
            return
        for other in list(_all):
            watcher = other.watcher
            if watcher and other._host.scheduler is scheduler:
                watcher.end()
                other._reader.reset()  # nothing keeps it current any more

    def _end_threads(self) -> None:
        self._write_behind.flush_in_callers_thread()
        for thread in (self.watcher, self.flusher):
            if thread:
                thread.stop()
        self.watcher = self.flusher = None

    def forked(self) -> None:
        """In a forked process, which has none of the threads."""
        self._locks.renew()  # another thread may have held the old ones
        self._write_behind.forked()
        self._cycles.clear()
        self._reader.forked()
        self._wakeups.set(None)
        self.watcher = self.flusher = None


_all: "weakref.WeakSet[Lifecycle]" = weakref.WeakSet()


def _forked() -> None:
    for lifecycle in list(_all):
        lifecycle.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
