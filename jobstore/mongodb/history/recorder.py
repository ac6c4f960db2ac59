"""The history of one store, from `start` to `shutdown`: its listener, and its thread."""

import logging
import threading

from ..connection import Connection
from ..host import Host
from ..owner import Owner
from ..presence.presence import Presence
from ..threads import StopSignal, daemon
from .incidents import Incidents
from .recording import Listener
from .writing import Writer

__all__ = ["Recorder"]

WRITE_SECONDS = 1.0  # between two writes
JOIN_SECONDS = 1.0


class WriterThread:
    """A daemon thread that writes the records that wait, each second or when a batch waits.

    It runs from `start` to `stop`, or until its store is no longer in use, or lacks the rights.
    """

    def __init__(self, writer: Writer, incidents: Incidents, owner: Owner) -> None:
        self._writer, self._incidents, self._owner = writer, incidents, owner
        self._wanted = incidents.entries.wanted
        self._stopped = StopSignal()
        self._writing = threading.Lock()
        self._thread = daemon(self._run, "jobstore-history")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def signal_stop(self) -> None:
        """Let the thread end after its current command, without waiting for it."""
        self._stopped.set()
        self._wanted.set()

    def stop(self) -> None:
        """End the thread; waits at most 1 s, even if the thread hangs in a command."""
        self.signal_stop()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)

    def write_rest(self, seconds: float) -> None:
        """Write the records that wait, after `stop`; gives up if the thread hangs.

        :param seconds: how long to wait for the thread.
        """
        if self._writing.acquire(timeout=seconds):
            try:
                self._writer.step()
            finally:
                self._writing.release()

    def _run(self) -> None:
        is_needed = True
        while is_needed and not self._stopped.is_set():
            self._wanted.wait_and_clear(WRITE_SECONDS)
            if self._stopped.is_set():  # `write_rest` follows
                break
            is_needed = self._owner.needs_thread()
            with self._writing:
                self._writer.step()
            if not self._incidents.is_recording:
                break
            if self._writer.is_failing:
                self._stopped.wait(WRITE_SECONDS)
        self._owner.thread_ended()


class Recorder:
    """Records the runs and the incidents of one store, if its history is on.

    :param keep: the store's argument.
    """

    def __init__(
        self,
        connection: Connection,
        host: Host,
        incidents: Incidents,
        presence: Presence,
        keep: float,
    ) -> None:
        self._connection, self._host, self._incidents = connection, host, incidents
        self._presence, self._keep = presence, keep
        self._listener = Listener(incidents)
        self._writer: Writer | None = None
        self._thread: WriterThread | None = None

    def start(self, owner: Owner, logger: logging.Logger) -> None:
        """Begin to record, and start the thread; sends no command."""
        self._incidents.start()
        if self._incidents.is_recording:
            self._writer = Writer(
                self._connection, self._host, self._incidents, self._presence, self._keep, logger
            )
            self._listener.start(self._host.scheduler, self._host.alias)
            self._thread = WriterThread(self._writer, self._incidents, owner)
            self._thread.start()

    def signal_stop(self) -> None:
        """Let the thread end after its current command, without waiting for it."""
        if self._thread:
            self._thread.signal_stop()

    def stop_thread(self) -> None:
        """End the thread; waits at most 1 s."""
        if self._thread:
            self._thread.stop()

    def write_rest(self, seconds: float) -> None:
        """Write the last records, after `stop_thread`; raises no error.

        :param seconds: how long to wait for the thread, if it hangs in a command.
        """
        if self._thread and self._incidents.is_recording:
            self._thread.write_rest(seconds)

    def stop(self) -> None:
        """Record no more; log the number of the records that could not be written."""
        self._listener.stop()
        number, writer = self._incidents.stop(), self._writer
        self._writer = self._thread = None
        if writer:
            writer.is_over = True  # its thread may hang in a command
            number += len(writer.unwritten)
        if number:
            self._host.logger.warning("%d records of the history are not written", number)

    def forked(self) -> None:
        """In a forked process, leave the records and the thread to the parent."""
        self._incidents.forked()
        self._writer = self._thread = None
