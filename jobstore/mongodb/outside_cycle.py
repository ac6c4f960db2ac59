"""The store's calls outside a cycle: each reads or writes the database immediately."""

from collections.abc import Callable, Iterable

from apscheduler.job import Job

from ..describe import JobInfo
from .inspection import Inspection
from .looking.describing import create_indexes, describe_all
from .trust.all_states import UnverifiedJob, sign
from .write_through import WriteThrough

__all__ = ["CallsOutsideCycle"]


class CallsOutsideCycle(Inspection):
    """The public methods that schedulers and users call outside a cycle."""

    _write_through: WriteThrough

    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job with that id, None if it isn't stored or can't be restored; 1 command.

        >>> store.lookup_job("report")
        <Job (id=report name=send)>

        :raises JobLookupError: if a scheduler looks the job up to change it, and it can't be
            restored here; says why.
        """
        return self._write_through.lookup_job(job_id)

    def add_job(self, job: Job) -> None:
        """Add a job; 1 command, 2 if its id is taken.

        Returns when as many nodes have the job as the write concern, ``w``, asks for.

        >>> store.add_job(job)

        :param job: the job, with its `next_run_time` set.
        :raises ConflictingIdError: if a job with that id is stored; says if it is in quarantine.
        :raises TransientJobError: if the job's function can't be imported by name.
        :raises pymongo.errors.DocumentTooLarge: names the job and its size, over 16 MiB.
        :raises OverflowError: if the run time is outside the years 1 to 9999 in UTC.
        """
        self._write_through.add_job(job)

    def get_all_jobs(self) -> list[Job]:
        """Return all jobs that can be restored, in order, paused ones last; O(n log n).

        Cycles go on meanwhile. A job that runs meanwhile has its state of before or after the run.
        No cycle begins while `scheduler.get_jobs` calls this method: APScheduler holds its lock.
        """
        return self._write_through.get_all_jobs()

    def remove_all_jobs(self) -> None:
        """Remove all jobs, with those in quarantine; O(n)."""
        self._write_through.remove_all_jobs()

    def __len__(self) -> int:
        """Count the jobs, with those in quarantine; 1 command, O(n) in the server."""
        return len(self._write_through)

    def add_jobs(self, jobs: Iterable[Job], replace_existing: bool = False) -> None:
        """Add k jobs; 1 command for each `batch_size` of them.

        All jobs of a list are pickled first, so a bad job changes nothing. An iterator is read in
        batches, in bounded memory: the batches before a bad job stay stored. After an error of the
        database, some jobs may be stored.

        >>> store.add_jobs([first, second])

        :param jobs: the jobs, each with its `next_run_time` set.
        :param replace_existing: replace a stored job that has the same id.
        :raises ConflictingIdsError: names the refused ids, after all other jobs were added, and
            says which of them are in quarantine, and why.
        :raises TransientJobsError: names all jobs of a list whose functions can't be imported by
            name; a single job raises a TransientJobError.
        """
        self._write_through.add_jobs(jobs, replace_existing)

    def update_jobs(self, jobs: Iterable[Job]) -> None:
        """Replace k stored jobs; 2 commands for each `batch_size` of them.

        Bad jobs and errors of the database have the same effects as in `add_jobs`.

        >>> store.update_jobs([first, second])

        :param jobs: the newer versions of stored jobs.
        :raises JobsLookupError: names the ids not found, after all other jobs were updated.
        """
        self._write_through.update_jobs(jobs)

    def remove_jobs(self, job_ids: Iterable[str]) -> None:
        """Remove k jobs; 2 commands for each `batch_size` of them.

        >>> store.remove_jobs(["first", "second"])

        :param job_ids: the ids of the jobs.
        :raises JobsLookupError: names the ids not found, after all other jobs were removed.
        """
        self._write_through.remove_jobs(job_ids)

    def create_indexes(self) -> None:
        """Create the indexes by which jobs are found by function, tag or executor; 1 command.

        The server takes a second or so for each 100,000 jobs, and writes go on meanwhile. Does
        nothing if the indexes exist. No other call creates them.

        >>> store.create_indexes()

        :raises pymongo.errors.PyMongoError: if the server can't be reached, or refuses them.
        """
        create_indexes(self._connection)

    def describe_all(
        self,
        after: JobInfo | str | None = None,
        progress: Callable[[int, str], object] | None = None,
    ) -> int:
        """Write the texts of the n jobs, where they are missing or stale; O(n).

        A collection needs it once after a stock store or an older version has written it, and again
        after stock stores have changed jobs. Returns the number of documents written. Takes 2
        commands for each 1,000 documents.

        The jobs' code isn't needed. Their tags stay, unless the store has the argument `tags`: then
        each job is restored, and asked for its tags. A job that can't be restored keeps them.

        Schedulers may run meanwhile. A job that another process changes just then is passed over.
        After an error, call again; what is written already is not written again.

        >>> store.describe_all()
        0

        :param after: begin after this job, in order of id: a job that `find` returned, or a key.
        :param progress: called after each batch with the number of documents looked at, and with
            the key of the last one, which may be given as `after`.
        :raises ValueError: if `after` is neither a job that `find` returned nor a key; if no query
            can name a document, whose `_id` is damaged.
        :raises TypeError: if `tags` returns something else than strings; names the job.
        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        return describe_all(self._connection, self._codec, self._scheduler, after, progress)

    def sign(self, jobs: Iterable[UnverifiedJob]) -> list[str]:
        """Sign the states of k jobs that `unverified` has listed, and return their ids; O(k).

        **The states may then run code here**: look at `func`, `args` and `names` of each job first.
        Exactly the listed states are signed: a job whose state has changed since then is left, and
        so is a document that is no job, or that the server refuses to write. Takes 2 commands for
        each 1,000 jobs, 1 more where jobs change meanwhile. A job in quarantine stays there until
        it is retried: see `restore_quarantined`.

        >>> store.sign(job for job in store.unverified() if job.info.func == "reports:send")
        ['report']

        :param jobs: the jobs to sign.
        :raises ValueError: if `signing_keys` is None, or returns a key that can't be used.
        :raises pymongo.errors.PyMongoError: if the server can't be reached. Some jobs may be
            signed. List the others, and call again.
        """
        return sign(self._connection, self._signatures("sign"), jobs)

    def restore_quarantined(self, job_ids: Iterable[str] | None = None) -> list[str]:
        """Retry the k jobs in quarantine, and return the ids of those that load again; O(k).

        `start` retries all. Every ten minutes, a thread of the store retries one job of each
        reason, and if it loads, all jobs with that reason. A store without threads does so in a
        cycle.

        >>> store.restore_quarantined()
        []

        :param job_ids: the ids of the jobs; None retries all that did not end their processes.
        """
        return self._write_through.restore_quarantined(job_ids)

    def release_held(self) -> int:
        """Release the k jobs that ``catch_up="hold"`` holds, with their old run times; O(k).

        Returns their number. The jobs are then overdue, and fire as usual. Takes 2 commands for
        each 1,000 jobs. One more finds jobs that a stock store has resumed, O(n) in the server.

        >>> store.release_held()
        0

        :raises pymongo.errors.PyMongoError: if the server can't be reached. Some jobs may be
            released. The next call goes on.
        """
        return self._write_through.release_held()

    def end_sharing(self) -> None:
        """Let schedulers without `shared` use the collection again; O(n).

        Call it only when all schedulers that share the jobs have stopped for good: otherwise jobs
        may run twice. The store need not be started.

        >>> store.end_sharing()
        """
        self._write_through.end_sharing()
