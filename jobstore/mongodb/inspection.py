"""The store's calls that only look: at jobs, at schedulers, at the history, and at the store."""

import warnings
from datetime import datetime

from pymongo import MongoClient
from pymongo.collection import Collection

from ..base import EVERY, BaseJobStore
from ..describe import JobInfo
from ..where import Where
from .codec import Codec
from .connection import Connection
from .counters import Counters
from .documents import Document
from .health.doctor import examine
from .health.finding import Finding
from .history.answer import Answer
from .history.evidence import read_evidence
from .history.reading import read_history
from .history.record import HistoryRecord
from .history.why import decide
from .lifecycle import Lifecycle
from .looking.counts import count
from .looking.pages import find, one
from .looking.statistics import Progress, Statistics, statistics
from .presence.scheduler import Scheduler, read_schedulers
from .status import Status
from .trust.all_states import UnverifiedJob, Verification, unverified, verify
from .trust.signatures import Signatures
from .writes.quarantine import Quarantine, QuarantinedJob

__all__ = ["Inspection"]


class Inspection(BaseJobStore):
    """The public methods that change nothing. Each reads the database, and takes no lock."""

    _codec: Codec
    _counters: Counters
    _connection: Connection
    _quarantine: Quarantine
    _lifecycle: Lifecycle

    @property
    def client(self) -> MongoClient[Document]:
        """The MongoDB client in use. Stores with equal arguments share it: don't close it."""
        return self._connection.client

    @property
    def collection(self) -> Collection[Document]:
        """The jobs' collection."""
        return self._connection.collection

    @property
    def connection(self) -> MongoClient[Document]:
        """The client; deprecated, use `client`."""
        warnings.warn(
            'The "connection" member is deprecated -- use "client" instead',
            DeprecationWarning,
            stacklevel=2,
        )
        return self.client

    def status(self) -> Status:
        """Report whether the store fires jobs, and how far its work is behind; no command.

        >>> store.status().pending
        0
        """
        return self._lifecycle.status()

    def statistics(self, progress: Progress | None = None) -> Statistics:
        """Count the n jobs by state, function and executor, and their next runs by minute; O(n).

        The server counts, and no lock is held; the counts are not those of one moment. The texts in
        the documents' field `about` are counted as they are, also if a stock store has changed the
        job since. Without that field, the job's state is read here.

        >>> store.statistics().states["overdue"]
        0

        :param progress: called with the number of states read so far, and that of all to read.
        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        return statistics(self._connection, progress)

    def find(
        self, where: Where = EVERY, after: JobInfo | str | None = None, limit: int = 50
    ) -> list[JobInfo]:
        """Return a page of jobs, in the order that `Where` names; 1 to 4 commands.

        Takes O(log n + k) for k jobs by run time or id, and so by function, tag or executor after
        `create_indexes`. By other conditions the server walks over the jobs, in order, until it has
        found enough.

        The database is read directly, with no lock, also by a store that is mirrored or was never
        started; the right to read is enough. The last cycle's writes may still be under way.

        >>> page = store.find(Where(func="reports:send"))
        >>> next_page = store.find(Where(func="reports:send"), after=page[-1])

        :param where: which jobs; all of them by default.
        :param after: the last job of the page before, or its `key`.
        :param limit: the most jobs to return, 1 or more.
        :raises ValueError: if `limit` is no whole number from 1 on, or `after` neither a job that
            `find` returned nor its key.
        :raises pymongo.errors.PyMongoError: if the server can't be reached, or needs more than 5 s
            for a command.
        """
        return find(self._connection, where, after, limit)

    def count(self, where: Where = EVERY) -> int:
        """Count the jobs that `find` pages over; O(n), in the server.

        By function, name, executor or trigger, all documents that the server finds are read. The
        database is read as in `find`.

        >>> store.count(Where(paused=True))
        12

        :param where: which jobs; all of them by default.
        :raises pymongo.errors.PyMongoError: if the server can't be reached, or needs more than 5 s
            for a command.
        """
        return count(self._connection, where)

    def describe(self, job_id: str) -> JobInfo | None:
        """Describe the job with that id, None if it isn't stored; 1 command.

        The job's code isn't needed. The database is read as in `find`.

        >>> store.describe("report").func
        'reports:send'

        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        return one(self._connection, job_id)

    def schedulers(self) -> list[Scheduler]:
        """List the k schedulers that use the collection, also those that ended uncleanly; O(k).

        The store need not be started. 1 command.

        >>> [scheduler.name for scheduler in store.schedulers() if scheduler.alive]
        ['web-1:4711']

        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        return read_schedulers(self._connection)

    def doctor(self) -> list[Finding]:
        """Look at everything that a supporter would ask for; about 15 commands, which only read.

        The doctor looks at the server, the user's rights, the collection and its schedulers. Each
        finding that is not well says what to do. The store need not be started. Without a right,
        or in an outage, a finding says so: no error of the database is raised.

        >>> [finding.advice for finding in store.doctor() if finding.level != "well"]
        ['Set the clocks of all machines by NTP']
        """
        return examine(self._connection)

    def history(
        self, job_id: str | None = None, since: datetime | None = None, limit: int = 1000
    ) -> list[HistoryRecord]:
        """Return the latest records of a job's runs and incidents, the oldest first; 1 command.

        There are records only of the time in which schedulers had the argument `history`.

        >>> [record.kind for record in store.history("report")]
        ['executed', 'missed']

        :param job_id: the job's id; None for the incidents that concern no single job.
        :param since: the time of the earliest record; a naive one is UTC. None for all that are
            kept.
        :param limit: the most records to return, 1 or more.
        :raises TypeError: if `since` is neither a `datetime` nor None.
        :raises ValueError: if `limit` is no whole number from 1 on.
        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        return read_history(self._connection, job_id, since, limit)

    def why(self, job_id: str, at: datetime | None = None) -> Answer:
        """Say why a job ran, or did not run, at a time; about 10 commands.

        The answer draws on the history, on the job's document, and on the schedulers' presence. The
        fire times of the trigger are computed without the job's code. The database is read as in
        `find`. A job with n records after that time takes O(n) in the server.

        >>> store.why("report", datetime(2026, 11, 29, 12, 0, tzinfo=timezone.utc)).kind
        'paused'

        :param at: the time; the nearest run is meant that is less than a minute away. A naive time
            is UTC. None means the last run that is over.
        :raises TypeError: if `job_id` is None, or `at` is neither a `datetime` nor None.
        :raises pymongo.errors.PyMongoError: if the server can't be reached, or needs more than 5 s
            for a command.
        """
        return decide(read_evidence(self._connection, job_id, at))

    def verify(self, progress: Progress | None = None) -> Verification:
        """Count the n jobs by their signatures, those in quarantine, too; O(n).

        Takes 1 command for each 1,000 jobs, and keeps one page of them in memory. Nothing is
        unpickled. The database is read as in `find`, and jobs may change meanwhile: the counts are
        not those of one moment.

        >>> store.verify().unsigned
        0

        :param progress: called with the number of jobs read so far, and that of all to read.
        :raises ValueError: if `signing_keys` is None, or returns a key that can't be used; if no
            query can name a document, whose `_id` is damaged.
        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        return verify(self._connection, self._signatures("verify"), progress)

    def unverified(
        self, after: UnverifiedJob | JobInfo | str | None = None, limit: int = 1000
    ) -> list[UnverifiedJob]:
        """Return a page of the jobs without a valid signature, in order of id; O(n).

        Nothing of a state is imported, called or unpickled. The list shows the function of each
        job, and all classes and functions that its state names. The database is read as in `find`.

        >>> page = store.unverified(limit=100)
        >>> next_page = store.unverified(after=page[-1], limit=100)

        :param after: the last job of the page before, or its `key`.
        :param limit: the most jobs to return, 1 or more.
        :raises ValueError: if `limit` or `after` can't be used, as in `find`; if `signing_keys` is
            None, or returns a key that can't be used; if no query can name a document, whose `_id`
            is damaged.
        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        return unverified(self._connection, self._signatures("unverified"), after, limit)

    def _signatures(self, call: str) -> Signatures:
        if self._codec.signatures is None:
            raise ValueError(f"signing_keys is None: {call} needs the keys of the schedulers")
        return self._codec.signatures

    def quarantined(self) -> list[QuarantinedJob]:
        """List the k jobs in quarantine, which no process runs; O(k).

        A job comes here if it could not be restored or run when it was due.

        >>> store.quarantined()
        []
        """
        return self._quarantine.list_all()
