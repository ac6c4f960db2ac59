"""Conflicts: which change wins where others have changed a document meanwhile; no database here.

Guarded writes are optimistic concurrency control: each write names the document as it was read.
"""

import logging
from datetime import datetime

from ..documents import Record, advanced, restore, timestamp
from ..summary import Line, Summary
from .guarded import GuardedWrite

__all__ = ["decide"]

RUNS_TWICE = Line(
    logging.WARNING,
    'Job "%s" runs twice: its lease ended, others took it',
    "%s jobs (%s) run twice: their lease ended, others took them",
)
REMOVED = Line(
    logging.INFO,
    'Job "%s" was removed by others meanwhile',
    "%s jobs (%s) were removed by others meanwhile",
)
RESCHEDULED = Line(
    logging.INFO,
    'Job "%s" was rescheduled by others meanwhile',
    "%s jobs (%s) were rescheduled by others meanwhile",
)
CHANGED = Line(
    logging.INFO,
    'Job "%s" was changed by others meanwhile',
    "%s jobs (%s) were changed by others meanwhile",
)


def decide(write: GuardedWrite, theirs: Record | None, lines: Summary) -> GuardedWrite | None:
    """Say what is left to write, given what is stored; None: nothing, it is done or theirs wins.

    :param lines: takes a note of each change by others.
    """
    if theirs is not None and theirs == write.after:
        return None  # ours
    if theirs == write.record:
        return write  # it did not get there
    if _was_taken(write, theirs):
        if not write.quarantine:
            lines.add(RUNS_TWICE, write.record.id)
        return None
    if theirs is None and write.removes:
        return None  # ours, or theirs
    if theirs is None:
        lines.add(REMOVED, write.record.id)
        return None
    if theirs.run_time != write.record.run_time:
        lines.add(RESCHEDULED, write.record.id)
        return None
    lines.add(CHANGED, write.record.id)
    return None if write.quarantine else _merged(write, theirs)


def _is_late(write: GuardedWrite) -> bool:
    """Whether the job was fired under a lease that has ended, so that others may have run it."""
    return write.lease is not None and write.lease.ever_expired


def _was_taken(write: GuardedWrite, theirs: Record | None) -> bool:
    """Whether another scheduler has claimed the job since; it may be, where its claim is gone.

    That is so where the lease was over, and the job is gone, or has another time and no claim: it
    may have been run by others before it was removed, or changed.
    """
    claim = write.record.claim
    if claim is None:
        return False
    if theirs is not None and theirs.claim is not None:
        return bool(theirs.claim != claim)
    return _is_late(write) and (theirs is None or theirs.run_time != write.record.run_time)


def _merged(write: GuardedWrite, theirs: Record) -> GuardedWrite | None:
    """Apply our advance to their state; None: leave theirs as it is."""
    theirs = type(write.record)(*theirs)  # counted, if ours is
    if write.state is not None:
        state = advanced(theirs.state, write.run_time)
        return write._replace(record=theirs, state=state)
    try:
        job = restore(theirs, None, None)
        assert job.next_run_time is not None
        following = job.trigger.get_next_fire_time(
            job.next_run_time, datetime.now(job.next_run_time.tzinfo)
        )
    except Exception:
        return None  # it is still due: the next cycle sees to it
    if following is None:
        return write._replace(record=theirs)
    run_time = timestamp(following)
    return write._replace(record=theirs, run_time=run_time, state=advanced(theirs.state, run_time))
