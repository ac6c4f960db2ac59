"""The flush: the deferred writes of a cycle go out, and what lost its guard is settled.

A write is in one of these states, and each step leaves it in one of them:

- not sent, or sent and without an answer: it stays in `writes`, and is sent again. The guard makes
  a repetition harmless: a document that has our values no longer is as it was seen.
- done, or lost to somebody else's change: it is taken out of `writes`.
"""

import logging
from datetime import datetime
from typing import Any

from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    DocumentTooLarge,
    ExecutionTimeout,
    PyMongoError,
    WriteConcernError,
    WriteError,
)

from .connection import Connection
from .documents import FIELDS, Seen, advanced, restore, timestamp
from .quarantine import Quarantine
from .statements import Write, chunks, guarded_delete, guarded_update

__all__ = ["flush"]

ROUNDS = 5  # each but the first only because somebody changed the same documents meanwhile
DOUBTFUL = AutoReconnect, ExecutionTimeout, WriteConcernError  # it may have been applied
TRANSIENT = {50, 91, 112, 189, 262, 10107, 11600, 11601, 11602, 13435, 13436, 14031}
REFUSED = WriteError, DocumentTooLarge, BSONError, OverflowError  # for one document's sake


def flush(
    connection: Connection,
    quarantine: Quarantine,
    writes: dict[Any, Write],
    most: int,
    logger: logging.Logger,
) -> None:
    """Write all of `writes`, and take out of it what is settled; 1 command, 2 if jobs ended.

    :param most: documents in one statement.
    :raises pymongo.errors.PyMongoError: if the server can't be reached twice in a row; what is
        still in `writes` is to be flushed again.
    """
    error: PyMongoError | None = None
    for _ in range(ROUNDS):
        failed_before, error = error, None
        for chunk in _statements(writes, most):
            try:
                _send(connection, quarantine, writes, chunk, logger)
            except DOUBTFUL as failure:
                if failed_before:
                    raise
                error = failure
                break  # nothing more is tried before the server has answered
        if not writes:
            return
        for chunk in chunks(list(writes.values()), most):
            _settle(connection, writes, chunk, logger)
        if not writes:
            return
    raise error or PyMongoError(f"{len(writes)} jobs are changed by others all the time")


def _statements(writes: dict[Any, Write], most: int) -> list[list[Write]]:
    updates = [write for write in writes.values() if write.state is not None]
    removals = [write for write in writes.values() if write.state is None]
    return [*chunks(updates, most), *chunks(removals, most)]


def _send(
    connection: Connection,
    quarantine: Quarantine,
    writes: dict[Any, Write],
    chunk: list[Write],
    logger: logging.Logger,
) -> None:
    """Send one statement; if it is refused for a document's sake, one for each document."""
    try:
        with connection.limit():
            if chunk[0].state is None:
                done = connection.jobs.delete_many(guarded_delete(chunk)).deleted_count
            else:
                done = connection.jobs.update_many(*guarded_update(chunk)).modified_count
    except REFUSED as error:
        if getattr(error, "code", None) in TRANSIENT:
            raise
        if len(chunk) > 1:
            for write in chunk:
                _send(connection, quarantine, writes, [write], logger)
            return
        (write,) = chunk
        logger.error('Job "%s" can\'t be written -- quarantining it: %s', write.seen.id, error)
        quarantine.put([(write.seen, f"it can't be written: {error}", write.run_time)])
        del writes[write.seen.id]
        return
    if done == len(chunk):
        for write in chunk:
            del writes[write.seen.id]


def _settle(
    connection: Connection,
    writes: dict[Any, Write],
    chunk: list[Write],
    logger: logging.Logger,
) -> None:
    """Read back what is not known to be written, and decide for each document."""
    ids = [write.seen.id for write in chunk]
    with connection.limit():
        found = {
            document["_id"]: Seen.of(document)
            for document in connection.jobs.find({"_id": {"$in": ids}}, FIELDS)
        }
    for write in chunk:
        theirs = found.get(write.seen.id)
        if theirs == write.seen:
            continue  # it did not get there: sent again
        if theirs is None:
            if write.state is not None:
                logger.info('Job "%s" was removed by others meanwhile', write.seen.id)
            del writes[write.seen.id]
        elif (theirs.run_time, theirs.state) == (write.run_time, write.state):
            del writes[write.seen.id]  # ours
        elif theirs.run_time != write.seen.run_time:
            logger.info('Job "%s" was rescheduled by others meanwhile', write.seen.id)
            del writes[write.seen.id]
        else:
            logger.info('Job "%s" was changed by others meanwhile', write.seen.id)
            merged = _merged(write, theirs)
            if merged is None:
                del writes[write.seen.id]
            else:
                writes[write.seen.id] = merged


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
