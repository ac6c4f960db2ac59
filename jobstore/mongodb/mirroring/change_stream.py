"""The watcher: a thread that follows the collection's change stream, for the mirror and wake-ups.

Where the server has no change streams, or the user wants none, it polls the first run time.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from bson import Timestamp
from pymongo.change_stream import CollectionChangeStream
from pymongo.errors import OperationFailure, PyMongoError, WaitQueueTimeoutError

from ..connection import START_SECONDS, TRANSIENT, Connection, operation_time
from ..documents import Document, HasTime, IdKey
from ..owner import Owner
from ..polling import pause_seconds
from ..pool import pool_of
from ..readers import Reader
from ..slow_line.pace import EventLimit
from ..slow_line.paced import limited_answer
from ..threads import StopSignal, daemon
from ..wakeups import Wakeups
from .loading import load
from .mirror import Mirror

__all__ = ["Watcher", "needs_replica_set"]

PAUSE_SECONDS = 0.5  # before another try
SMALL_POOL_AWAIT_MS = 1  # how long the server waits for a change, if the pool is small
YIELD_SECONDS = 0.25  # how long the watcher then leaves its connection to other threads
LOADING_YIELD_SECONDS = 0.02  # the same, until the mirror is live
CHECK_SECONDS = 0.25  # between two checks of the clock, and of whether the store is still in use
MAX_LAG_SECONDS = 1.0  # a stream with a longer lag is not relied on
JOIN_SECONDS = 1.0
NOT_A_REPLICA_SET = 40573
NO_COLLECTION = 26  # it was dropped while the server opened the stream
LOST_CODES = {260, 280, 286, 10334}  # resume token invalid, fatal, too old, event over 16 MB
ENDING_OPERATIONS = {"drop", "dropDatabase", "rename", "invalidate"}
RUN_TIME_PIPELINE: list[Document] = [  # only the fields that a wake-up needs, no states
    {
        "$match": {
            "operationType": {"$ne": "delete"},
            # Skip claims, and writes that follow from a claim: they make no job due earlier.
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


class StreamLostError(Exception):
    """The stream can't be resumed: all records must be read again."""


def needs_replica_set(error: BaseException | None) -> bool:
    """Whether a standalone server has refused a change stream with this error."""
    return isinstance(error, OperationFailure) and error.code == NOT_A_REPLICA_SET


class Watcher:
    """A daemon thread that runs from `start` to `stop`, or until its store is no longer in use.

    It goes on after outages.

    :param owner: the store.
    :param reader: polled for the first run time, if there is no stream.
    :param left_out: returns the jobs for which the scheduler does not wake up.
    :param mirror: loaded and kept current; if None, only run times are watched.
    :param poll_interval: seconds between polls, in place of a stream; None: open a stream.
    :param fallback_interval: seconds between polls if the server refuses the stream.
    :ivar connected: whether the last command was answered; True before the first one.
    :ivar poll_interval: the seconds between polls; None while a stream is followed.
    """

    def __init__(
        self,
        owner: Owner,
        connection: Connection,
        wakeups: Wakeups,
        reader: Reader,
        left_out: Callable[[], Mapping[IdKey, HasTime]],
        mirror: Mirror | None,
        poll_interval: float | None,
        fallback_interval: float,
        logger: logging.Logger,
    ) -> None:
        self._owner = owner
        self._connection = connection
        self._wakeups = wakeups
        self._reader = reader
        self._left_out = left_out
        self._mirror = mirror
        self.poll_interval, self._fallback_interval = poll_interval, fallback_interval
        self._logger = logger
        self._event_limit = EventLimit()
        self._pool = pool_of(connection.client)
        self._stopped = StopSignal()
        self._ready = threading.Event()
        if mirror is None:
            self._ready.set()
        self._start_error: BaseException | None = None
        self._resume_token: Mapping[str, Any] | None = None
        # Operation times, by the server's clock:
        self._dropped_at = -1  # when the collection was dropped
        self._token_time = 0  # the time in the stream's last resume token
        self._stream_time = 0  # the stream has reported all changes up to this time
        self._answered_at: float | None = None  # by the monotonic clock
        self._clock_checked_at = time.time()
        self.connected = True  # the start has reached the server
        self._is_complete = False  # a stream is open, and all earlier changes are known
        self._thread = daemon(self._run, "jobstore-watcher")

    @property
    def lag(self) -> float | None:
        """The age of our knowledge, in seconds; None before the first answer.

        It is the age of the last answer, plus the time by which the stream is behind our last
        write.
        """
        if self._answered_at is None:
            return None
        last_write, stream = self._connection.write_time >> 32, self._stream_time >> 32
        behind = last_write - stream if self._stream_time else 0
        return time.monotonic() - self._answered_at + max(0, behind)

    @property
    def sees_all_changes(self) -> bool:
        """Whether a stream reports, within a second, all changes that make a job due earlier."""
        lag = self.lag
        return self._is_complete and lag is not None and lag < MAX_LAG_SECONDS

    def start(self) -> None:
        """Start watching; returns when the mirror, if there is one, has caught up.

        :raises PyMongoError: if the mirror can't be loaded.
        :raises ValueError: if the server has no change streams, and a mirror needs one.
        """
        self._thread.start()
        self._ready.wait()
        if needs_replica_set(self._start_error):
            raise ValueError(
                "mirror=True needs change streams, which a standalone server lacks: make it a "
                'replica set (one node is enough), or set mirror="exclusive" if nobody else '
                "writes to the collection"
            ) from self._start_error
        if self._start_error:
            raise self._start_error

    def signal_stop(self) -> None:
        """Let the thread end after its current command, without waiting for it."""
        self._stopped.set()
        self._ready.set()

    def stop(self) -> None:
        """End the thread; waits at most 1 s, even if the thread hangs in a command."""
        self.signal_stop()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)

    def _should_stop(self) -> bool:
        return self._stopped.is_set() or not self._owner.needs_thread()

    def _do_chores(self) -> None:
        """Do the store's chores, unless its flusher does; an error is no error of the stream."""
        if self._mirror is None:
            try:
                self._owner.do_chores()
            except BaseException as error:  # restoring a job runs user code, which may even exit
                self._logger.warning("Unable to try quarantined jobs again: %s", error)

    def _run(self) -> None:
        with self._pool.count_watcher():
            self._watch()
        self._owner.thread_ended()

    def _watch(self) -> None:
        while not self._should_stop():
            try:
                if self.poll_interval is None:
                    self._follow_stream()
                else:
                    self._poll(self.poll_interval)
            except BaseException as error:
                if not self._ready.is_set():
                    self._start_error = error
                    self._ready.set()
                    return
                if not self._stopped.is_set():
                    self._handle_error(error)
                    # A full pool says nothing about the server.
                    self.connected &= isinstance(error, WaitQueueTimeoutError)

    def _handle_error(self, error: BaseException) -> None:
        refused = isinstance(error, OperationFailure) and not _is_transient(error)
        if refused and self._mirror is None and self._resume_token is None:
            self.poll_interval = self._fallback_interval
            level = logging.INFO if needs_replica_set(error) else logging.WARNING
            self._logger.log(
                level,
                "No change stream, polling every %g s instead: %s",
                self.poll_interval,
                error,
            )
            return
        lost = getattr(error, "code", None) in LOST_CODES or not isinstance(error, PyMongoError)
        if refused or lost:
            self._resume_token = None  # a mirror is loaded again when the server answers
            self._owner.stream_lost()
        if lost and self._mirror is not None:
            self._mirror.reset()
            self._wakeups.wake()
        level = logging.WARNING if self.connected else logging.DEBUG  # warns once per outage
        self._logger.log(level, "Watching the jobs again, after: %s", error)
        self._wait(PAUSE_SECONDS)

    def _follow_stream(self) -> None:
        """Resume the stream, or open a new one and read the state before it; then follow it.

        Returns when the pool becomes small or large enough, and when answers may be larger. The
        caller then resumes the stream.
        """
        small = self._pool.is_small
        if small:
            self._pool.warn(self._logger)
        since = None
        if self._resume_token is None:
            since = self._connection.now(None if self._ready.is_set() else START_SECONDS)
            if operation_time(since) <= self._dropped_at:
                self._stopped.wait(PAUSE_SECONDS)  # else the stream would begin with the drop
                return
        elif self._event_limit.limit_factor > 1:
            self._connection.now()  # fails sooner than the stream, if the server hangs
        stream = self._open_stream(since, small)
        with self._connection.closing(stream):
            self.connected = True
            self._catch_up(stream, since)
            self._is_complete = self._mirror is None
            try:
                self._read_events(stream, small)
            finally:
                self._is_complete = False

    def _open_stream(
        self, since: Timestamp | None, small: bool
    ) -> CollectionChangeStream[Document]:
        """Open the stream, or resume it if there is a resume token."""
        try:
            with limited_answer(self._connection, self._event_limit):
                return self._connection.jobs.watch(
                    RUN_TIME_PIPELINE if self._mirror is None else [],
                    resume_after=self._resume_token,
                    start_at_operation_time=since,
                    batch_size=self._event_limit.max_events,
                    max_await_time_ms=(SMALL_POOL_AWAIT_MS if small else self._connection.await_ms),
                )
        except OperationFailure as error:
            if (
                self._mirror is not None
                and self._mirror.live
                and since
                and not _is_transient(error)
            ):
                self._query_run_time()  # if that fails, too, it is an outage
                raise StreamLostError("the stream is refused, but queries are not") from error
            raise

    def _catch_up(self, stream: CollectionChangeStream[Document], since: Timestamp | None) -> None:
        """Read the state before a new stream's begin."""
        if self._mirror is None:
            # The token is noted first: if the query fails, the stream was not refused.
            self._resume_token = stream.resume_token
            self._query_run_time()
        elif self._resume_token is None:
            load(self._connection, since, self._mirror, self._logger, self._stopped)
            self._advance_mirror(self._mirror, operation_time(since))
            self._wakeups.wake()
        self._resume_token = stream.resume_token
        self._token_time = operation_time(since)  # 0 if resumed: another node may be behind

    def _read_events(self, stream: CollectionChangeStream[Document], small: bool) -> None:
        while not self._should_stop() and self._pool.is_small == small:
            has_event = self._next_event(stream)
            self._do_chores()
            if not has_event and self._event_limit.grow_if_quiet():
                return
            if small:
                self._yield_connection(has_event)

    def _yield_connection(self, may_have_more: bool) -> None:
        """Leave the pool's connection to other threads; only for a moment after an event."""
        seconds = YIELD_SECONDS
        if may_have_more:
            seconds = self._pool.yield_seconds
        elif self._mirror is not None and not self._mirror.live:
            seconds = LOADING_YIELD_SECONDS
        self._stopped.wait(seconds)

    def _query_run_time(self) -> None:
        self._wakeups.notify(self._reader.next_run_time(time.time(), self._left_out()))

    def _next_event(self, stream: CollectionChangeStream[Document]) -> bool:
        """Handle the next event, if one comes in time; note which time the stream has reached.

        The stream has reached the time just before its resume token's. More changes may follow at
        the token's own time, such as those of the same transaction. The stream has reached that
        time when the next answer has no event and the same token time, from the same cursor. After
        an election PyMongo opens another cursor by itself, perhaps on a node that is behind.
        """
        cursor = stream._cursor
        with limited_answer(self._connection, self._event_limit):
            event = stream.try_next()
        if stream._cursor is not cursor:
            self._token_time = 0
        self._answered_at = time.monotonic()
        if event is None or abs(time.time() - self._clock_checked_at) > CHECK_SECONDS:
            self._check_clock()
        if event is None:
            pass
        elif event["operationType"] in ENDING_OPERATIONS:
            self._dropped_at = token_time(event["_id"])
            raise StreamLostError(f"the collection's {event['operationType']}")
        elif self._mirror is None:
            changes = event.get("updateDescription", {}).get("updatedFields", {})
            self._wakeups.notify((event.get("fullDocument") or changes).get("next_run_time"))
        elif record := self._mirror.apply(event):
            self._wakeups.notify(record.run_time)
        self._resume_token = stream.resume_token
        assert self._resume_token is not None
        before, self._token_time = self._token_time, token_time(self._resume_token)
        is_settled = event is None and before == self._token_time
        self._stream_time = self._token_time if is_settled else self._token_time - 1
        if self._mirror is not None:
            self._advance_mirror(self._mirror, self._stream_time)
        return event is not None

    def _advance_mirror(self, mirror: Mirror, time: int) -> None:
        for record in mirror.stream_reached(time):
            self._wakeups.notify(record.run_time)
        if not self._ready.is_set() and mirror.caught_up(0):
            self._ready.set()

    def _poll(self, interval: float) -> None:
        """Ask once, and wait for the rest of the interval."""
        began = time.monotonic()
        self._query_run_time()
        self.connected = True
        self._answered_at = time.monotonic()
        self._wait(pause_seconds(interval, self._answered_at - began))

    def _wait(self, seconds: float) -> None:
        """Wait in short steps, and do the chores meanwhile.

        It counts the steps, and reads no clock, because a clock may be set.
        """
        while seconds > 0 and not self._should_stop():
            self._do_chores()
            self._stopped.wait(min(seconds, CHECK_SECONDS))
            self._check_clock()
            seconds -= CHECK_SECONDS

    def _check_clock(self) -> None:
        self._clock_checked_at = time.time()
        self._wakeups.check_clock(self._clock_checked_at)


def _is_transient(error: OperationFailure) -> bool:
    """Whether the stream can be resumed after this error, as after an election."""
    return (
        error.timeout
        or error.has_error_label("ResumableChangeStreamError")
        or error.has_error_label("SystemOverloadedError")
        or error.code in TRANSIENT
        or error.code == NO_COLLECTION
    )


def token_time(token: Mapping[str, Any]) -> int:
    """Read the operation time at the start of a resume token.

    The token is hexadecimal: 82, which is a type, then the 8 bytes of the time. The server's code:
    https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/db/pipeline/resume_token.h
    """
    return int(token["_data"][2:18], 16)
