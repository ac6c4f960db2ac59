"""The flush: the deferred writes of a cycle go out, and what lost its guard is settled.

A write is in one of these states, and each step leaves it in one of them:

- not sent, or sent and without an answer: it stays in `writes`, and is sent again. The guard makes
  a repetition harmless: a document that has our values no longer is as it was seen.
- done, or lost to somebody else's change: it is taken out of `writes`.
"""

import logging
from datetime import datetime
from typing import Any

from pymongo.errors import PyMongoError

from .connection import Connection
from .documents import FIELDS, Seen, advanced, restore, timestamp
from .lease import Lease, release
from .quarantine import Quarantine
from .statements import Write, send

__all__ = ["decide", "flush"]

ROUNDS = 5  # each but the first only because somebody changed the same documents meanwhile


def flush(
    connection: Connection,
    quarantine: Quarantine,
    writes: dict[Any, Write],
    logger: logging.Logger,
    lease: Lease | None = None,
    sent_before: bool = False,
) -> dict[Any, Seen | None]:
    """Write all of `writes`, and take out of it what is settled; 1 command, 2 if jobs ended.

    Returns what was found stored in the place of what was not written.

    :param lease: if it is over, and nothing was sent before, what others have done since is read
        first, so that it can't be taken for ours.
    :raises pymongo.errors.PyMongoError: if the server can't be reached twice in a row; what is
        still in `writes` is to be flushed again.
    """
    error: PyMongoError | None = None
    theirs: dict[Any, Seen | None] = {}
    if lease and lease.was_over and not sent_before:
        theirs |= _settle(connection, writes, logger, lease)
        if not writes:
            return theirs
    for _ in range(ROUNDS):
        failed_before, error = error, None
        try:
            changed, refused = send(connection, writes.values())
        except PyMongoError as failure:  # some may have been written
            if failed_before:
                raise
            error = failure
        else:
            for write, reason in refused:
                logger.error(
                    'Job "%s" can\'t be written, quarantining it: %s', write.seen.id, reason
                )
                why = f"it can't be written: {reason}"
                quarantine.put([quarantine.verdict(write.seen, why, write.run_time)])
                del writes[write.seen.id]
            if changed == len(writes):
                writes.clear()
        if writes:
            theirs |= _settle(connection, writes, logger, lease)
        if not writes:
            return theirs
    raise error or PyMongoError(f"{len(writes)} jobs are changed by others all the time")


def _settle(
    connection: Connection, writes: dict[Any, Write], logger: logging.Logger, lease: Lease | None
) -> dict[Any, Seen | None]:
    """Read back what is not known to be written, and decide for each document.

    What others have changed, and left our claim on, is released.
    """
    theirs = {}
    claims = {}
    query = {"_id": {"$in": list(writes)}}
    with connection.session() as session:
        cursor = connection.jobs.find(query, FIELDS, batch_size=len(writes) + 1, session=session)
        found = {document["_id"]: Seen.of(document) for document in connection.read(cursor)}
    late = lease is not None and lease.was_over
    for write in list(writes.values()):
        left = decide(write, found.get(write.seen.id), logger, late)
        if left is None:
            del writes[write.seen.id]
            theirs[write.seen.id] = seen = found.get(write.seen.id)
            if seen and seen.claim is not None and seen.claim == write.seen.claim:
                claims[seen.id] = seen.claim
        else:
            writes[write.seen.id] = left
    if claims:
        release(connection, claims, list(claims.values()), logger)
    return theirs


def decide(
    write: Write, theirs: Seen | None, logger: logging.Logger, late: bool = False
) -> Write | None:
    """Say what is left to write, given what is stored; None: nothing, it is done or theirs wins.

    :param late: its lease is over; so what is gone may have been run, and removed, by others.
    """
    if theirs == write.seen:
        return write  # it did not get there
    claim = write.seen.claim
    if claim is not None and (late if theirs is None else theirs.claim not in (None, claim)):
        if not write.quarantine:
            logger.warning('Job "%s" runs twice: its lease ended, others took it', write.seen.id)
        return None
    if theirs == write.after:
        return None  # ours
    if theirs is None:
        logger.info('Job "%s" was removed by others meanwhile', write.seen.id)
        return None
    if theirs.run_time != write.seen.run_time:
        logger.info('Job "%s" was rescheduled by others meanwhile', write.seen.id)
        return None
    logger.info('Job "%s" was changed by others meanwhile', write.seen.id)
    return None if write.quarantine else _merged(write, theirs)


def _merged(write: Write, theirs: Seen) -> Write | None:
    """Apply our advance to their state; None: leave theirs as it is."""
    if write.state is not None:
        return Write(theirs, write.run_time, advanced(theirs.state, write.run_time))
    try:
        job = restore(theirs, None, None)
        assert job.next_run_time is not None
        following = job.trigger.get_next_fire_time(
            job.next_run_time, datetime.now(job.next_run_time.tzinfo)
        )
    except Exception:
        return None  # it is still due: the next cycle sees to it
    if following is None:
        return Write(theirs, None, None)
    run_time = timestamp(following)
    return Write(theirs, run_time, advanced(theirs.state, run_time))
