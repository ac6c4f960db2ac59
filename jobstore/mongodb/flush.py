"""The flush: the deferred writes of a cycle go out, and what lost its guard is settled.

A write is in one of these states, and each step leaves it in one of them:

- not sent, or sent and without an answer: it stays in `writes`, and is sent again. The guard makes
  a repetition harmless: a document that has our values no longer is as it was seen.
- done, or lost to somebody else's change: it is taken out of `writes`.

What is read back tells of a write only after an answer: that waits until the majority has all
that was there, what an earlier try has written, too. Else a write that is seen, and then is lost
in a fail-over, would be taken for done.
"""

import logging
from datetime import datetime
from typing import Any

from pymongo.errors import PyMongoError

from .attempts import forget_counts
from .connection import Connection
from .documents import FIELDS, Counted, Seen, advanced, restore, timestamp
from .lease import release
from .pace import parts
from .paced import carried
from .quarantine import Quarantine
from .statements import Refused, Write, send, size
from .summary import Line, Summary, summed

__all__ = ["decide", "flush"]

FEW = 1000  # writes: their ids fit into one command
MOST_BYTES = 30_000_000  # of states and ids that go out together
ROUNDS = 5  # each but the first only because somebody changed the same documents meanwhile
REFUSED = Line(
    logging.ERROR,
    'Job "%s" can\'t be written, quarantining it: %s',
    "%s jobs (%s) can't be written, quarantining them: %s",
)
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


def flush(
    connection: Connection,
    quarantine: Quarantine,
    writes: dict[Any, Write],
    found: dict[Any, Seen | None],
    sent_before: bool,
    logger: logging.Logger,
) -> None:
    """Write all of `writes`, and take out of it what is settled; 1 command, 2 if jobs ended.

    :param found: is told what documents are that others have changed: as they were found stored,
        or as they are with our change put into theirs.
    :param sent_before: if not, and a lease is over, what others have done since is read first, so
        that it can't be taken for ours.
    :raises pymongo.errors.PyMongoError: if the server can't be reached twice in a row; what is
        still in `writes` is to be flushed again.
    """
    sent = set(writes) if sent_before else set()
    rounds, error = ROUNDS, None
    while writes and rounds:
        part = _part(connection, writes)
        if fresh := [job_id for job_id in part if job_id not in sent]:
            sent.update(fresh)
            leases = {write.lease for job_id in fresh if (write := writes[job_id]).lease}
            if any(lease.was_over for lease in leases if lease):
                _settle(connection, writes, fresh, found, logger)
                continue
        failed_before, error = error, None
        rounds -= 1
        try:
            changed, refused = send(connection, [writes[job_id] for job_id in part])
        except PyMongoError as failure:  # some may have been written
            if failed_before:
                raise
            error = failure
            continue
        if refused:
            _refuse(quarantine, refused, logger)
        for write, _ in refused:
            del writes[write.seen.id]
        before = len(writes)
        part = [job_id for job_id in part if job_id in writes]
        if changed == len(part):
            for job_id in part:
                del writes[job_id]
        else:
            _settle(connection, writes, part, found, logger)
        if len(writes) < before:
            rounds = ROUNDS
    if writes:
        raise error or PyMongoError(f"{len(writes)} jobs are changed by others all the time")


def _refuse(quarantine: Quarantine, refused: Refused, logger: logging.Logger) -> None:
    """Quarantine the jobs whose documents the server refuses."""
    verdicts = []
    with summed(logger) as lines:
        for write, reason in refused:
            lines.add(REFUSED, write.seen.id, reason)
            why = f"it can't be written: {reason}"
            verdicts.append(quarantine.verdict(write.seen, why, write.run_time))
    quarantine.put(verdicts)


def _part(connection: Connection, writes: dict[Any, Write]) -> list[Any]:
    """Take so many ids as may be written by one command; and be read back, without new states."""
    if not connection.is_slow and len(writes) <= FEW:
        return list(writes)
    budget = min(MOST_BYTES, connection.writing.budget, 2 * connection.reading.budget)
    return next(parts(list(writes), lambda job_id: size(writes[job_id]), budget))


def _is_late(write: Write) -> bool:
    """Whether the job was fired under a lease that has ended, so that others may have run it."""
    return write.lease is not None and write.lease.was_over


def _settle(
    connection: Connection,
    writes: dict[Any, Write],
    part: list[Any],
    found: dict[Any, Seen | None],
    logger: logging.Logger,
) -> None:
    """Read back a part that is not known to be written, and decide for each document.

    What others have changed, and left our claim on, is released.
    """
    claims, counted = {}, []
    query = {"_id": {"$in": part}}

    def bytes_of_part() -> int:
        return sum(size(writes[job_id]) for job_id in part) // 2

    with (
        carried(connection, connection.reading, bytes_of_part) as seconds,
        connection.session(seconds) as session,
    ):
        cursor = connection.jobs.find(query, FIELDS, batch_size=len(part) + 1, session=session)
        found_now = connection.read(cursor, seconds)
        stored = {document["_id"]: Seen.of(document) for document in found_now}
    with summed(logger) as lines:
        for write in [writes[job_id] for job_id in part]:
            seen = stored.get(write.seen.id)
            left = decide(write, seen, lines)
            if left is None:
                del writes[write.seen.id]
                found[write.seen.id] = seen
                claim = write.seen.claim
                if seen and seen != write.after and claim is not None and seen.claim == claim:
                    claims[seen.id] = claim
                if isinstance(write.seen, Counted) and seen and seen != write.after:
                    counted.append(write.seen)
            elif left is not write:
                writes[write.seen.id] = left
                found[write.seen.id] = left.after
    if claims:
        release(connection, claims, list(claims.values()), logger)
    if counted:
        forget_counts(connection, counted, logger)


def decide(write: Write, theirs: Seen | None, lines: Summary) -> Write | None:
    """Say what is left to write, given what is stored; None: nothing, it is done or theirs wins.

    :param lines: takes a note of each change by others.
    """
    if theirs is not None and theirs == write.after:
        return None  # ours
    if theirs == write.seen:
        return write  # it did not get there
    if _was_taken(write, theirs):
        if not write.quarantine:
            lines.add(RUNS_TWICE, write.seen.id)
        return None
    if theirs is None and write.removes:
        return None  # ours, or theirs
    if theirs is None:
        lines.add(REMOVED, write.seen.id)
        return None
    if theirs.run_time != write.seen.run_time:
        lines.add(RESCHEDULED, write.seen.id)
        return None
    lines.add(CHANGED, write.seen.id)
    return None if write.quarantine else _merged(write, theirs)


def _was_taken(write: Write, theirs: Seen | None) -> bool:
    """Whether another scheduler has claimed the job since; it may be, where its claim is gone.

    That is so where the lease was over, and the job is gone, or has another time and no claim: it
    may have been run by others before it was removed, or changed.
    """
    claim = write.seen.claim
    if claim is None:
        return False
    if theirs is not None and theirs.claim is not None:
        return bool(theirs.claim != claim)
    return _is_late(write) and (theirs is None or theirs.run_time != write.seen.run_time)


def _merged(write: Write, theirs: Seen) -> Write | None:
    """Apply our advance to their state; None: leave theirs as it is."""
    theirs = type(write.seen)(*theirs)  # counted, if ours is
    if write.state is not None:
        state = advanced(theirs.state, write.run_time)
        return write._replace(seen=theirs, state=state)
    try:
        job = restore(theirs, None, None)
        assert job.next_run_time is not None
        following = job.trigger.get_next_fire_time(
            job.next_run_time, datetime.now(job.next_run_time.tzinfo)
        )
    except Exception:
        return None  # it is still due: the next cycle sees to it
    if following is None:
        return write._replace(seen=theirs)
    run_time = timestamp(following)
    return write._replace(seen=theirs, run_time=run_time, state=advanced(theirs.state, run_time))
