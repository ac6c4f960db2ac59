"""The two locks of a store."""

import threading

__all__ = ["Locks"]


class Locks:
    """The store's locks; whoever needs both takes `io_lock` first.

    :ivar io_lock: held while the store writes to the server, and while a cycle waits for it.
    :ivar memory_lock: guards the deferred writes and the mirror; nothing waits under it.
    """

    io_lock: "threading.RLock"
    memory_lock: "threading.RLock"

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Replace both; a `with` statement that is under way releases the old one."""
        self.io_lock, self.memory_lock = threading.RLock(), threading.RLock()

    def hand_over(self) -> None:
        """Let another thread do all that the calling one may, which waits for it meanwhile.

        A signal's handler runs in the middle of what its thread does, locks held.
        """
        locks = self.io_lock, self.memory_lock
        if any(lock._is_owned() for lock in locks):  # type: ignore[attr-defined]
            self.renew()
