"""The watcher: follows the collection in a thread of its own, for the mirror and for wake-ups."""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from bson import Timestamp
from pymongo.change_stream import CollectionChangeStream
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from . import batches
from .alarm import Alarm
from .connection import START_SECONDS, UNAUTHORIZED, Connection, Document, moment
from .documents import FIELDS
from .mirror import Mirror
from .sources import Source
from .statements import TRANSIENT

__all__ = ["Watcher", "needs_replica_set"]

AWAIT_MS = 250  # how long the server waits for a change before it answers that there is none
POLL_SECONDS = 1.0  # where there are no change streams
PAUSE_SECONDS = 0.5  # before another try
PROGRESS_SECONDS = 5.0
JOIN_SECONDS = 1.0
BATCH = 10_000
NO_REPLICA_SET = 40573
ENDS = {"drop", "dropDatabase", "rename", "invalidate"}
RUN_TIMES: list[Document] = [  # all that a wake-up needs; no states
    {
        "$match": {
            "operationType": {"$ne": "delete"},
            # Claims, and what claimants write: nobody waits for a job later than it was.
            "fullDocument.acquired_until": {"$exists": False},
            "updateDescription.updatedFields.acquired_until": {"$exists": False},
        }
    },
    {
        "$project": {
            "operationType": 1,
            "fullDocument.next_run_time": 1,
            "updateDescription.updatedFields.next_run_time": 1,
        }
    },
]


class LostError(Exception):
    """The stream can't go on where it was: all is to be read again."""


def needs_replica_set(error: BaseException | None) -> bool:
    """Whether that is what a standalone server says to a change stream."""
    return isinstance(error, OperationFailure) and error.code == NO_REPLICA_SET


class Watcher:
    """One daemon thread, from `start` to `stop`; it outlives outages.

    :param source: asked for the first run time, where there is no stream.
    :param passed_over: the jobs that nobody waits for, with their run times.
    :param mirror: is loaded, and kept current; if None, run times are all that is watched.
    :param every: how often to ask where there is no stream; None: there is to be one.
    :ivar connected: whether the last command was answered.
    """

    def __init__(
        self,
        connection: Connection,
        alarm: Alarm,
        source: Source,
        passed_over: Mapping[Any, Any],
        mirror: Mirror | None,
        every: float | None,
        logger: logging.Logger,
    ) -> None:
        self._connection = connection
        self._alarm = alarm
        self._source = source
        self._passed_over = passed_over
        self._mirror = mirror
        self._every = every
        self._logger = logger
        self._stopped = threading.Event()
        self._ready = threading.Event()
        self._error: Exception | None = None
        self._token: Mapping[str, Any] | None = None
        self._asked = 0  # the latest time of an operation of ours when there last was no change
        self._answered_at: float | None = None  # by the monotonic clock
        self._time = 0  # how far the stream has come, by the server's
        self.connected = False
        self._thread = threading.Thread(target=self._run, name="jobstore-watcher", daemon=True)

    @property
    def lag(self) -> float | None:
        """How many seconds what is known may be old; None if nothing is known yet.

        The stream's last answer is so old; and its last change may be older than our last write.
        """
        if self._answered_at is None:
            return None
        behind = (self._connection.time >> 32) - (self._time >> 32) if self._time else 0
        return time.monotonic() - self._answered_at + max(0, behind)

    def start(self) -> None:
        """Start watching; returns when the mirror has caught up, if there is one.

        :raises PyMongoError: if it can't be loaded.
        :raises ValueError: if the server has no change streams.
        """
        self._thread.start()
        if self._mirror is not None:
            self._ready.wait()
            if needs_replica_set(self._error):
                raise ValueError(
                    "mirror=True needs change streams, which a standalone server has not: make it "
                    'a replica set (of one node, if need be), or say mirror="exclusive" if nobody '
                    "else writes to the collection"
                ) from self._error
            if self._error:
                raise self._error

    def stop(self) -> None:
        """End the thread; if it hangs in a command, it ends when that does."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                if self._every is None:
                    self._follow()
                else:
                    self._poll(self._every)
            except Exception as error:
                if self._mirror is not None and not self._ready.is_set():
                    self._error = error
                    self._ready.set()
                    return
                if not self._stopped.is_set():
                    self._failed(error)
                    self.connected = False

    def _failed(self, error: Exception) -> None:
        code = error.code if isinstance(error, OperationFailure) else None
        if self._mirror is None and (code == UNAUTHORIZED or needs_replica_set(error)):
            self._every = POLL_SECONDS
            level = logging.WARNING if code == UNAUTHORIZED else logging.INFO
            self._logger.log(
                level, "No change stream, asking every %.0f s instead: %s", POLL_SECONDS, error
            )
            return
        if _is_final(error):
            self._token = None
            if self._mirror is not None:
                self._mirror.reset()
                self._alarm.ring()
        level = logging.WARNING if self.connected else logging.DEBUG  # an outage is news once
        self._logger.log(level, "Watching the jobs again, after: %s", error)
        self._stopped.wait(PAUSE_SECONDS)

    def _follow(self) -> None:
        pipeline = RUN_TIMES if self._mirror is None else []
        since = self._connection.now() if self._token is None else None
        with self._connection.limit():
            stream = self._connection.jobs.watch(
                pipeline,
                resume_after=self._token,
                start_at_operation_time=since and Timestamp(since.time, since.inc + 1),
                max_await_time_ms=AWAIT_MS,
            )
        with self._connection.closing(stream):
            self.connected = True
            if self._mirror is None:
                self._alarm.told(self._source.next_run_time(self._passed_over))
            elif self._token is None:
                self._asked = load(
                    self._connection, since, self._mirror, self._logger, self._stopped
                )
                self._alarm.ring()
            while not self._stopped.is_set():
                self._next(stream)

    def _next(self, stream: CollectionChangeStream[Document]) -> None:
        """Take the next change, or none within a while; note how far the stream has come.

        It has come to the time of the change; where there is none, to before the time that its
        token names (changes of that very time may follow). And where our own writes changed
        nothing, no change tells of them: then it has come as far as they, when there was no
        change since for a whole answer more.
        """
        asked = self._connection.time
        with self._connection.limit():
            event = stream.try_next()
        self._answered_at = time.monotonic()
        if event is None:
            pass
        elif event["operationType"] in ENDS:
            raise LostError(f"the collection's {event['operationType']}")
        elif self._mirror is None:
            changes = event.get("updateDescription", {}).get("updatedFields", {})
            self._alarm.told((event.get("fullDocument") or changes).get("next_run_time"))
        elif seen := self._mirror.apply(event):
            self._alarm.told(seen.run_time)
        self._token = token = stream.resume_token
        assert token is not None
        if event is not None:
            self._time = time_of(event["_id"])
        else:
            self._time = max(time_of(token) - 1, self._asked)
            self._asked = asked
        if self._mirror is not None:
            self._passed(self._mirror, self._time)

    def _passed(self, mirror: Mirror, time: int) -> None:
        for seen in mirror.passed(time):
            self._alarm.told(seen.run_time)
        if not self._ready.is_set() and mirror.caught_up(0):
            self._ready.set()

    def _poll(self, every: float) -> None:
        with self._connection.limit():
            self._alarm.told(self._source.next_run_time(self._passed_over))
        self.connected = True
        self._answered_at = time.monotonic()
        self._stopped.wait(every)


def load(
    connection: Connection,
    since: Timestamp | None,
    mirror: Mirror,
    logger: logging.Logger,
    stopped: threading.Event,
) -> int:
    """Read all n records, as the majority has them, into the mirror; O(n log n).

    :param since: the time of the last operation that no stream tells of. What the majority has
        may be older: then the server waits until the majority has that, too.
    :returns: when that was, by the server.
    """
    jobs = connection.jobs.with_options(read_concern=ReadConcern("majority"))
    count, reported = 0, time.monotonic()
    mirror.reset()
    with connection.client.start_session(causal_consistency=True) as session:
        if since:
            session.advance_operation_time(since)
        found = connection.read(jobs.find({}, FIELDS, session=session), START_SECONDS)
        for batch in batches.of(found, BATCH):
            mirror.load(batch)
            count += len(batch)
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                logger.info("%d jobs are in the mirror", count)
            if stopped.is_set():
                return 0
        read_at = moment(session.operation_time)
    mirror.loaded(read_at)
    logger.info("All %d jobs are in the mirror", count)
    return read_at


def _is_final(error: Exception) -> bool:
    """Whether a stream can't be resumed after it: but for those of networks and elections."""
    return not isinstance(error, PyMongoError) or (
        isinstance(error, OperationFailure)
        and not error.timeout
        and not error.has_error_label("ResumableChangeStreamError")
        and error.code not in TRANSIENT
    )


def time_of(token: Mapping[str, Any]) -> int:
    """Read the operation time that a resume token begins with.

    In hexadecimal: 82, a type, and the time's 8 bytes. The server's code:
    https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/db/pipeline/resume_token.h
    """
    return int(token["_data"][2:18], 16)
