"""What a store's scheduler does with the store: fire its jobs, pause, or nothing any more."""

from collections.abc import Callable

from apscheduler.schedulers.base import STATE_PAUSED, STATE_STOPPED, BaseScheduler

from ..executors import NoExecutorError, check_executors
from ..host import Host

__all__ = ["Activity"]


class Activity:
    """Tells what the scheduler does with its store.

    APScheduler gives a scheduler that starts the same state as one that has stopped. So a stopped
    scheduler counts as one that starts, until it was seen to run.

    :param has_work: tells whether a cycle is under way, or has left writes to flush.
    """

    def __init__(self, host: Host, has_work: Callable[[], bool]) -> None:
        self._host, self._has_work = host, has_work
        self._is_started = self._has_run = False

    def begin(self) -> None:
        """Note that the store starts."""
        self._is_started, self._has_run = True, False

    def end(self) -> None:
        """Note that the store shuts down, or that its start failed."""
        self._is_started = False

    @property
    def state(self) -> str:
        """The state, which any thread may ask for.

        ``"firing"``: the scheduler asks for due jobs, or starts. ``"paused"``: it fires nothing
        until it is resumed. ``"ending"``: it asks no more, and its last runs are not yet written.
        ``"idle"``: no scheduler asks.
        """
        scheduler = self._host.scheduler
        if scheduler is None or not self._is_started:
            return "idle"
        if not self._may_ask(scheduler):
            return "ending" if self._has_work() else "idle"
        return "paused" if scheduler.state == STATE_PAUSED else "firing"

    def _may_ask(self, scheduler: BaseScheduler) -> bool:
        """Whether the scheduler may ask the store for jobs, now or after a resume."""
        if not self.sees_run() and self._has_run:
            return False
        try:
            check_executors(scheduler)
        except NoExecutorError:
            return False
        return True

    def sees_run(self) -> bool:
        """Whether the scheduler runs, paused or not, and has the store; remembered from then on."""
        scheduler, store = self._host.scheduler, self._host.store
        if scheduler is None or scheduler.state == STATE_STOPPED:
            return False
        stores = list(scheduler._jobstores.values())  # in one step
        runs = any(each is store for each in stores)
        self._has_run = self._has_run or runs
        return runs
