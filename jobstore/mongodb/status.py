"""The status that a store reports."""

from typing import NamedTuple

__all__ = ["Status"]


class Status(NamedTuple):
    """Tells whether a store reaches its server, and how far its work is behind.

    After a server is gone, `connected` changes when the next command has failed, in up to 5 s.
    `lag` grows at once.

    :ivar connected: whether the server answered the last flush, and the last command of the
        watcher, if there is one. Without a watcher, True before the first flush. With one, False
        until it has opened its change stream, or polled. False after `shutdown`.
    :ivar pending: the number of jobs whose deferred writes are not acknowledged.
    :ivar oldest: the age of the oldest of these writes, in seconds; None if there are none.
    :ivar lag: the longest time, in seconds, by which the mirror and the wake-ups may be behind the
        server. None without a watcher, and before its first answer.
    """

    connected: bool
    pending: int
    oldest: float | None
    lag: float | None
