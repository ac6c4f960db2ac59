"""Write-through: the store's calls outside a cycle, from a scheduler or a user."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

from apscheduler.job import Job
from pymongo.errors import DuplicateKeyError, PyMongoError

from ..base import (
    ConflictingIdError,
    ConflictingIdsError,
    JobLookupError,
    JobsLookupError,
)
from ..caller import is_change, is_replacement
from . import queries, reasons
from .collector import collector_paused
from .documents import Document, DocumentId, Record, exact_str, sort_key
from .overdue import held
from .parts import Parts
from .sharing import marker
from .summary import logged_summary

__all__ = ["WriteThrough"]


class WriteThrough:
    """Reads and writes jobs immediately, and raises all errors of the database.

    Each call flushes first, but for reads from a live mirror.

    The methods have the names of the store's public methods, and are documented there.

    :param limit: the maximum number of jobs in one command.
    """

    def __init__(self, parts: Parts, limit: int) -> None:
        self._host, self._locks, self._cycles = parts.host, parts.locks, parts.cycles
        self._connection, self._quarantine = parts.connection, parts.quarantine
        self._write_behind, self._reader = parts.write_behind, parts.reader
        self._hand_out, self._wakeups, self._limit = parts.hand_out, parts.wakeups, limit
        self._restored_jobs, self._incidents = parts.restored_jobs, parts.incidents

    # One job

    def lookup_job(self, job_id: str) -> Job | None:
        """Return a job, None if it isn't stored or can't be restored here.

        :raises JobLookupError: if a scheduler looks up such a stored job to change it; says why.
        """
        job_id = exact_str(job_id)
        self._reader.include_deferred()
        document = self._reader.find(job_id)
        with logged_summary(self._host.logger) as lines:
            job = self._quarantine.read(document, self._host.restore, lines) if document else None
        if job is None and document and is_change() and not self._is_in_another_store(job_id):
            raise reasons.unusable_error(self._connection, document, self._host.restore)
        return job

    def _is_in_another_store(self, job_id: str) -> bool:
        """Whether another store of the scheduler has a job with that id."""
        stores = getattr(self._host.scheduler, "_jobstores", {}).values()
        return any(store is not self._host.store and store.lookup_job(job_id) for store in stores)

    def add_job(self, job: Job) -> None:
        """Insert a job."""
        with self._writing():
            document = self._host.codec.to_document(job)
            self._prepare_write(document["_id"])
            try:
                with self._connection.session() as session:
                    self._connection.jobs.insert_one(document, session=session)
            except DuplicateKeyError as error:
                if not queries.is_conflict(error.details or {}):
                    raise
                if is_replacement():  # the scheduler catches the error, and updates the job
                    raise ConflictingIdError(job.id) from None
                raise reasons.conflict_error(self._connection, document["_id"]) from None
            self._wrote("added", {document["_id"]: Record.of(document)})

    def update_job(self, job: Job) -> None:
        """Replace a stored job."""
        with self._writing():
            document = self._host.codec.to_document(job)
            self._prepare_write(document["_id"])
            with self._connection.session() as session:
                query, change = queries.replacement(document)
                result = self._connection.jobs.update_one(query, change, session=session)
            if not result.matched_count:
                raise JobLookupError(job.id)
            self._wrote("changed", {document["_id"]: Record.of(document)})

    def remove_job(self, job_id: str) -> None:
        """Remove a stored job."""
        with self._writing():
            self._prepare_write(job_id)
            with self._connection.session() as session:
                result = self._connection.jobs.delete_one(
                    queries.id_filter(job_id), session=session
                )
            if not result.deleted_count:
                raise JobLookupError(job_id)
            self._wrote("removed", {job_id: None})

    # All jobs

    def get_all_jobs(self) -> list[Job]:
        """Restore all jobs, and sort them by run time."""
        jobs: dict[str, Job] = {}  # a job that is removed and added meanwhile may be read twice
        self._reader.include_deferred()
        with logged_summary(self._host.logger) as lines:
            for batch in self._reader.all(jobs.clear):
                with collector_paused():
                    restored = [
                        self._quarantine.read(document, self._host.restore, lines)
                        for document in batch
                    ]
                    jobs |= {job.id: job for job in restored if job}
        return sorted(jobs.values(), key=sort_key)

    def remove_all_jobs(self) -> None:
        """Remove all documents."""
        with self._writing():
            self._write_behind.flush()
            queries.remove_all(self._connection)
            self._quarantine.forget_all()
            self._restored_jobs.forget_all()
            self._reader.cleared()
            self._incidents.add("removed", detail="all jobs")

    def __len__(self) -> int:
        """Count all documents."""
        self._reader.include_deferred()
        return self._reader.count()

    # Many jobs

    def add_jobs(self, jobs: Iterable[Job], replace_existing: bool = False) -> None:
        """Insert jobs, a batch in a command."""
        replaced: set[DocumentId] = set()

        def add(documents: list[Document]) -> list[str]:
            if not replace_existing:
                return queries.add(self._connection, documents)
            replaced.update(queries.put(self._connection, documents))
            return []

        refused = self._in_batches(
            "added", self._document_batches(jobs), add, Record.of, replaced=replaced
        )
        if refused:
            raise ConflictingIdsError(refused, reasons.quarantine_note(self._connection, refused))

    def update_jobs(self, jobs: Iterable[Job]) -> None:
        """Replace stored jobs, a batch in two commands."""
        refused = self._in_batches(
            "changed",
            self._document_batches(jobs),
            lambda documents: queries.update(self._connection, documents),
            Record.of,
        )
        if refused:
            raise JobsLookupError(refused)

    def remove_jobs(self, job_ids: Iterable[str]) -> None:
        """Remove jobs, a batch in two commands."""
        refused = self._in_batches(
            "removed",
            queries.batched(map(exact_str, job_ids), self._limit),
            lambda ids: queries.remove(self._connection, ids),
            lambda job_id: None,
            lambda job_id: job_id,
        )
        if refused:
            raise JobsLookupError(refused)

    def _document_batches(self, jobs: Iterable[Job]) -> Iterator[list[Document]]:
        return queries.document_batches(jobs, self._host.codec.to_document, self._limit)

    # Quarantine, and sharing

    def restore_quarantined(self, job_ids: Iterable[str] | None = None) -> list[str]:
        """Put jobs back whose documents load again."""
        with self._locks.io_lock:
            self._write_behind.flush()
        return self._quarantine.put_back(self._host.restore_runnable, job_ids)

    def release_held(self) -> int:
        """Give held jobs their run times back."""
        with self._locks.io_lock:
            self._write_behind.flush()
        released = 0
        for batch in held.batches(self._connection, self._host.codec):
            with self._writing():
                self._prepare_write(*(each.after.id for each in batch))
                records = held.release(self._connection, batch)
                self._wrote("changed", records)
            released += len(records)
            self._wakeups.notify(min((each.run_time for each in records.values()), default=None))
        held.remove_stale(self._connection)
        if released:
            self._host.logger.info("%s held jobs are released", f"{released:,}")
        return released

    def end_sharing(self) -> None:
        """Remove all claims, and the mark of a shared collection."""
        with self._locks.io_lock:
            self._write_behind.flush()
            marker.end(self._connection)

    # Steps of these calls

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold `io_lock`; after a database error, tell the reader that writes are in doubt."""
        with self._locks.io_lock:
            try:
                yield
            except PyMongoError:
                self._reader.in_doubt()
                raise

    def _prepare_write(self, *job_ids: DocumentId) -> None:
        """Flush, and tell cycles, quarantine and reader which documents will be written."""
        self._write_behind.flush()
        for job_id in job_ids:
            hash(job_id)  # raises the TypeError of an unhashable id before any removal
            self._cycles.note_rewrite(job_id)
            self._hand_out.forget(job_id)
            self._restored_jobs.forget(job_id)
            self._quarantine.forget(job_id)
            self._reader.about_to_write(job_id)

    def _in_batches(
        self,
        kind: str,
        items: Iterator[list[Any]],
        act: Callable[[list[Any]], list[str]],
        record_after: Callable[[Any], Record | None],
        id_of: Callable[[Any], Any] = itemgetter("_id"),
        replaced: Collection[DocumentId] = (),
    ) -> list[str]:
        refused: list[str] = []
        for batch in items:
            with self._writing():
                self._prepare_write(*map(id_of, batch))
                newly_refused = act(batch)
                if self._reader.needs_written_records or self._incidents.is_recording:
                    records = _records_after(batch, newly_refused, record_after, id_of)
                    self._wrote(kind, records, replaced)
            refused += newly_refused
        return refused

    def _wrote(
        self,
        kind: str,
        records: Mapping[DocumentId, Record | None],
        replaced: Collection[DocumentId] = (),
    ) -> None:
        self._reader.wrote(records)
        self._incidents.changed(kind, records, replaced)


def _records_after(
    batch: list[Any],
    refused: list[str],
    record_after: Callable[[Any], Record | None],
    id_of: Callable[[Any], Any],
) -> dict[DocumentId, Record | None]:
    """Return the records of a batch's documents after its write.

    If several items have the same id, the write refuses the last ones, and the last accepted item
    prevails.
    """
    refusals = Counter(refused)
    records: dict[DocumentId, Record | None] = {}
    for item in reversed(batch):
        job_id = id_of(item)
        if refusals[job_id]:
            refusals[job_id] -= 1
        else:
            records.setdefault(job_id, record_after(item))
    return records
