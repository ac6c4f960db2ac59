"""The two locks of a store."""

import threading

__all__ = ["Locks"]


class Locks:
    """The locks of a store; a thread that needs both takes `io_lock` first.

    :ivar io_lock: held while the store writes to the server, and while a cycle waits for the
        server.
    :ivar memory_lock: guards the deferred writes and the mirror; never held while waiting for I/O.
    """

    io_lock: "threading.RLock"
    memory_lock: "threading.RLock"

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Replace both locks; a `with` block under way still releases the old lock."""
        self.io_lock, self.memory_lock = threading.RLock(), threading.RLock()

    def hand_over(self) -> None:
        """Replace the locks if the calling thread holds one, so that another thread can work.

        A signal handler may interrupt its own thread while that holds a lock. The calling thread
        has to wait for the other one.
        """
        locks = self.io_lock, self.memory_lock
        if any(lock._is_owned() for lock in locks):  # type: ignore[attr-defined]
            self.renew()
