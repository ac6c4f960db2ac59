"""Conflicts: decides which change wins when another process has changed the same document.

Guarded writes are optimistic concurrency control: a write applies only while the document is
still as it was read. This module does no I/O.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from ..codec import Codec
from ..counters import Counters
from ..documents import DocumentId, Record, timestamp
from ..summary import Line, Summary
from ..trust.untrusted import UntrustedError
from .guarded import GuardedWrite

__all__ = ["Conflicts"]

RUNS_TWICE = Line(
    logging.WARNING,
    'Job "%s" runs twice: its lease ended, others took it',
    "%s jobs (%s) run twice: their lease ended, others took them",
)
SAME = Line(
    logging.WARNING,
    'Job "%s" ran twice: another scheduler, which doesn\'t share jobs, ran it, too',
    "%s jobs (%s) ran twice: another scheduler, which doesn't share jobs, ran them, too",
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


class Conflicts:
    """Decides about writes that met changes by others, and counts and reports the lost ones.

    :param codec: restores a stored job, to merge it.
    :param report: takes a kind of incident, the job's id, and its run time.
    """

    def __init__(
        self, codec: Codec, counters: Counters, report: Callable[[str, DocumentId, object], None]
    ) -> None:
        self._codec, self._counters, self._report = codec, counters, report

    def decide(
        self, write: GuardedWrite, stored: Record | None, lines: Summary, is_unsent: bool = False
    ) -> GuardedWrite | None:
        """Return the write that is still to be sent, or None if it is done or lost.

        The result is `write` itself if it did not apply and the document is unchanged. If another
        process changed the job but not its run time, the result merges both changes where possible.

        :param stored: the document as it was read back; None if there is none.
        :param lines: collects a log line for each change by another process.
        :param is_unsent: whether the write was never sent, so that an equal document is the work
            of another scheduler.
        """
        if stored is not None and stored.equals(write.after):
            if is_unsent and write.state is not None:
                self._lost(SAME, write, lines)
            return None  # it has applied
        if write.record.equals(stored):
            return write  # it has not applied
        if _was_claimed_since(write, stored):
            if not write.quarantine:
                self._lost(RUNS_TWICE, write, lines)
            return None
        if stored is None and write.removes:
            return None  # removed, by this write or by another process
        if stored is None:
            self._lost(REMOVED, write, lines)
            return None
        if stored.run_time != write.record.run_time:
            self._lost(RESCHEDULED, write, lines)
            return None
        self._counters.guards_lost += 1
        lines.add(CHANGED, write.record.id)
        if write.quarantine:
            return None
        try:
            return _merged(write, stored, self._codec)
        except UntrustedError:
            return None  # nobody vouches for the stored state, and the next cycle says so

    def _lost(self, line: Line, write: GuardedWrite, lines: Summary) -> None:
        job_id = write.record.id
        lines.add(line, job_id)
        self._counters.guards_lost += 1
        if line in (RUNS_TWICE, SAME):
            self._counters.ran_twice(1)
            self._report("double", job_id, write.record.run_time)
        else:
            self._report("lost", job_id, write.record.run_time)

    def note_same(self, writes: list[GuardedWrite], number: int, lines: Summary) -> None:
        """Note that another scheduler has written the same as some of these writes.

        :param number: how many of them did not apply; all, if their ids are known.
        """
        self._counters.guards_lost += number
        self._counters.ran_twice(number)
        for write in writes if number == len(writes) else ():
            lines.add(SAME, write.record.id)
            self._report("double", write.record.id, write.record.run_time)


def _lease_has_expired(write: GuardedWrite) -> bool:
    return write.lease is not None and write.lease.ever_expired


def _was_claimed_since(write: GuardedWrite, stored: Record | None) -> bool:
    """Whether another scheduler has claimed the job since, or may have.

    A changed token proves it. If the token is gone, as the job was removed, or rescheduled without
    a claim, another scheduler may have run the job before, provided that our lease has expired.
    """
    claim = write.record.claim
    if claim is None:
        return False
    if stored is not None and stored.claim is not None:
        return bool(stored.claim != claim)
    rescheduled = stored is None or stored.run_time != write.record.run_time
    return _lease_has_expired(write) and rescheduled


def _merged(write: GuardedWrite, stored: Record, codec: Codec) -> GuardedWrite | None:
    """Put our new run time into the stored state; None leaves the document as it is.

    :raises UntrustedError: if the stored state may not be unpickled.
    """
    record = type(write.record)(*stored)  # a counted record stays one
    if write.state is not None:
        state, signature = codec.with_run_time(record, write.run_time)
        return write._replace(record=record, state=state, signature=signature)
    # Our job has ended. The stored one may have a trigger that goes on.
    try:
        job = codec.restore(record, None, None)
        assert job.next_run_time is not None
        following = job.trigger.get_next_fire_time(
            job.next_run_time, datetime.now(job.next_run_time.tzinfo)
        )
    except Exception:
        return None  # the job is still due, so the next cycle deals with it
    if following is None:
        return write._replace(record=record)
    run_time = timestamp(following)
    state, signature = codec.with_run_time(record, run_time)
    return write._replace(record=record, run_time=run_time, state=state, signature=signature)
