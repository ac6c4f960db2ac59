"""The lifecycle of a store, from `start` to `shutdown`: its connection, indexes and threads.

A store's start can fail, its process can fork, and its shutdown can run in a signal handler. All
of these must leave neither threads nor connections behind.
"""

import os
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pymongo
from apscheduler.schedulers.base import STATE_STOPPED

from ..base import first_few
from ..waking import can_be_woken
from .connection import CLOSE_SECONDS
from .health.report import LOOK_SECONDS, since
from .indexes import Indexes
from .mirroring.change_stream import Watcher
from .mirroring.flusher import Flusher
from .mirroring.mirror import Mirror
from .mirroring.mirrored import Mirrored
from .overdue.catch_up import CatchUp
from .owner import Owner, start_failed
from .parts import Parts
from .polling import poll_seconds
from .presence import format as collection_format
from .presence.beating import Beating
from .readers import Reader
from .server import check_server
from .status import Status
from .threads import daemon
from .writes.retry import Retry

__all__ = ["Lifecycle"]

MIN_CLOSE_SECONDS = 0.1  # for the last writes, if stopping the threads has used up the time
CLOSE_SHARE = 0.9  # of the remaining time: the last commands end before `shutdown` does


class Lifecycle:
    """Starts and stops a store.

    :param watch, catch_up, overdue: the store's arguments of these names.
    :ivar connection: the store's connection.
    :ivar indexes: the collection's indexes.
    :ivar watcher: the thread that follows the collection; None if there is none.
    :ivar flusher: the thread that flushes a mirrored store's writes; None if there is none.
    :ivar beating: the thread that writes the scheduler's presence; None if there is none.
    :ivar owners: one for each thread that has not ended.
    """

    def __init__(self, parts: Parts, watch: bool | float, catch_up: str, overdue: float) -> None:
        self._host, self._locks, self._cycles = parts.host, parts.locks, parts.cycles
        self.connection, self._quarantine = parts.connection, parts.quarantine
        self._write_behind, self._reader, self._wakeups = (
            parts.write_behind,
            parts.reader,
            parts.wakeups,
        )
        self._hand_out, self._restored_jobs = parts.hand_out, parts.restored_jobs
        self._report, self._presence = parts.report, parts.presence
        self._incidents, self._recorder = parts.incidents, parts.recorder
        self._watch = watch
        self._retry = Retry(parts.connection, parts.quarantine)
        self.indexes = Indexes(parts.connection)
        self._catch_up = CatchUp(parts.connection, parts.host, parts.incidents, catch_up, overdue)
        self.watcher: Watcher | None = None
        self.flusher: Flusher | None = None
        self.beating: Beating | None = None
        self.owners: weakref.WeakValueDictionary[int, Owner] = weakref.WeakValueDictionary()
        self._starts = 0
        # The last start, of the scheduler or of the store itself; also while a start is under way.
        self._start_failed = False
        _lifecycles[id(self)] = self

    def start(self) -> None:
        """Connect, prepare the collection, and start the threads; O(n) with a mirror.

        If it fails, no thread keeps running.

        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        :raises ValueError: for the reasons that `MongoDBJobStore.start` names.
        """
        self._stop_threads()
        self._start_failed = True
        try:
            self._connect_and_start()
        except BaseException:
            self._stop_threads()
            self._hand_out.stop()
            self._recorder.stop()
            self._reader.reset()
            self._presence.end()
            raise
        self._start_failed = False
        self._incidents.started()

    def _connect_and_start(self) -> None:
        self._starts += 1
        self._restored_jobs.forget_all()  # they belong to the scheduler of the last start
        self._reader.reset()  # no thread keeps it current now
        for part in (self._quarantine, self._retry, self.indexes, self._write_behind):
            part.logger = self._host.logger
        self._host.codec.open(self._host.logger)
        with self._locks.io_lock:
            self.connection.open()
            check_server(self.connection)
            collection_format.check_readable(self.connection, writes=True)
            self._write_behind.flush()
            self._reader.opened(self._host.logger)
            collection_format.check_writable(self.connection)  # and writes a first one
            self._presence.begin()
            self.beating = Beating(Owner(self))
            self.beating.start()
            self._recorder.start(Owner(self), self._host.logger)
            self.indexes.create()
            self._retry.postpone()
            if not self._presence.firing.stands_by:
                self._begin_to_fire()
        self._hand_out.start()
        self._start_threads()

    def _begin_to_fire(self) -> None:
        """Do the work that comes before the first cycle of a start, or of a takeover."""
        self._reader.begin_to_fire(bool(self._presence.leftovers))
        self._quarantine.sweep()
        self._quarantine.put_back(self._host.restore_runnable)
        self._retry.postpone()
        self._catch_up.run()

    def may_fire(self) -> bool:
        """Whether the store may hand out jobs; a standby takes over first, in the caller's thread.

        A takeover takes as many commands as a start.

        :raises pymongo.errors.PyMongoError: if a takeover fails, which the next call tries again.
        """
        firing = self._presence.firing
        if firing.still_fires() and firing.stands_by:
            leases = firing.leases
            with self._locks.io_lock:
                self._begin_to_fire()
            firing.took_over(leases)
            self._reader.go_live()
        if not firing.still_fires() or firing.stands_by:
            return False
        self._presence.before_firing()
        return True

    def check_in_use(self) -> bool:
        """Whether the store needs its threads; shuts it down if the scheduler's start failed."""
        with start_failed(self._host.scheduler, self._host.store) as failed:
            if failed and not self._start_failed:
                self._start_failed = True
                self._host.logger.info("The scheduler's start failed: its job store shuts down")
                self._stop_threads()
                self._close(CLOSE_SECONDS)
                self._discard()
        return not failed

    @property
    def needs_restart(self) -> bool:
        """Whether the last start failed, and the scheduler runs all the same."""
        scheduler = self._host.scheduler
        return self._start_failed and scheduler is not None and scheduler.state != STATE_STOPPED

    def _start_threads(self) -> None:
        wakes = self._enable_wakeups()
        if isinstance(self._reader, Mirrored):
            self._start_mirror(self._reader)
        elif wakes:
            self._start_watcher(self._reader, None, self._poll_interval())
        self._presence.started()
        if self.beating:
            self.beating.go_on()

    def _enable_wakeups(self) -> bool:
        """Enable wake-ups if they are wanted and possible; returns whether they are enabled."""
        scheduler = self._host.scheduler
        enabled = self._watch is not False and scheduler is not None
        if enabled and not can_be_woken(scheduler):
            kind = type(scheduler).__name__
            self._host.logger.info("No wake-ups: other threads can't wake a %s", kind)
            enabled = False
        self._wakeups.set_scheduler(weakref.proxy(scheduler) if enabled else None)
        return enabled

    def _poll_interval(self) -> float | None:
        """Choose the seconds between polls; None: follow a change stream."""
        if self._watch is not True:
            return self._watch
        if not self.connection.is_routed:
            return None
        seconds = poll_seconds(self._host.scheduler)
        self._host.logger.info("Polling every %g s: change streams lag behind a mongos", seconds)
        return seconds

    def _start_mirror(self, mirrored: Mirrored) -> None:
        if mirrored.follows:
            if self.connection.is_routed:
                self._host.logger.warning(
                    "Changes by others reach the mirror up to 10 s late: change streams lag behind "
                    "a mongos"
                )
            self._start_watcher(mirrored.queried, mirrored.mirror, None)
        else:
            mirrored.fill()
        logger = self._host.logger
        self.flusher = Flusher(self._write_behind, Owner(self), self._wakeups, logger)
        self.flusher.start()
        mirrored.go_live()

    def _start_watcher(
        self, reader: Reader, mirror: Mirror | None, poll_interval: float | None
    ) -> None:
        self.watcher = Watcher(
            Owner(self),
            self.connection,
            self._wakeups,
            reader,
            self._hand_out.left_out,
            mirror,
            poll_interval,
            poll_seconds(self._host.scheduler),
            self._host.logger,
        )
        self.watcher.start()

    @property
    def sees_all_changes(self) -> bool:
        """Whether a change stream reports all changes that make a job due earlier."""
        watcher = self.watcher
        return watcher is not None and watcher.sees_all_changes

    def do_chores(self) -> None:
        """Do work that no cycle should wait for, in a thread of the store."""
        store = self._host.store  # held meanwhile: its scheduler says which jobs can run here
        if store is not None:
            self._retry_and_check_indexes()
            self._reader.do_chores()

    def do_chores_if_no_thread(self) -> None:
        """Retry the quarantine and check the indexes in a cycle, if the store has no thread."""
        if self.watcher is None and self.flusher is None:
            self._retry_and_check_indexes()

    def _retry_and_check_indexes(self) -> None:
        self._retry.step(self._host.restore_runnable)
        self.indexes.check_if_time()

    def status(self) -> Status:
        """Report how the store does; no command."""
        pending, oldest = self._write_behind.status()
        watcher = self.watcher
        connected = not self.connection.closed and not self._write_behind.failing
        state = self.state
        return self._report.status(
            connected=connected and (watcher is None or watcher.connected),
            pending=pending,
            oldest=oldest,
            lag=watcher.lag if watcher else None,
            firing=state == "firing",
            others=self._presence.others if self._presence.name or not self.beating else None,
            dropped=self._incidents.dropped,
            since_dropped=since(self._incidents.entries.dropped_at),
            poll=watcher and watcher.poll_interval,
            paused=state == "paused",
        )

    @property
    def state(self) -> str:
        """What the scheduler does with the store; `Scheduler` names the states."""
        return "idle" if self.connection.closed else self._presence.state

    def beat(self) -> float:
        """Write the scheduler's presence, if it is time; return the seconds until the next time."""
        if self._presence.name is None:  # no right to write one
            self._look()
            return LOOK_SECONDS
        return self._presence.step(self._look)

    def _look(self) -> dict[str, Any]:
        """Look at the collection from time to time, and return the status."""
        if not self._start_failed:  # else a start is under way, and the indexes may be missing
            self._report.look_if_time()
        return self.status()._asdict()

    def farewell(self) -> Callable[[], None]:
        """Return a function that removes the scheduler's presence, also when the store is gone."""
        return self._presence.farewell(self._presence.name)

    def stop(self) -> None:
        """Stop the threads, flush the deferred writes, and close the connection; at most 5 s.

        Never raises. A signal handler may call it, whichever code the signal interrupted.
        """
        deadline = time.monotonic() + CLOSE_SECONDS
        self._locks.hand_over()
        self._signal_watchers()
        self._stop_threads()
        self._incidents.add("stopped")
        remaining = max(deadline - time.monotonic(), MIN_CLOSE_SECONDS)
        closing = daemon(partial(self._close, remaining * CLOSE_SHARE), "jobstore-shutdown")
        try:
            closing.start()
        except RuntimeError:  # the process ends, and can't start threads any more
            self._close(remaining)
        else:
            closing.join(remaining)
        self._discard()

    def _close(self, seconds: float) -> None:
        """Flush and close; may wait for the server, or for PyMongo's locks that a caller holds."""
        starts = self._starts
        with pymongo.timeout(seconds):
            io_lock = self._locks.io_lock
            if io_lock.acquire(timeout=seconds):  # another thread may hang in a write
                try:
                    self._write_behind.flush_if_possible()
                    self._cycles.release()
                    self._reader.give_back()
                finally:
                    io_lock.release()
            self._recorder.write_rest(seconds)
            if self._starts == starts:  # else `shutdown` gave up waiting, and a start followed
                self._presence.end()
                self.connection.close()  # sends a command as well

    def _discard(self) -> None:
        """Log the writes that could not be flushed, and drop all state in memory."""
        unwritten = self._write_behind.writes
        if unwritten:
            ids = first_few(sorted(map(str, unwritten)))
            self._host.logger.error(
                "%d jobs are not written and run again: %s", len(unwritten), ids
            )
        self._write_behind.forget()
        self._restored_jobs.forget_all()
        self._hand_out.stop()
        self._recorder.stop()
        self._report.forget()
        self._cycles.shut_down()
        self._reader.reset()
        self.connection.closed = True  # even if closing the client hangs

    def _signal_watchers(self) -> None:
        """Tell the watchers of all the scheduler's stores to end, if the scheduler has stopped.

        The scheduler shuts down one store after the other, and each waits for its own watcher.
        """
        scheduler = self._host.scheduler
        if scheduler is None or scheduler.state != STATE_STOPPED:
            return
        for reference in _lifecycles.valuerefs():  # in one step: another thread may make a store
            other = reference()
            watcher = other and other.watcher
            if other and watcher and other._host.scheduler is scheduler:
                watcher.signal_stop()
                other._reader.reset()  # a mirror without a watcher would be stale

    def _stop_threads(self) -> None:
        self._write_behind.flush_in_callers_thread()
        self._recorder.signal_stop()
        if self.beating:
            self.beating.signal_stop()  # ends while the others are waited for
        for thread in (self.watcher, self.flusher, self.beating):
            if thread:
                thread.stop()
        self.watcher = self.flusher = self.beating = None
        self._recorder.stop_thread()

    def forked(self) -> None:
        """Reset in a forked process, which has none of the threads."""
        self._locks.renew()  # a thread of the parent may have held the old ones
        self._write_behind.forked()
        self._restored_jobs.forget_all()
        self._cycles.clear()
        self._reader.forked()
        self._presence.forked()
        self._wakeups.set_scheduler(None)
        self._recorder.forked()
        self._report.forget()
        self.watcher = self.flusher = self.beating = None
        self.owners = weakref.WeakValueDictionary()


_lifecycles: "weakref.WeakValueDictionary[int, Lifecycle]" = weakref.WeakValueDictionary()


def _forked() -> None:
    for lifecycle in list(_lifecycles.values()):
        lifecycle.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
