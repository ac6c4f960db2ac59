"""What a store can say of itself."""

from typing import NamedTuple

__all__ = ["Status"]


class Status(NamedTuple):
    """How a store and its server get on.

    :ivar connected: whether the last command that the store's threads sent was answered.
    :ivar pending: how many jobs wait to be written.
    :ivar oldest: for how many seconds the oldest of them has; None if there are none.
    :ivar lag: how many seconds the mirror, or what wakes the scheduler, may be behind the server:
        so old is the change stream's last answer; None if nothing is watched.
    """

    connected: bool
    pending: int
    oldest: float | None
    lag: float | None
