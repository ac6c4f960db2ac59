"""The watcher: follows the collection in a thread of its own, for the mirror and for wake-ups."""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from bson import Timestamp
from pymongo.change_stream import CollectionChangeStream
from pymongo.errors import OperationFailure, PyMongoError, WaitQueueTimeoutError

from ..connection import START_SECONDS, TRANSIENT, Connection, operation_time
from ..documents import Document, HasTime, IdKey
from ..owner import Owner
from ..polling import pause
from ..pool import pool_of
from ..readers import Reader
from ..slow_line.pace import EventLimit
from ..slow_line.paced import limited_answer
from ..threads import daemon
from ..wakeups import Wakeups
from .loading import load
from .mirror import Mirror

__all__ = ["Watcher", "needs_replica_set"]

PAUSE_SECONDS = 0.5  # before another try
ASK_MS = 1  # that the server waits for a change, where the pool is small
LEAVE_SECONDS = 0.25  # that the watcher then leaves its connection to others
FILLING_SECONDS = 0.02  # the same, until the mirror is live
LOOK_SECONDS = 0.25  # between two looks at the clock, and whether the store is still in use
LAG_SECONDS = 1.0  # of a stream that is not to be relied on
JOIN_SECONDS = 1.0
NO_REPLICA_SET = 40573
CURSOR_KILLED = 237  # by an administrator, say; the driver resumes a stream whose cursor is gone
LOST = {260, 280, 286, 10334}  # the token is invalid, too old, or before what is over 16 MB
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
    """One daemon thread, from `start` to `stop`, or until its store isn't used any more.

    It outlives outages.

    :param owner: the store.
    :param source: asked for the first run time, where there is no stream.
    :param passed_over: the jobs that nobody waits for, with their run times.
    :param mirror: is loaded, and kept current; if None, run times are all that is watched.
    :param every: ask so often, in seconds, and open no stream; None: open one.
    :param instead: ask so often where the server refuses the stream.
    :ivar connected: whether the last command was answered.
    """

    def __init__(
        self,
        owner: Owner,
        connection: Connection,
        wakeups: Wakeups,
        source: Reader,
        passed_over: Mapping[IdKey, HasTime],
        mirror: Mirror | None,
        every: float | None,
        instead: float,
        logger: logging.Logger,
    ) -> None:
        self._owner = owner
        self._connection = connection
        self._wakeups = wakeups
        self._source = source
        self._passed_over = passed_over
        self._mirror = mirror
        self._every, self._instead = every, instead
        self._logger = logger
        self._event_limit = EventLimit()
        self._pool = pool_of(connection.client)
        self._stopped = threading.Event()
        self._ready = threading.Event()
        if mirror is None:
            self._ready.set()
        self._error: BaseException | None = None
        self._token: Mapping[str, Any] | None = None
        self._lost_at = -1  # by the server's clock, when the collection was dropped
        self._named = 0  # the time that the stream's last token names
        self._time = 0  # how far the stream has come, by the server's clock
        self._answered_at: float | None = None  # by the monotonic one
        self._looked_at = time.time()
        self.connected = False
        self._follows = False  # a stream, and the alarm knows all that was before
        self._thread = daemon(self._run, "jobstore-watcher")

    @property
    def lag(self) -> float | None:
        """How many seconds what is known may be old; None if nothing is known yet.

        The stream's last answer is so old; and its last change may be older than our last write.
        """
        if self._answered_at is None:
            return None
        behind = (self._connection.write_time >> 32) - (self._time >> 32) if self._time else 0
        return time.monotonic() - self._answered_at + max(0, behind)

    @property
    def tells_all(self) -> bool:
        """Whether the alarm hears of all changes that make a job earlier, within about a second."""
        lag = self.lag
        return self._follows and lag is not None and lag < LAG_SECONDS

    def start(self) -> None:
        """Start watching; returns when the mirror has caught up, if there is one.

        :raises PyMongoError: if it can't be loaded.
        :raises ValueError: if the server has no change streams.
        """
        self._thread.start()
        self._ready.wait()
        if needs_replica_set(self._error):
            raise ValueError(
                "mirror=True needs change streams, which a standalone server has not: make it "
                'a replica set (of one node, if need be), or say mirror="exclusive" if nobody '
                "else writes to the collection"
            ) from self._error
        if self._error:
            raise self._error

    def end(self) -> None:
        """Let the thread end when its command does, without waiting for it."""
        self._stopped.set()
        self._ready.set()

    def stop(self) -> None:
        """End the thread; if it hangs in a command, it ends when that does."""
        self.end()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)

    def _ends(self) -> bool:
        return self._stopped.is_set() or not self._owner.needs_thread()

    def _do_chores(self) -> None:
        """Do the store's chores, unless its flusher does. Their errors are none of the stream's."""
        if self._mirror is None:
            try:
                self._owner.do_chores()
            except BaseException as error:  # a state that is restored may even exit
                self._logger.warning("Unable to try quarantined jobs again: %s", error)

    def _run(self) -> None:
        with self._pool.watched():
            self._watch()
        self._owner.thread_ends()

    def _watch(self) -> None:
        while not self._ends():
            try:
                if self._every is None:
                    self._follow()
                else:
                    self._poll(self._every)
            except BaseException as error:
                if not self._ready.is_set():
                    self._error = error
                    self._ready.set()
                    return
                if not self._stopped.is_set():
                    self._failed(error)
                    # To wait in vain for a connection of the pool says nothing about the server.
                    self.connected &= isinstance(error, WaitQueueTimeoutError)

    def _failed(self, error: BaseException) -> None:
        refused = isinstance(error, OperationFailure) and not _is_passing(error)
        if refused and self._mirror is None and self._token is None:
            self._every = self._instead
            level = logging.INFO if needs_replica_set(error) else logging.WARNING
            self._logger.log(
                level, "No change stream, asking every %g s instead: %s", self._every, error
            )
            return
        lost = getattr(error, "code", None) in LOST or not isinstance(error, PyMongoError)
        if refused or lost:
            self._token = None  # what the mirror has is read anew when the server answers
            self._owner.stream_is_lost()
        if lost and self._mirror is not None:
            self._mirror.reset()
            self._wakeups.wake()
        level = logging.WARNING if self.connected else logging.DEBUG  # an outage is news once
        self._logger.log(level, "Watching the jobs again, after: %s", error)
        self._rest(PAUSE_SECONDS)

    def _follow(self) -> None:
        """Resume the stream, or open one from now on, and read all that was before.

        Ends when the pool has become small, or is so no more, and when answers may be larger: the
        stream is then resumed.
        """
        small = self._pool.is_small
        if small:
            self._pool.warn(self._logger)
        since = None
        if self._token is None:
            since = self._connection.now(None if self._ready.is_set() else START_SECONDS)
            if operation_time(since) <= self._lost_at:
                self._stopped.wait(PAUSE_SECONDS)  # else the stream would begin with its own end
                return
        elif self._event_limit.limit_factor > 1:
            self._connection.now()  # who hangs already is not waited for that long
        stream = self._opened(since, small)
        with self._connection.closing(stream):
            self.connected = True
            self._catch_up(stream, since)
            self._follows = self._mirror is None
            try:
                self._read(stream, small)
            finally:
                self._follows = False

    def _opened(self, since: Timestamp | None, small: bool) -> CollectionChangeStream[Document]:
        """Open the stream, or resume it where there is a token."""
        try:
            with limited_answer(self._connection, self._event_limit):
                return self._connection.jobs.watch(
                    RUN_TIMES if self._mirror is None else [],
                    resume_after=self._token,
                    start_at_operation_time=since,
                    batch_size=self._event_limit.max_events,
                    max_await_time_ms=ASK_MS if small else self._connection.await_ms,
                )
        except OperationFailure as error:
            if self._mirror is not None and self._mirror.live and since and not _is_passing(error):
                self._ask()  # if that fails, too, it is an outage
                raise LostError("the stream is refused, and the jobs are not") from error
            raise

    def _catch_up(self, stream: CollectionChangeStream[Document], since: Timestamp | None) -> None:
        """Learn all that was before the stream began."""
        if self._mirror is None:
            self._token = stream.resume_token  # not the stream is refused, if the question is
            self._ask()
        elif self._token is None:
            load(self._connection, since, self._mirror, self._logger, self._stopped)
            self._passed(self._mirror, operation_time(since))
            self._wakeups.wake()
        self._token = stream.resume_token
        self._named = operation_time(since)  # 0 where it resumes: another node may be behind

    def _read(self, stream: CollectionChangeStream[Document], small: bool) -> None:
        while not self._ends() and self._pool.is_small == small:
            found = self._next(stream)
            self._do_chores()
            if not found and self._event_limit.grow_if_quiet():
                return
            if small:
                self._leave_connection(found)

    def _leave_connection(self, more: bool) -> None:
        """Let other threads have the pool's connection; for a moment if there is more to read."""
        seconds = LEAVE_SECONDS
        if more:
            seconds = self._pool.turn_seconds
        elif self._mirror is not None and not self._mirror.live:
            seconds = FILLING_SECONDS
        self._stopped.wait(seconds)

    def _ask(self) -> None:
        self._wakeups.notify(self._source.next_run_time(time.time(), self._passed_over))

    def _next(self, stream: CollectionChangeStream[Document]) -> bool:
        """Take the next change, if there is one within a while; note how far the stream has come.

        It has come to before the time that its token names: changes of that very time may follow,
        from the same transaction, say. It has come to that time when the next answer names it as
        well, and has no change.
        """
        with limited_answer(self._connection, self._event_limit):
            event = stream.try_next()
        self._answered_at = time.monotonic()
        if event is None or abs(time.time() - self._looked_at) > LOOK_SECONDS:
            self._look_at_clock()
        if event is None:
            pass
        elif event["operationType"] in ENDS:
            self._lost_at = time_of(event["_id"])
            raise LostError(f"the collection's {event['operationType']}")
        elif self._mirror is None:
            changes = event.get("updateDescription", {}).get("updatedFields", {})
            self._wakeups.notify((event.get("fullDocument") or changes).get("next_run_time"))
        elif record := self._mirror.apply(event):
            self._wakeups.notify(record.run_time)
        self._token = stream.resume_token
        assert self._token is not None
        before, self._named = self._named, time_of(self._token)
        again = event is None and before == self._named
        self._time = self._named if again else self._named - 1
        if self._mirror is not None:
            self._passed(self._mirror, self._time)
        return event is not None

    def _passed(self, mirror: Mirror, time: int) -> None:
        for record in mirror.passed(time):
            self._wakeups.notify(record.run_time)
        if not self._ready.is_set() and mirror.caught_up(0):
            self._ready.set()

    def _poll(self, every: float) -> None:
        """Ask once, and wait: the time that the answer takes is part of the interval."""
        began = time.monotonic()
        self._ask()
        self.connected = True
        self._answered_at = time.monotonic()
        self._rest(pause(every, self._answered_at - began))

    def _rest(self, seconds: float) -> None:
        """Wait, and look meanwhile whether the store is in use; by no clock, which may be set."""
        while seconds > 0 and not self._ends():
            self._do_chores()
            self._stopped.wait(min(seconds, LOOK_SECONDS))
            self._look_at_clock()
            seconds -= LOOK_SECONDS

    def _look_at_clock(self) -> None:
        self._looked_at = time.time()
        self._wakeups.check_clock(self._looked_at)


def _is_passing(error: OperationFailure) -> bool:
    """Whether a stream can be resumed after it, as after one of a network, or of an election."""
    return (
        error.timeout
        or error.has_error_label("ResumableChangeStreamError")
        or error.code in TRANSIENT | {CURSOR_KILLED}
    )


def time_of(token: Mapping[str, Any]) -> int:
    """Read the operation time that a resume token begins with.

    In hexadecimal: 82, a type, and the time's 8 bytes. The server's code:
    https://github.com/mongodb/mongo/blob/r6.0.5/src/mongo/db/pipeline/resume_token.h
    """
    return int(token["_data"][2:18], 16)
