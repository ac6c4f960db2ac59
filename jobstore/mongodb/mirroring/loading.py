"""The load: reads all records of the collection into a mirror."""

import logging
import time
from itertools import chain

from bson import Timestamp
from pymongo.read_concern import ReadConcern

from ..connection import START_SECONDS, Connection, operation_time
from ..documents import FIELDS
from ..pool import pool_of
from ..slow_line.paged import read_all
from ..threads import StopSignal
from .mirror import Mirror

__all__ = ["load"]

PROGRESS_SECONDS = 5.0


def load(
    connection: Connection,
    since: Timestamp | None,
    mirror: Mirror,
    logger: logging.Logger,
    stopped: StopSignal,
) -> None:
    """Read all n records into the mirror, as the majority has them; O(n log n).

    Logs the progress every 5 s.

    :param since: the operation time at which the stream begins; None on a standalone server. The
        server waits until the majority has all writes until then.
    :param stopped: ends the load when set; the mirror is then not complete.
    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    jobs = connection.jobs.with_options(read_concern=ReadConcern("majority"))
    pool = pool_of(connection.client)
    count, reported = 0, time.monotonic()
    with connection.client.start_session(causal_consistency=True) as session:
        if since:
            session.advance_operation_time(since)
        read = read_all(connection, {}, FIELDS, mirror.reset, START_SECONDS, jobs, session)
        first = next(read, [])  # an error until here leaves the mirror as it was
        mirror.reset()
        for batch in chain([first], read):
            mirror.load(batch)
            count += len(batch)
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                logger.info("%d jobs are in the mirror", count)
            if stopped.wait(pool.yield_seconds):
                return
        mirror.loaded(operation_time(session.operation_time))
    logger.info("All %d jobs are in the mirror", count)
