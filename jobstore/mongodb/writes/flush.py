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
from typing import Any

from pymongo.errors import PyMongoError

from ..connection import Connection
from ..documents import FIELDS, CountedRecord, Record
from ..recovery.attempts import forget_counts
from ..slow_line.pace import parts
from ..slow_line.paced import carried
from ..summary import Line, summed
from ..updates import release
from .conflicts import decide
from .guarded import GuardedWrite, size
from .quarantine import Quarantine
from .sending import Refused, send

__all__ = ["flush"]

FEW = 1000  # writes: their ids fit into one command
MAX_BYTES = 30_000_000  # of states and ids that go out together
ROUNDS = 5  # each but the first only because somebody changed the same documents meanwhile
REFUSED = Line(
    logging.ERROR,
    'Job "%s" can\'t be written, quarantining it: %s',
    "%s jobs (%s) can't be written, quarantining them: %s",
)


def flush(
    connection: Connection,
    quarantine: Quarantine,
    writes: dict[Any, GuardedWrite],
    found: dict[Any, Record | None],
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
            if any(lease.ever_expired for lease in leases if lease):
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
            del writes[write.record.id]
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
            lines.add(REFUSED, write.record.id, reason)
            why = f"it can't be written: {reason}"
            verdicts.append(quarantine.verdict(write.record, why, write.run_time))
    quarantine.put(verdicts)


def _part(connection: Connection, writes: dict[Any, GuardedWrite]) -> list[Any]:
    """Take so many ids as may be written by one command; and be read back, without new states."""
    if not connection.is_slow and len(writes) <= FEW:
        return list(writes)
    budget = min(MAX_BYTES, connection.writing.budget, 2 * connection.reading.budget)
    return next(parts(list(writes), lambda job_id: size(writes[job_id]), budget))


def _settle(
    connection: Connection,
    writes: dict[Any, GuardedWrite],
    part: list[Any],
    found: dict[Any, Record | None],
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
        stored = {document["_id"]: Record.of(document) for document in found_now}
    with summed(logger) as lines:
        for write in [writes[job_id] for job_id in part]:
            record = stored.get(write.record.id)
            left = decide(write, record, lines)
            if left is None:
                del writes[write.record.id]
                found[write.record.id] = record
                claim = write.record.claim
                if record and record != write.after and claim is not None and record.claim == claim:
                    claims[record.id] = claim
                if isinstance(write.record, CountedRecord) and record and record != write.after:
                    counted.append(write.record)
            elif left is not write:
                writes[write.record.id] = left
                found[write.record.id] = left.after
    if claims:
        release(connection, claims, list(claims.values()), logger)
    if counted:
        forget_counts(connection, counted, logger)
