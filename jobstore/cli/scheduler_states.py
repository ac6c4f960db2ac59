"""How the states of schedulers are shown."""

from ..mongodb.presence.scheduler import Scheduler

__all__ = ["STYLES", "state_of"]

STYLES = {"firing": "green", "waiting": "cyan", "paused": "yellow", "idle": "dim", "gone": "red"}


def state_of(scheduler: Scheduler) -> str:
    """Return the state of a scheduler, or that it is gone; ``-`` if it has named none."""
    return (scheduler.state or "-") if scheduler.alive else "gone"
