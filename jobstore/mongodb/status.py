"""What a store can say of itself."""

from typing import NamedTuple

__all__ = ["Status"]


class Status(NamedTuple):
    """How a store and its server get on.

    :ivar connected: whether the last command that the store's threads sent was answered.
    :ivar pending: how many jobs wait to be written.
    :ivar oldest: for how many seconds the oldest of them has; None if there are none.
    :ivar lag: how many seconds ago the change stream last had nothing more to tell, so that all
        changes until then are known; None if nothing is watched, or it has not yet been so.
    """

    connected: bool
    pending: int
    oldest: float | None
    lag: float | None
