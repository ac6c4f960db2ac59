"""The MongoDB store: a scheduler's cycle is two reads and one write."""

import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from operator import itemgetter
from typing import Any

from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from ..base import (
    BaseJobStore,
    ConflictingIdError,
    ConflictingIdsError,
    JobLookupError,
    JobsLookupError,
)
from . import batches
from .connection import START_SECONDS, Connection, Document
from .cycle import Cycle
from .deferred import Deferred
from .documents import (
    FIELDS,
    Seen,
    UnreadableError,
    order,
    restore_runnable,
    timestamp,
    to_datetime,
    to_document,
)
from .flush import flush
from .quarantine import Quarantine, QuarantinedJob
from .sources import Queried, Source
from .statements import Write

__all__ = ["MongoDBJobStore"]


class MongoDBJobStore(BaseJobStore):
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
        **connect_args: Any,
    ) -> None:
        super().__init__()
        for name, value in (("database", database), ("collection", collection)):
            if not value:
                raise ValueError(f'The "{name}" parameter must not be empty')
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size is {batch_size!r}: it must be a whole number from 1 on")
        if unreadable not in ("quarantine", "remove"):
            raise ValueError(f'unreadable is {unreadable!r}: it must be "quarantine" or "remove"')
        self.pickle_protocol = pickle_protocol
        self._batch_size = batch_size
        self._connection = Connection(database, collection, client, connect_args)
        self._source: Source = Queried(self._connection)
        self._quarantine = Quarantine(self._connection, unreadable == "remove")
        self._deferred = Deferred(self._write, batch_size)
        self._cycle = Cycle(datetime.now(timezone.utc), ())

    @property
    def _lock(self) -> AbstractContextManager[object]:
        return self._deferred.lock

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
        """Create the indexes that are missing, and try what is in quarantine again.

        :raises pymongo.errors.PyMongoError: if the server can't be reached within 30 s.
        """
        super().start(scheduler, alias)
        self._quarantine.logger = self._deferred.logger = self._logger
        with self._lock:
            self._connection.open()
            self._connection.create_indexes(self._logger)
            self._quarantine.sweep()
            self._quarantine.put_back(self._runnable)

    # One cycle, in the order of its calls

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Hand out the first k jobs that are due, at most `batch_size`; 1 command.

        What an earlier flush left behind is written first.

        :raises pymongo.errors.PyMongoError: if the server can't be reached; nothing is lost.
        """
        with self._lock:
            if self._connection.closed:  # the scheduler's thread may come once more
                return []
            self._deferred.flush()
            nested = self._cycle.nested
            if not nested:
                self._quarantine.put_back_in_time(self._runnable)
            moment = timestamp(now)
            assert moment is not None
            good, bad = [], []
            limit = self._batch_size + len(self._quarantine.unmarked)
            for seen in self._source.due(moment, limit):
                try:
                    good.append((self._runnable(seen), seen))
                except UnreadableError as reason:
                    bad.append((seen, reason))
            if bad:
                self._quarantine.take(bad)
            good.sort(key=lambda pair: (pair[1].run_time, pair[1].id))
            cycle = Cycle(now, good[: self._batch_size])
            if not nested:
                self._cycle = cycle
            return cycle.jobs

    def update_job(self, job: Job) -> None:
        """Replace a stored job; deferred in a cycle for a job handed out, else 1 command.

        :raises JobLookupError: if no job of that id is stored.
        :raises TransientJobError: if the job's function can't be imported by name.
        :raises pymongo.errors.DocumentTooLarge: naming the job and its size, over 16 MiB.
        """
        with self._lock:
            if self._cycle.is_of(job):
                self._deferred.add(self._cycle.advance(job, self.pickle_protocol, self._logger))
                return
            document = to_document(job, self.pickle_protocol)
            self._about_to_write(job.id)
            with self._connection.limit():
                query, change = batches.change(document)
                result = self._connection.jobs.update_one(query, change)
            if not result.matched_count:
                raise JobLookupError(job.id)

    def remove_job(self, job_id: str) -> None:
        """Remove a job; deferred in a cycle for a job handed out, else 1 command.

        :raises JobLookupError: if no job of that id is stored.
        """
        with self._lock:
            if self._cycle.takes_removal(job_id):
                self._deferred.add(self._cycle.remove(job_id))
                return
            self._about_to_write(job_id)
            with self._connection.limit():
                result = self._connection.jobs.delete_one(batches.named(job_id))
            if not result.deleted_count:
                raise JobLookupError(job_id)

    def get_next_run_time(self) -> datetime | None:
        """Write what the cycle deferred, and return the earliest run time; 1 to 3 commands.

        If the server can't be reached, it is the time of the next try instead.
        """
        with self._lock:
            try:
                if self._connection.closed:
                    return None
                if not self._deferred.failing:
                    self._deferred.flush()
                    earliest = self._source.next_run_time(self._quarantine.passed_over)
                    return None if earliest is None else to_datetime(earliest)
            except Exception as error:
                self._logger.warning("Unable to reach the jobs, trying again later: %s", error)
            finally:
                self._cycle.end()
            seconds = getattr(self._scheduler, "jobstore_retry_interval", 10)
            return datetime.now(timezone.utc) + timedelta(seconds=seconds)

    def _write(self, writes: dict[Any, Write]) -> None:
        flush(self._connection, self._quarantine, writes, self._logger)

    # Single jobs and reads, at any time: what is deferred is written first

    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job of that id; None if there is none, or it can't be restored; 1 command."""
        with self._lock:
            self._deferred.flush()
            with self._connection.limit():
                document = self._connection.jobs.find_one(batches.named(job_id), FIELDS)
            return self._readable(document) if document else None

    def get_all_jobs(self) -> list[Job]:
        """Return all jobs that can be restored, in order, paused ones last; O(n log n)."""
        with self._lock:
            self._deferred.flush()
            found = self._connection.read(self._connection.jobs.find({}, FIELDS), START_SECONDS)
            jobs = [job for document in found if (job := self._readable(document))]
        return sorted(jobs, key=order)

    def add_job(self, job: Job) -> None:
        """Add a job; 1 command.

        :raises ConflictingIdError: if a job of that id is stored, in quarantine or not.
        :raises TransientJobError: if the job's function can't be imported by name.
        :raises pymongo.errors.DocumentTooLarge: naming the job and its size, over 16 MiB.
        """
        with self._lock:
            document = to_document(job, self.pickle_protocol)
            self._about_to_write(job.id)
            try:
                with self._connection.limit():
                    self._connection.jobs.insert_one(document)
            except DuplicateKeyError as error:
                if not batches.is_conflict(error.details or {}):
                    raise
                raise ConflictingIdError(job.id) from None

    def remove_all_jobs(self) -> None:
        """Remove all jobs, those in quarantine as well; O(n)."""
        with self._lock:
            self._deferred.flush()
            batches.remove_all(self._connection)
            self._quarantine.forget_all()

    # Many jobs

    def add_jobs(self, jobs: Iterable[Job], replace_existing: bool = False) -> None:
        """Add k jobs; 1 command for each `batch_size` of them.

        Of a list all jobs are pickled first, so a bad one changes nothing. An iterator is read
        in batches, in bounded memory: if a job is bad, the batches before it are stored. A
        database error leaves stored what was.

        >>> store.add_jobs([first, second])

        :param jobs: the jobs, each with its `next_run_time` set.
        :param replace_existing: replace a job that has the same id.
        :raises ConflictingIdsError: naming the ids refused, after all others were added.
        """
        refused = self._in_batches(
            batches.of_documents(jobs, self.pickle_protocol, self._batch_size),
            lambda documents: batches.add(self._connection, documents, replace_existing),
        )
        if refused:
            raise ConflictingIdsError(refused)

    def update_jobs(self, jobs: Iterable[Job]) -> None:
        """Replace k stored jobs; 2 commands for each `batch_size` of them.

        Bad jobs are dealt with as by `add_jobs`.

        >>> store.update_jobs([first, second])

        :param jobs: the newer versions of stored jobs.
        :raises JobsLookupError: naming the ids not found, after all others were updated.
        """
        refused = self._in_batches(
            batches.of_documents(jobs, self.pickle_protocol, self._batch_size),
            lambda documents: batches.update(self._connection, documents),
        )
        if refused:
            raise JobsLookupError(refused)

    def remove_jobs(self, job_ids: Iterable[str]) -> None:
        """Remove k jobs; 2 commands for each `batch_size` of them.

        >>> store.remove_jobs(["first", "second"])

        :param job_ids: ids of jobs.
        :raises JobsLookupError: naming the ids not found, after all others were removed.
        """
        refused = self._in_batches(
            batches.of(job_ids, self._batch_size),
            lambda ids: batches.remove(self._connection, ids),
            lambda job_id: job_id,
        )
        if refused:
            raise JobsLookupError(refused)

    def _about_to_write(self, *job_ids: Any) -> None:
        """Flush, and note whose documents are written otherwise than by the cycle."""
        self._deferred.flush()
        for job_id in job_ids:
            self._cycle.rewrite(job_id)
            self._quarantine.forget(job_id)

    def _in_batches(
        self,
        items: Iterator[list[Any]],
        act: Callable[[list[Any]], list[str]],
        id_of: Callable[[Any], Any] = itemgetter("_id"),
    ) -> list[str]:
        refused: list[str] = []
        for batch in items:
            with self._lock:
                self._about_to_write(*map(id_of, batch))
                refused += act(batch)
        return refused

    def __len__(self) -> int:
        """Count the jobs, those in quarantine as well; O(n) in the server, 1 command."""
        with self._lock:
            self._deferred.flush()
            with self._connection.limit(START_SECONDS):
                return self._connection.jobs.count_documents({})

    # Quarantine

    def quarantined(self) -> list[QuarantinedJob]:
        """List what is kept and not run, as it can't be run by the process that it was due in.

        >>> store.quarantined()
        []
        """
        with self._lock:
            return list(self._quarantine.listed())

    def restore_quarantined(self, job_ids: Iterable[str] | None = None) -> list[str]:
        """Try jobs in quarantine again, and return the ids of those that are back.

        `start` does so too, and the cycle every ten minutes.

        >>> store.restore_quarantined()
        []

        :param job_ids: which ones; all if None.
        """
        with self._lock:
            self._deferred.flush()
            return self._quarantine.put_back(self._runnable, job_ids)

    # The end

    def shutdown(self) -> None:
        """Write what is deferred, and close the client, if it is the store's own; never raises.

        Jobs of the cycle that are not yet through stay due. `start` may follow.
        """
        with self._lock:
            self._deferred.flush_if_possible()
            if self._deferred.writes:
                self._logger.error("%d jobs run again after this", len(self._deferred.writes))
            self._deferred.forget()
            self._cycle.shut_down = True
            self._connection.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} (client={self._connection.describe()})>"

    def _runnable(self, seen: Seen) -> Job:
        return restore_runnable(seen, self._scheduler, self._alias)

    def _readable(self, document: Document) -> Job | None:
        return self._quarantine.read(document, self._scheduler, self._alias)
