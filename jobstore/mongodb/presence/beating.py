"""The thread that writes a store's presence, and that renews or awaits its right to fire."""

import threading

from ..owner import Owner
from ..threads import ReentrantEvent, daemon

__all__ = ["Beating"]

CHECK_SECONDS = 0.25  # between two checks of whether the store is still in use
JOIN_SECONDS = 0.5


class Beating:
    """A daemon thread that runs from `start` to `stop`, or until its store is no longer in use.

    :param owner: the store.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._is_stopped = False
        self._event = ReentrantEvent()
        self._thread = daemon(self._run, "jobstore-presence")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def go_on(self) -> None:
        """Let the thread look at once for the work to do."""
        self._event.set()

    def signal_stop(self) -> None:
        """Let the thread end after its current command, without waiting for it."""
        self._is_stopped = True
        self._event.set()

    def stop(self) -> None:
        """End the thread; waits at most 0.5 s, even if the thread hangs in a command.

        A command that is under way does no harm: the thread removes then what it has written.
        """
        self.signal_stop()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        while not self._is_stopped and self._owner.needs_thread():
            seconds = self._owner.beat()
            if self._is_stopped:
                break
            self._event.wait_and_clear(min(seconds, CHECK_SECONDS))
        self._owner.thread_ended()
