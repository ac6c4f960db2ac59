"""Who calls a store: which of the scheduler's own methods, or a listener or a job within one.

A call tells nothing of its caller, but the stack does. It can't be mistaken about threads, nor
about a listener that calls the same method within the scheduler's cycle. Only cycles that hand out
jobs, and what would fail, pay for the look.
"""

import sys
from types import FrameType

from apscheduler.schedulers.base import BaseScheduler

__all__ = ["is_change", "is_cycle", "is_replacement", "is_within_cycle"]

SCHEDULER = BaseScheduler.__module__
CYCLE = "_process_jobs"
PASSED = {  # of the store, its subclasses, ...
    "add_job",
    "get_due_jobs",
    "get_next_run_time",
    "lookup_job",
    "remove_job",
    "update_job",
}


def is_cycle() -> bool:
    """Whether the calling method of a store was called by a scheduler's cycle itself."""
    return _is_schedulers(_caller(sys._getframe(1)), CYCLE)


def is_within_cycle() -> bool:
    """Whether a scheduler's cycle is under way in the calling thread, however far up the stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame and not _is_schedulers(frame, CYCLE):
        frame = frame.f_back
    return frame is not None


def is_change() -> bool:
    """Whether the calling method looks a job up that a scheduler is to change."""
    caller = _caller(sys._getframe(1))
    of_caller = caller.f_back.f_code.co_name if caller.f_back else ""
    return _is_schedulers(caller, "_lookup_job") and of_caller != "get_job"


def is_replacement() -> bool:
    """Whether the calling method adds a job that a scheduler is told to replace if it is there."""
    caller = _caller(sys._getframe(1))
    is_added = _is_schedulers(caller, "_real_add_job")
    return is_added and caller.f_locals.get("replace_existing") is True


def _caller(frame: FrameType) -> FrameType:
    while frame.f_code.co_name in PASSED and frame.f_back:
        frame = frame.f_back
    return frame


def _is_schedulers(frame: FrameType, name: str) -> bool:
    """Whether it is the scheduler's method; an application may have a function of that name."""
    return frame.f_code.co_name == name and frame.f_globals.get("__name__") == SCHEDULER
