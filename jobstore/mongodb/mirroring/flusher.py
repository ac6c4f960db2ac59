"""The mirrored store's own thread: it flushes, so that a cycle doesn't wait for the server."""

import logging
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

from ...base import first_few
from ..owner import Owner
from ..threads import daemon
from ..wakeups import Wakeups
from ..writes.write_behind import WriteBehind

__all__ = ["Flusher"]

PAUSE_SECONDS = 0.5  # before another try
CHORES_SECONDS = 1.0
JOIN_SECONDS = 1.0


class Wanted:
    """An event whose `set` a signal's handler may call in the middle of `set`.

    `threading.Event` would hang: it takes a lock, and the interrupted call holds it.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[None] = SimpleQueue()  # its `put` is reentrant

    def set(self) -> None:
        """Wake who waits."""
        self._calls.put(None)

    def is_set(self) -> bool:
        """Whether it was set and not yet cleared."""
        return not self._calls.empty()

    def wait_and_clear(self, seconds: float) -> None:
        """Wait until it is set, at most so long."""
        with suppress(Empty):
            self._calls.get(timeout=seconds)
            while True:
                self._calls.get_nowait()


class Flusher:
    """One daemon thread, from `start` to `stop`, or until its store isn't used any more.

    :param write_behind: what is to be flushed.
    :param owner: the store, whose chores are done after a flush, and every second.
    :param wakeups: is told the time then, to wake the scheduler if the clock was set.
    """

    def __init__(
        self, write_behind: WriteBehind, owner: Owner, wakeups: Wakeups, logger: logging.Logger
    ) -> None:
        self._logger = logger
        self._write_behind = write_behind
        self._owner = owner
        self._wakeups = wakeups
        self._wanted = Wanted()
        self._stopped = threading.Event()
        self._thread = daemon(self._run, "jobstore-flusher")

    def start(self) -> None:
        """Take over what is to be flushed soon."""
        self._write_behind.flush_in_other_thread(self._wanted.set)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; if it hangs in a command, it ends when that does."""
        self._stopped.set()
        self._wanted.set()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wanted.wait_and_clear(CHORES_SECONDS)
            if self._stopped.is_set() or not self._owner.needs_thread():
                break
            self._wakeups.check_clock(time.time())
            failed_before = self._write_behind.failing
            try:
                self._write_behind.flush()
                self._owner.do_chores()
            except BaseException as error:  # a state that is restored may even exit
                level = logging.DEBUG if failed_before else logging.WARNING
                ids = list(self._write_behind.writes)
                self._logger.log(
                    level,
                    "%d jobs (%s) wait to be written, after: %s",
                    len(ids),
                    first_few(ids),
                    error,
                )
                self._wanted.set()
                self._stopped.wait(PAUSE_SECONDS)
        self._owner.thread_ends()
