"""The MongoDB store: a scheduler's cycle is two reads and one write, or with a mirror none."""

import pickle
import threading
import warnings
from datetime import datetime, timedelta, timezone
from typing import Any

import pymongo
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler
from pymongo import MongoClient
from pymongo.collection import Collection

from . import sharing
from .alarm import Alarm, can_be_woken
from .arguments import check
from .claimed import Claimed
from .connection import Connection, Document
from .cycle import Cycle
from .deferred import Deferred
from .documents import Seen, UnreadableError, plain, timestamp, to_datetime
from .flush import flush
from .flusher import Flusher
from .mirror import Mirror
from .quarantine import Quarantine
from .sources import Queried, Source
from .statements import Write
from .status import Status
from .through import WrittenThrough
from .watch import Watcher, load

__all__ = ["MongoDBJobStore"]

CLOSE_SECONDS = 5.0  # the longest that `shutdown` waits for the last flush


class MongoDBJobStore(WrittenThrough):
    """Keeps jobs in a MongoDB collection, in the documents of APScheduler's own store.

    Takes the place of `apscheduler.jobstores.mongodb.MongoDBJobStore`; plugin alias
    ``fastmongodb``. Within a scheduler's cycle writes are deferred, and written at its end by one
    guarded statement, which changes nothing that others have changed meanwhile. No database error
    escapes into the cycle.

    >>> from apscheduler.schedulers.background import BackgroundScheduler
    >>> from jobstore import MongoDBJobStore
    >>> scheduler = BackgroundScheduler(jobstores={"default": MongoDBJobStore(host="localhost")})

    :param database: the database's name.
    :param collection: the collection's name.
    :param client: a `pymongo.MongoClient`, or a textual reference to one (``module:name``); it is
        not closed by `shutdown`.
    :param pickle_protocol: for the jobs' states.
    :param batch_size: the most jobs that are handed out, or written, at a time.
    :param unreadable: what happens to a due job that can't be restored here: ``"quarantine"``,
        or ``"remove"``, as the stock store does.
    :param mirror: keep all records in memory, current by a change stream, so that a cycle does no
        I/O of its own; ``"exclusive"`` does so without one, if nobody else writes to them.
    :param watch: wake the scheduler when others make a job due earlier than what it waits for:
        True by a change stream, or every second where there is none; a number of seconds to ask
        that often; False not at all.
    :param shared: share the collection with other schedulers, each told so: a due job fires from
        exactly one of them.
    :param lease: seconds for which a job that is about to fire here is kept from the others.
    :param connect_args: for the `MongoClient` that is made if none is given.
    :raises ValueError: if one of these can't be used.
    """

    def __init__(
        self,
        database: str = "apscheduler",
        collection: str = "jobs",
        client: Any = None,
        pickle_protocol: int = pickle.HIGHEST_PROTOCOL,
        *,
        batch_size: int = 1000,
        unreadable: str = "quarantine",
        mirror: bool | str = False,
        watch: bool | float = True,
        shared: bool = False,
        lease: float = 10,
        **connect_args: Any,
    ) -> None:
        super().__init__()
        check(database, collection, batch_size, unreadable, mirror, watch, shared, lease)
        self.pickle_protocol = pickle_protocol
        self._batch_size = batch_size
        self._mirrored, self._watched = mirror, watch
        self._connection = Connection(database, collection, client, connect_args)
        self._claimed = Claimed(self._connection, lease) if shared else None
        self._source: Source = self._claimed or Queried(self._connection)
        self._quarantine = Quarantine(self._connection, unreadable == "remove")
        self._deferred = Deferred(self._write, batch_size)
        self._mirror = Mirror(self._deferred, follows=mirror is True)
        self._deferred.settled = self._note_settled
        self._alarm = Alarm()
        self._watcher: Watcher | None = None
        self._flusher: Flusher | None = None
        self._cycle = Cycle(datetime.now(timezone.utc), ())

    @property
    def client(self) -> MongoClient[Document]:
        """The MongoDB client in use."""
        return self._connection.client

    @property
    def collection(self) -> Collection[Document]:
        """The jobs' collection."""
        return self._connection.collection

    @property
    def connection(self) -> MongoClient[Document]:
        """The client, by its old name."""
        warnings.warn(
            'The "connection" member is deprecated -- use "client" instead',
            DeprecationWarning,
            stacklevel=2,
        )
        return self.client

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        """Create the indexes that are missing, try what is in quarantine again, fill the mirror.

        O(n) with a mirror. Of the threads that it starts, `shutdown` ends all.

        :raises pymongo.errors.PyMongoError: if the server can't be reached within 30 s.
        :raises ValueError: if the server has no change streams to keep a mirror current by; if
            schedulers share the collection, and this one was not told to.
        """
        super().start(scheduler, alias)
        for part in (self._quarantine, self._deferred, self._mirror, self._claimed):
            if part:
                part.logger = self._logger
        self._end_threads()
        with self._lock:
            self._connection.open()
            if self._claimed:
                sharing.begin(self._connection)
            else:
                sharing.check(self._connection, self._logger)
            self._connection.create_indexes(self._logger)
            self._quarantine.sweep()
            self._quarantine.put_back(self._runnable)
        try:
            self._start_threads()
        except BaseException:
            self._end_threads()
            raise

    def _start_threads(self) -> None:
        woken = self._mirrored != "exclusive" and self._watched is not False
        if woken and self._scheduler is not None and not can_be_woken(self._scheduler):
            kind = type(self._scheduler).__name__
            self._logger.info("No wake-ups: a %s can't be woken by other threads", kind)
            woken = False
        self._alarm.set(self._scheduler if woken else None)
        if self._mirrored == "exclusive":
            with self._lock:
                self._fill_mirror()
        elif self._mirrored or (woken and self._scheduler):
            asked_every = None if self._mirrored or self._watched is True else self._watched
            self._watcher = Watcher(
                self._connection,
                self._alarm,
                self._source,
                self._quarantine.passed_over,
                self._mirror if self._mirrored else None,
                asked_every,
                self._logger,
            )
            self._watcher.start()
        if self._mirrored:
            self._flusher = Flusher(self._deferred, self._chores, self._logger)
            self._flusher.start()
            with self._lock:
                self._mirror.go_live(self._connection.time)

    def _fill_mirror(self) -> None:
        """Without a stream, and with the lock held: from here on it notes what we write.

        What a cycle that found it live defers while it is read is in neither, so it is read again.
        """
        unnoted = self._unnoted
        self._mirror.reset()
        while not self._mirror.caught_up(0) or self._deferred.waits:
            self._mirror.reset()
            self._deferred.flush()
            unnoted = self._unnoted
            load(
                self._connection,
                self._connection.now(),
                self._mirror,
                self._logger,
                threading.Event(),
            )
        self._filled_after = unnoted

    def _chores(self) -> None:
        """Quarantine, and what follows from it; in the store's own thread."""
        with self._lock:
            odd, self._mirror.odd = self._mirror.odd, []
            if odd:
                reason = UnreadableError("its _id or its next_run_time is that of no job")
                self._quarantine.put(self._quarantine.verdicts([(seen, reason) for seen in odd]))
            self._quarantine.put_back_in_time(self._runnable)
            if self._mirrored == "exclusive" and self._unnoted != self._filled_after:
                self._fill_mirror()

    @property
    def _unnoted(self) -> int:
        """How often something was written, or may have been, that is not noted in the mirror."""
        return self._quarantine.changes + self._in_doubt

    # One cycle, in the order of its calls

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Hand out the first k jobs that are due, at most `batch_size`; 1 command, 3 if shared.

        What an earlier flush left behind is written first. A mirror answers without a command.

        :raises pymongo.errors.PyMongoError: if the server can't be reached; nothing is lost.
        """
        moment = timestamp(now)
        assert moment is not None
        with self._turn():
            if self._connection.closed:  # the scheduler's thread may come once more
                return []
            nested = self._cycle.nested
            if not nested:
                self._alarm.cycle_begins()
            try:
                source = self._source_of_due_jobs(nested)
                found = source.due(moment, self._batch_size + len(self._quarantine.unmarked))
                lease = self._claimed.lease() if self._claimed else None
            except Exception:
                self._alarm.cycle_ends(timestamp(self._next_try()))
                raise
            good, bad = [], []
            for seen in found:
                try:
                    good.append((self._runnable(seen), seen))
                except UnreadableError as reason:
                    bad.append((seen, reason))
            if self._claimed and lease:
                bad = self._claimed.leave_to_others(bad, lease)
            if bad:
                self._set_aside(bad)
            good.sort(key=lambda pair: (pair[1].run_time, pair[1].id))
            cycle = Cycle(now, good[: self._batch_size], lease)
            if not nested:
                self._cycle = cycle
            return cycle.jobs

    def _source_of_due_jobs(self, nested: bool) -> Source:
        if self._mirror.live:
            return self._mirror
        self._deferred.flush()
        if not nested:
            self._cycle.release()
            self._quarantine.put_back_in_time(self._runnable)
        return self._mirror if self._mirror.go_live(self._connection.time) else self._source

    def _set_aside(self, bad: list[tuple[Seen, UnreadableError]]) -> None:
        verdicts = self._quarantine.verdicts(bad)
        if self._mirror.live:
            for write in verdicts:
                self._deferred.add(write, self._mirror.foresee)
        else:
            self._quarantine.put(verdicts)

    def update_job(self, job: Job) -> None:
        """Replace a stored job; deferred in a cycle for a job handed out, else 1 command.

        :raises JobLookupError: if no job of that id is stored.
        :raises TransientJobError: if the job's function can't be imported by name.
        :raises pymongo.errors.DocumentTooLarge: naming the job and its size, over 16 MiB.
        """
        with self._turn():
            if self._cycle.is_of(job):
                write = self._cycle.advance(job, self.pickle_protocol, self._logger)
                self._deferred.add(write, self._mirror.foresee)
                return
        self._replace_job(job)

    def remove_job(self, job_id: str) -> None:
        """Remove a job; deferred in a cycle for a job handed out, else 1 command.

        :raises JobLookupError: if no job of that id is stored.
        """
        job_id = plain(job_id)
        with self._turn():
            if self._cycle.takes_removal(job_id):
                self._deferred.add(self._cycle.remove(job_id), self._mirror.foresee)
                return
        self._delete_job(job_id)

    def get_next_run_time(self) -> datetime | None:
        """Write what the cycle deferred, and return the earliest run time; 1 to 3 commands.

        A job that is due, but leased by another scheduler, counts 0.4 s from now.

        If the server can't be reached, it is the time of the next try instead. A mirror answers
        at once, and its store's own thread writes.
        """
        answer: datetime | None = self._next_try()
        with self._turn():
            try:
                if self._connection.closed:
                    return None
                if self._mirror.live or not self._deferred.failing:
                    source = self._flushed()
                    if self._cycle.ends:
                        self._cycle.release()
                    earliest = source.next_run_time(self._quarantine.passed_over)
                    answer = None if earliest is None else to_datetime(earliest)
            except Exception as error:
                self._logger.warning("Unable to reach the jobs, trying again later: %s", error)
            finally:
                if self._cycle.ends:
                    self._cycle.end()
                    self._alarm.cycle_ends(timestamp(answer))
        return answer

    def _flushed(self) -> Source:
        """Where to look, when what was deferred is written, or is about to be."""
        if self._mirror.live:
            if self._deferred.waits:
                self._deferred.soon()
            return self._mirror
        self._deferred.flush()
        return self._source

    def _write(self, writes: dict[Any, Write], sent_before: bool) -> dict[Any, Seen | None]:
        lease = self._cycle.lease
        return flush(self._connection, self._quarantine, writes, self._logger, lease, sent_before)

    def _note_settled(self, ids: list[Any], theirs: dict[Any, Seen | None]) -> None:
        self._mirror.settled(ids, theirs, self._connection.time)

    def _next_try(self) -> datetime:
        seconds = getattr(self._scheduler, "jobstore_retry_interval", 10)
        return datetime.now(timezone.utc) + timedelta(seconds=seconds)

    # The end

    def status(self) -> Status:
        """Tell whether the server is there, what waits to be written, and how old the mirror is.

        >>> store.status().pending
        0
        """
        pending, oldest = self._deferred.status()
        watcher = self._watcher
        connected = not self._connection.closed and not self._deferred.failing
        return Status(
            connected=connected and (watcher is None or watcher.connected),
            pending=pending,
            oldest=oldest,
            lag=watcher.lag if watcher else None,
        )

    def shutdown(self) -> None:
        """Write what is deferred, and close the client, if it is the store's own; never raises.

        Waits at most 5 s for the last writes. Jobs of the cycle that are not yet through stay
        due. `start` may follow.
        """
        self._end_threads()
        with pymongo.timeout(CLOSE_SECONDS):
            if self._lock.acquire(timeout=CLOSE_SECONDS):  # a thread may hang in a write
                try:
                    self._deferred.flush_if_possible()
                    self._cycle.release()
                finally:
                    self._lock.release()
            left = self._deferred.writes
            if left:
                some = ", ".join([*sorted(map(str, left))[:10], *["..."] * (len(left) > 10)])
                self._logger.error("%d jobs are not written and run again: %s", len(left), some)
            self._deferred.forget()
            self._cycle.shut_down = True
            self._mirror.reset()
            self._connection.close()  # tells the server, and that takes a command as well

    def _end_threads(self) -> None:
        self._deferred.in_callers_thread()
        for thread in (self._watcher, self._flusher):
            if thread:
                thread.stop()
        self._watcher = self._flusher = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} (client={self._connection.describe()})>"
