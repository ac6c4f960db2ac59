"""What is asked and written outside a scheduler's cycle: at once, with its errors raised."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from operator import itemgetter
from typing import Any

from apscheduler.job import Job
from pymongo.errors import DuplicateKeyError, PyMongoError

from ..base import (
    BaseJobStore,
    ConflictingIdError,
    ConflictingIdsError,
    JobLookupError,
    JobsLookupError,
)
from ..caller import is_change, is_replacement
from . import batches, reasons, sharing
from .collector import collector_paused
from .connection import Connection
from .cycle import Cycle
from .deferred import Deferred
from .documents import Document, Seen, order, plain, restore_runnable, to_document
from .quarantine import Quarantine, QuarantinedJob
from .readers import Reader
from .summary import Summary, summed

__all__ = ["WrittenThrough"]


class WrittenThrough(BaseJobStore):
    """The part of a store that scheduler and user call at any time; what is deferred goes first."""

    _connection: Connection
    _quarantine: Quarantine
    _deferred: Deferred
    _reader: Reader
    _cycles: dict[int, Cycle]
    _batch_size: int
    pickle_protocol: int

    def _turn(self) -> AbstractContextManager[object]:
        """Return the lock for a call of a cycle; none where the answers come from memory."""
        return nullcontext() if self._reader.is_live else self._lock

    @property
    def _lock(self) -> "threading.RLock":
        return self._deferred.lock

    # One job

    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job of that id; None if there is none, or it can't be restored; 1 command.

        :raises JobLookupError: where a scheduler is to change the job, and it can't be restored
            here; the error says why.
        """
        job_id = plain(job_id)

        self._reader.settle()
        document = self._reader.find(job_id)
        with summed(self._logger) as lines:
            job = self._readable(document, lines) if document else None
        if job is None and document and is_change() and not self._is_elsewhere(job_id):
            raise reasons.unusable(self._connection, document, self._scheduler, self._alias)
        return job

    def _is_elsewhere(self, job_id: str) -> bool:
        """Whether another store of the scheduler has a job of that id."""
        others = getattr(self._scheduler, "_jobstores", {}).values()
        return any(store is not self and store.lookup_job(job_id) for store in others)

    def add_job(self, job: Job) -> None:
        """Add a job; 1 command, 2 if its id is taken.

        :raises ConflictingIdError: if a job of that id is stored; if in quarantine, it says why.
        :raises TransientJobError: if the job's function can't be imported by name.
        :raises pymongo.errors.DocumentTooLarge: naming the job and its size, over 16 MiB.
        """
        with self._writing():
            document = to_document(job, self.pickle_protocol)
            self._about_to_write(document["_id"])
            try:
                with self._connection.session() as session:
                    self._connection.jobs.insert_one(document, session=session)
            except DuplicateKeyError as error:
                if not batches.is_conflict(error.details or {}):
                    raise
                if is_replacement():  # the scheduler goes on, whatever the error says
                    raise ConflictingIdError(job.id) from None
                raise reasons.conflict(self._connection, document["_id"]) from None
            self._wrote({document["_id"]: Seen.of(document)})

    def _replace_job(self, job: Job) -> None:
        with self._writing():
            document = to_document(job, self.pickle_protocol)
            self._about_to_write(document["_id"])
            with self._connection.session() as session:
                query, change = batches.change(document)
                result = self._connection.jobs.update_one(query, change, session=session)
            if not result.matched_count:
                raise JobLookupError(job.id)
            self._wrote({document["_id"]: Seen.of(document)})

    def _delete_job(self, job_id: str) -> None:
        with self._writing():
            self._about_to_write(job_id)
            with self._connection.session() as session:
                result = self._connection.jobs.delete_one(batches.named(job_id), session=session)
            if not result.deleted_count:
                raise JobLookupError(job_id)
            self._wrote({job_id: None})

    # All jobs

    def get_all_jobs(self) -> list[Job]:
        """Return all jobs that can be restored, in order, paused ones last; O(n log n).

        Cycles go on meanwhile; so a job that runs now is as it was before, or as it is after. No
        cycle begins while `scheduler.get_jobs` calls this: APScheduler holds its lock.
        """
        jobs: dict[str, Job] = {}  # a job removed and added meanwhile may be read twice

        self._reader.settle()
        with summed(self._logger) as lines:
            for found in self._reader.all(jobs.clear):
                with collector_paused():
                    made = [self._readable(document, lines) for document in found]
                    jobs |= {job.id: job for job in made if job}
        return sorted(jobs.values(), key=order)

    def remove_all_jobs(self) -> None:
        """Remove all jobs, those in quarantine as well; O(n)."""
        with self._writing():
            self._deferred.flush()
            batches.remove_all(self._connection)
            self._quarantine.forget_all()
            self._reader.cleared()

    def __len__(self) -> int:
        """Count the jobs, those in quarantine as well; O(n) in the server, 1 command."""

        self._reader.settle()
        return self._reader.count()

    # Many jobs

    def add_jobs(self, jobs: Iterable[Job], replace_existing: bool = False) -> None:
        """Add k jobs; 1 command for each `batch_size` of them.

        Of a list all jobs are pickled first, so a bad one changes nothing. An iterator is read
        in batches, in bounded memory: if a job is bad, the batches before it are stored. A
        database error leaves stored what was.

        >>> store.add_jobs([first, second])

        :param jobs: the jobs, each with its `next_run_time` set.
        :param replace_existing: replace a job that has the same id.
        :raises ConflictingIdsError: naming the ids refused, after all others were added, and of
            those in quarantine why they are there.
        :raises TransientJobsError: naming all jobs of a list whose functions can't be imported by
            name; a single one is a TransientJobError.
        """
        refused = self._in_batches(
            batches.of_documents(jobs, self.pickle_protocol, self._batch_size),
            lambda documents: batches.add(self._connection, documents, replace_existing),
            Seen.of,
        )
        if refused:
            raise ConflictingIdsError(refused, reasons.noted(self._connection, refused))

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
            Seen.of,
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
            batches.of(map(plain, job_ids), self._batch_size),
            lambda ids: batches.remove(self._connection, ids),
            lambda job_id: None,
            lambda job_id: job_id,
        )
        if refused:
            raise JobsLookupError(refused)

    # Quarantine, and sharing

    def quarantined(self) -> list[QuarantinedJob]:
        """List what is kept and not run, as it can't be run by the process that it was due in.

        >>> store.quarantined()
        []
        """
        return self._quarantine.listed()

    def restore_quarantined(self, job_ids: Iterable[str] | None = None) -> list[str]:
        """Try jobs in quarantine again, and return the ids of those that are back.

        `start` does so too. Every ten minutes a thread of the store tries one job of each reason,
        and if that is back, the others of its reason. A cycle does that where there is no thread.

        >>> store.restore_quarantined()
        []

        :param job_ids: which ones; all if None, but for those that ended their processes.
        """
        with self._lock:
            self._deferred.flush()
        return self._quarantine.put_back(self._runnable, job_ids)

    def end_sharing(self) -> None:
        """Let schedulers run the jobs again that are not told to share them; O(n).

        Only when all that share them have stopped, for good: else jobs run twice. Works on a
        store that isn't started.

        >>> store.end_sharing()
        """
        with self._lock:
            self._deferred.flush()
            sharing.end(self._connection)

    # How it is done

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Take the lock; after an error of the database it isn't known what was written."""
        with self._lock:
            try:
                yield
            except PyMongoError:
                self._reader.in_doubt()
                raise

    def _about_to_write(self, *job_ids: Any) -> None:
        """Flush, and note whose documents are written otherwise than by the cycle."""
        self._deferred.flush()
        cycles = list(self._cycles.values())
        for job_id in job_ids:
            hash(job_id)  # an id that has none is a TypeError now, and not after the first removal
            for cycle in cycles:
                cycle.rewrite(job_id)
            self._quarantine.forget(job_id)
            self._reader.rewritten(job_id)

    def _in_batches(
        self,
        items: Iterator[list[Any]],
        act: Callable[[list[Any]], list[str]],
        after: Callable[[Any], Seen | None],
        id_of: Callable[[Any], Any] = itemgetter("_id"),
    ) -> list[str]:
        refused: list[str] = []
        for batch in items:
            with self._writing():
                self._about_to_write(*map(id_of, batch))
                more = act(batch)
                if self._reader.notes_writes:
                    self._wrote(_done(batch, more, after, id_of))
            refused += more
        return refused

    def _wrote(self, records: Mapping[Any, Seen | None]) -> None:
        self._reader.wrote(records)

    def _runnable(self, seen: Seen) -> Job:
        return restore_runnable(seen, self._scheduler, self._alias)

    def _readable(self, document: Document, lines: Summary) -> Job | None:
        return self._quarantine.read(document, self._scheduler, self._alias, lines)


def _done(
    batch: list[Any],
    refused: list[str],
    after: Callable[[Any], Seen | None],
    id_of: Callable[[Any], Any],
) -> dict[Any, Seen | None]:
    """Say what the documents are after a batch.

    Of several items of an id the later ones are refused, of those not refused the last counts.
    """
    left = Counter(refused)
    done: dict[Any, Seen | None] = {}
    for item in reversed(batch):
        job_id = id_of(item)
        if left[job_id]:
            left[job_id] -= 1
        else:
            done.setdefault(job_id, after(item))
    return done
