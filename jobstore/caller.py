"""Tells which of the scheduler's methods called a store, by the frames on the call stack.

A store must know whether the scheduler's cycle calls it, or a listener or a job within that cycle.
APScheduler passes no such argument. The stack is reliable: each thread has its own, and a listener
that calls a store has a frame of its own. The look costs time only in cycles that get jobs, and in
calls that would fail.
"""

import sys
from types import FrameType

from apscheduler.events import JobEvent
from apscheduler.schedulers.base import BaseScheduler

__all__ = [
    "cycle_events",
    "is_change",
    "is_cycle",
    "is_nested_cycle",
    "is_replacement",
    "is_within_cycle",
]

SCHEDULER = BaseScheduler.__module__
CYCLE = "_process_jobs"
SKIPPED = {  # frames of the store and its subclasses
    "add_job",
    "get_due_jobs",
    "get_next_run_time",
    "lookup_job",
    "remove_job",
    "update_job",
}


def is_cycle() -> bool:
    """Whether a scheduler's cycle called the store's method that asks."""
    return _is_schedulers(_caller(sys._getframe(1)), CYCLE)


def is_within_cycle() -> bool:
    """Whether a scheduler's cycle is anywhere on the stack of the calling thread."""
    return _is_within_cycle(sys._getframe(1))


def is_nested_cycle() -> bool:
    """Whether the cycle that called the method that asks runs within another cycle.

    Some schedulers run a cycle at once when a job or a listener of a cycle adds a job.
    """
    return _is_within_cycle(_caller(sys._getframe(1)).f_back)


def is_change() -> bool:
    """Whether a scheduler called the method that asks to look up a job that it will change."""
    caller = _caller(sys._getframe(1))
    of_caller = caller.f_back.f_code.co_name if caller.f_back else ""
    return _is_schedulers(caller, "_lookup_job") and of_caller != "get_job"


def is_replacement() -> bool:
    """Whether a scheduler called the method that asks to add a job with `replace_existing`."""
    caller = _caller(sys._getframe(1))
    is_added = _is_schedulers(caller, "_real_add_job")
    return is_added and caller.f_locals.get("replace_existing") is True


def _caller(frame: FrameType) -> FrameType:
    while frame.f_code.co_name in SKIPPED and frame.f_back:
        frame = frame.f_back
    return frame


def _is_within_cycle(frame: FrameType | None) -> bool:
    while frame and not _is_schedulers(frame, CYCLE):
        frame = frame.f_back
    return frame is not None


def _is_schedulers(frame: FrameType, name: str) -> bool:
    """Whether the frame is APScheduler's; an application may have a function with that name."""
    return frame.f_code.co_name == name and frame.f_globals.get("__name__") == SCHEDULER


def cycle_events() -> list[JobEvent] | None:
    """Return the list in which the calling cycle collects its events; None without a cycle.

    APScheduler appends one event for each job that an executor takes, or that has reached its
    maximum number of instances. It appends none if the submission fails.
    """
    caller = _caller(sys._getframe(1))
    events = caller.f_locals.get("events") if _is_schedulers(caller, CYCLE) else None
    return events if isinstance(events, list) else None
