"""The MongoDB store: a scheduler's cycle is two reads and one write, or with a mirror none."""

import pickle
import threading
import warnings
from datetime import datetime, timedelta, timezone
from typing import Any

from apscheduler.job import Job
from pymongo import MongoClient
from pymongo.collection import Collection

from ..caller import is_cycle
from .alarm import Alarm
from .arguments import check
from .cached import Asked
from .claimed import Claimed
from .connection import Connection
from .cycle import Cycle
from .deferred import Deferred
from .documents import END_OF_TIME, Document, Seen, UnreadableError, plain, timestamp, to_datetime
from .executors import check_executors
from .flush import flush
from .guarded import Write
from .indexes import Indexes
from .mirrored import Mirrored
from .owner import weakly
from .quarantine import Quarantine
from .readers import Due, Reader
from .recovery import Recovering
from .retry import Retry
from .running import Running, stores

__all__ = ["MongoDBJobStore"]


class MongoDBJobStore(Running):
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
        True by a change stream, or by asking, once a second or more often, where there is none; a
        number of seconds to ask that often; False not at all.
    :param shared: share the collection with other schedulers, each told so: a due job fires from
        exactly one of them.
    :param lease: seconds for which a job that is about to fire here is kept from the others.
    :param connect_args: for the `MongoClient` that is made if none is given.
    :raises TypeError: if `client` is no `MongoClient`, and wraps none.
    :raises ValueError: if another one of these can't be used.
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
        self._watched = watch
        self._connection = Connection(database, collection, client, connect_args)
        self._quarantine = Quarantine(self._connection, unreadable == "remove")
        self._retry = Retry(self._connection, self._quarantine)
        self._indexes = Indexes(self._connection)
        self._deferred = Deferred(weakly(self._write), batch_size)
        self._deferred.settled = weakly(self._note_settled)
        parts = self._connection, self._deferred, self._quarantine
        self._mirrored = Mirrored(*parts, follows=mirror is True) if mirror else None
        self._reader: Reader = self._mirrored or (
            Claimed(*parts, lease) if shared else Recovering(*parts)
        )
        self._alarm = Alarm()
        self._cycles: dict[int, Cycle] = {}  # by thread
        stores.add(self)

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

    # One cycle, in the order of its calls

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Hand out the first k jobs that are due, at most `batch_size`; 1 command, 3 if shared.

        What an earlier flush left behind is written first. A mirror answers without a command;
        so does a store whose change stream has told of nothing that is due.
        Where others share the jobs, it is some of the first ones; each look in vain is 1 more.

        :raises pymongo.errors.PyMongoError: if the server can't be reached; nothing is lost.
        :raises NoExecutorError: if the main thread has ended, and with it the thread pools.
        """
        moment = timestamp(now)
        assert moment is not None
        self._start_again_if_running()
        check_executors(self._scheduler)
        with self._turn():
            if self._connection.closed:  # the scheduler's thread may come once more
                return []
            own = self._cycle
            outer = own if own.in_loop else None
            if not outer:
                if self._waits_for(own, moment) is not None:
                    self._cycles[threading.get_ident()] = cycle = Cycle(now, ())
                    cycle.asked = own.asked
                    return cycle.jobs
                own.asked = None
                self._alarm.cycle_begins()
            try:
                due = self._due(moment, nested=outer is not None)
            except Exception:
                if not outer:
                    self._alarm.cycle_ends(timestamp(self._next_try()))
                raise
            good, bad = [], []
            for seen in due.records:
                try:
                    good.append((self._runnable(seen), seen))
                except UnreadableError as reason:
                    bad.append((seen, reason))
            if bad and (bad := self._reader.rejected(bad, due.lease)):
                self._set_aside(bad)
            good.sort(key=lambda pair: (pair[1].run_time, pair[1].id))
            cycle = Cycle(now, good[: self._batch_size], due.lease)
            if outer:
                outer.nest(cycle)
            else:
                self._cycles[threading.get_ident()] = cycle
            return cycle.jobs

    def _waits_for(self, cycle: Cycle, now: float) -> float | None:
        """When the next job is due, where that is known without a command, and is not yet."""
        asked, watcher = cycle.asked, self._watcher
        if not (asked and watcher and watcher.tells_all) or self._deferred.waits:
            return None
        if asked.holds(self._connection):
            awaited = self._alarm.awaited
            if awaited is not None and awaited > now:
                return awaited
        return None

    @property
    def _cycle(self) -> Cycle:
        """The calling thread's own; an empty one if it has none."""
        return self._cycles.get(threading.get_ident()) or Cycle(datetime.now(timezone.utc), ())

    def _due(self, now: float, nested: bool) -> Due:
        self._reader.settle()
        if not nested:
            self._between_cycles()
            if not self._has_thread:
                self._retry.step(self._runnable)
                self._indexes.look()
        return self._reader.due(now, self._batch_size + self._quarantine.unmarked)

    def _between_cycles(self) -> None:
        """Give back what the last cycle leased and did not fire; use a mirror that is ready."""
        self._cycle.release()
        self._reader.go_live()

    def _set_aside(self, bad: list[tuple[Seen, UnreadableError]]) -> None:
        verdicts = self._quarantine.verdicts(bad)
        if self._reader.is_live:
            for write in verdicts:
                self._deferred.add(write, self._reader.apply)
        else:
            self._quarantine.put(verdicts)

    def update_job(self, job: Job) -> None:
        """Replace a stored job; deferred in a cycle for a job handed out, else 1 command.

        :raises JobLookupError: if no job of that id is stored.
        :raises TransientJobError: if the job's function can't be imported by name.
        :raises pymongo.errors.DocumentTooLarge: naming the job and its size, over 16 MiB.
        """
        with self._turn():
            cycle = self._cycle
            if cycle.is_of(job):
                write = cycle.advance(job, self.pickle_protocol, self._deferred.lines)
                self._deferred.add(write, self._reader.apply)
                return
        self._replace_job(job)

    def remove_job(self, job_id: str) -> None:
        """Remove a job; deferred in a cycle for a job handed out, else 1 command.

        :raises JobLookupError: if no job of that id is stored.
        """
        job_id = plain(job_id)
        with self._turn():
            cycle = self._cycle
            if cycle.takes_removal(job_id, by_scheduler=is_cycle()):
                self._deferred.add(cycle.remove(job_id), self._reader.apply)
                return
        self._delete_job(job_id)

    def get_next_run_time(self) -> datetime | None:
        """Write what the cycle deferred, and return the earliest run time; 1 to 3 commands.

        A job that is due, but leased by another scheduler, counts 0.2 to 0.4 s from now.

        If the server can't be reached, it is the time of the next try instead. A mirror answers
        at once, and its store's own thread writes.
        """
        answer: datetime | None = self._next_try()
        with self._turn():
            cycle = self._cycle
            try:
                if self._connection.closed:
                    return None
                earliest = self._waits_for(cycle, cycle.now)
                if earliest is not None:
                    answer = to_datetime(earliest) if earliest < END_OF_TIME else None
                elif self._reader.is_live or not self._deferred.failing:
                    if cycle.asked and not cycle.is_over:
                        self._alarm.cycle_begins()  # get_due_jobs has not asked
                    cycle.asked = None
                    earliest = self._earliest(cycle)
                    answer = None if earliest is None else to_datetime(earliest)
            except Exception as error:
                self._logger.warning("Unable to reach the jobs, trying again later: %s", error)
            finally:
                if not cycle.jobs.in_loop:
                    cycle.end()
                    self._alarm.cycle_ends(timestamp(answer))
                self._deferred.lines.log(self._logger)
        return answer

    def _earliest(self, cycle: Cycle) -> float | None:
        """When the next job is due; what was deferred is written first, or is about to be."""
        self._reader.settle()
        if not cycle.in_loop:
            self._between_cycles()
        asked = Asked.now(self._connection)
        earliest = self._reader.next_run_time(cycle.now, self._quarantine.passed_over)
        if not cycle.in_loop and not cycle.is_over:
            cycle.asked = asked
        return earliest

    def _write(self, writes: dict[Any, Write], found: dict[Any, Seen | None], again: bool) -> None:
        flush(self._connection, self._quarantine, writes, found, again, self._logger)

    def _note_settled(self, ids: list[Any], found: dict[Any, Seen | None]) -> None:
        self._reader.acknowledged(ids, found)

    def _next_try(self) -> datetime:
        seconds = getattr(self._scheduler, "jobstore_retry_interval", 10)
        return datetime.now(timezone.utc) + timedelta(seconds=seconds)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} (client={self._connection.describe()})>"
