"""The right to fire jobs: a store with ``others="wait"`` needs the firing lease, others don't."""

import time
from collections.abc import Callable
from math import inf

from ...waking import can_be_woken, wake
from ..connection import Connection
from ..history.incidents import Incidents
from ..host import Host
from .activity import Activity
from .identity import shown
from .lease import FiringLease
from .scheduler import Scheduler

__all__ = ["Firing"]

RENEW_SECONDS = 5.0  # between two renewals, or a third of the lease
STANDBY_SECONDS = 0.5  # between two requests of a standby, or a quarter of the lease


class Firing:
    """Says whether a store may fire jobs now.

    A standby that gets the lease doesn't fire at once: the scheduler's thread takes over first,
    while the store's own thread renews the lease.

    :param activity: tells whether the scheduler asks for jobs.
    :param waits: whether the store's argument `others` is ``"wait"``.
    :param seconds: how long the lease lasts.
    :ivar leases: how often the store has got the lease anew.
    :ivar next_request: when to ask for the lease, by the monotonic clock; infinity for never.
    """

    def __init__(
        self,
        connection: Connection,
        host: Host,
        incidents: Incidents,
        activity: Activity,
        waits: bool,
        seconds: float,
    ) -> None:
        self._connection, self._host, self._incidents = connection, host, incidents
        self._activity, self.waits, self._seconds = activity, waits, seconds
        self.leases = 0
        self.reset()

    def reset(self) -> None:
        """Fire no more, and forget the lease."""
        self.begin()
        self.lease = FiringLease(self._connection, self._seconds)

    def begin(self) -> None:
        """Stand by, if the store waits for others; a lease that it still holds is renewed."""
        self._until = -inf if self.waits else inf  # by the monotonic clock
        self._has_lost = False
        self._told_holder = ""
        self._taken_over = None if self.waits else self.leases  # which lease
        self.next_request = inf

    def ask_soon(self) -> None:
        """Ask for the lease from now on, as the store is ready to take over."""
        if self.waits:
            self.next_request = -inf

    def look_soon(self) -> None:
        """Look in the next step whether the lease is of use, if the store asks for it at all."""
        if self.next_request < inf:
            self.next_request = -inf

    @property
    def stands_by(self) -> bool:
        """Whether the store has to take over before it may fire."""
        return self._taken_over != self.leases

    @property
    def may_fire(self) -> bool:
        """Whether the store has the right to fire jobs now."""
        return time.monotonic() < self._until

    @property
    def fence(self) -> Callable[[], bool] | None:
        """Tells before each job whether it may be fired under the present lease; None if all may.

        Jobs that were read under an earlier lease are not fired: others may have fired them.
        """
        if not self.waits:
            return None
        leases = self.leases
        # In this order: `request` counts a new lease before `may_fire` is true again.
        return lambda: self.still_fires() and self.leases == leases

    def still_fires(self) -> bool:
        """Return whether the store may fire jobs now; logs once that it may not any more."""
        if self.may_fire:
            return True
        self._note_loss()
        return False

    def _note_loss(self) -> None:
        if not self.stands_by and not self._has_lost:
            self._has_lost = True
            self._host.logger.error(
                "No job of %s is fired here any more: the lease of %g s to fire them ended before "
                "it was renewed",
                self._connection.jobs.full_name,
                self._seconds,
            )
            self._incidents.add("lost firing")

    def took_over(self, leases: int) -> None:
        """Note that the work is done that comes before the first job is fired.

        :param leases: the number of leases when the work began. If the store has lost that lease
            and got another one meanwhile, it still stands by.
        """
        self._taken_over = leases
        if not self.stands_by:
            self._has_lost = False
            self._incidents.add("took over", detail=self.lease.previous)

    def request(self, name: str, unfenced: Callable[[], list[Scheduler]]) -> None:
        """Ask for the lease, or renew it; 1 command, and those of `unfenced` while standing by.

        Wakes the scheduler when it may fire. Gives the lease back instead if the scheduler asks for
        no jobs any more, or is paused and has not taken over.

        :param name: the presence's.
        :param unfenced: returns the schedulers that fire jobs without asking for the lease.
        :raises pymongo.errors.PyMongoError: if the server can't be reached, or refuses.
        """
        could_fire, asked_at = self.may_fire, time.monotonic()
        self.next_request = asked_at + min(STANDBY_SECONDS, self._seconds / 4)
        state = self._activity.state
        if state in ("ending", "idle") or (state == "paused" and self.stands_by):
            self._resign()
            return
        is_new = self.lease.request(name)
        if is_new:
            self._note_loss()
            self._until = -inf  # until the store stands by for the new lease
            self.leases += 1
        holder = self.lease.holder
        if self.lease.is_held and self.stands_by and (others := unfenced()):
            holder = others[0].id
            self._until = -inf
        else:
            self._until = self.lease.ends_at
        if not self.may_fire:
            if self.stands_by and holder != self._told_holder:
                self._told_holder = holder
                self._host.logger.info(
                    "Standing by: %s fires the jobs of %s",
                    shown(holder),
                    self._connection.jobs.full_name,
                )
            return
        self.next_request = asked_at + min(RENEW_SECONDS, self._seconds / 3)
        if is_new or not could_fire:
            self._begins(is_new)

    def _resign(self) -> None:
        """Fire no more, and give the lease back once the last runs are written."""
        self._until, self._taken_over = -inf, None
        if self._activity.state != "ending":  # asked again: no cycle begins from here on
            self.lease.give_back()

    def _begins(self, is_new: bool) -> None:
        self._told_holder = ""
        self._has_lost = False
        collection = self._connection.jobs.full_name
        if is_new and self.lease.previous:
            self._host.logger.warning(
                "Taking over the jobs of %s: the lease of %s has ended",
                collection,
                shown(self.lease.previous),
            )
        else:
            self._host.logger.info("Firing the jobs of %s", collection)
        scheduler = self._host.scheduler
        if can_be_woken(scheduler):
            wake(scheduler)
