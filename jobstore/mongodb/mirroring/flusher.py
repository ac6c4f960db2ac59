"""The flusher: a mirrored store's thread, which flushes so that no cycle waits for the server."""

import logging
import threading
import time

from ...base import first_few
from ..owner import Owner
from ..threads import ReentrantEvent, StopSignal, daemon
from ..wakeups import Wakeups
from ..writes.write_behind import WriteBehind

__all__ = ["Flusher"]

PAUSE_SECONDS = 0.5  # before another try
CHORES_SECONDS = 1.0
JOIN_SECONDS = 1.0


class Flusher:
    """A daemon thread that runs from `start` to `stop`, or until its store is no longer in use.

    It flushes at each request, and at least once a second. After each flush it does the store's
    chores.

    :param write_behind: the writes to flush.
    :param owner: the store.
    :param wakeups: checked before each flush, to wake the scheduler if the clock was set.
    """

    def __init__(
        self, write_behind: WriteBehind, owner: Owner, wakeups: Wakeups, logger: logging.Logger
    ) -> None:
        self._logger = logger
        self._write_behind = write_behind
        self._owner = owner
        self._wakeups = wakeups
        self._flush_requested = ReentrantEvent()
        self._stopped = StopSignal()
        self._thread = daemon(self._run, "jobstore-flusher")

    def start(self) -> None:
        """Start the thread, and flush in it from now on."""
        self._write_behind.flush_in_other_thread(self._flush_requested.set)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; waits at most 1 s, even if the thread hangs in a command."""
        self._stopped.set()
        self._flush_requested.set()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._flush_requested.wait_and_clear(CHORES_SECONDS)
            if self._stopped.is_set() or not self._owner.needs_thread():
                break
            self._wakeups.check_clock(time.time())
            failed_before = self._write_behind.failing
            try:
                self._write_behind.flush()
                self._owner.do_chores()
            except BaseException as error:  # restoring a job runs user code, which may even exit
                level = logging.DEBUG if failed_before else logging.WARNING
                ids = list(self._write_behind.writes)
                self._logger.log(
                    level,
                    "%d jobs (%s) wait to be written, after: %s",
                    len(ids),
                    first_few(ids),
                    error,
                )
                self._flush_requested.set()
                self._stopped.wait(PAUSE_SECONDS)
        self._owner.thread_ended()
