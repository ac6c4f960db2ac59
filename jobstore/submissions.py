"""Submissions: whether a job's executor took it, and when to try again if it did not.

An executor refuses a job if its pool is shut down or broken. APScheduler logs the error, and then
reschedules or removes the job as if it had run. A store that followed would lose the run. So the
store ignores these calls: the job stays due, and is handed out again later.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from apscheduler.events import JobEvent

__all__ = ["MAX_TRIES", "FailedSubmission", "FailedSubmissions", "Submissions", "retry_seconds"]

MAX_TRIES = 3  # before a job goes into quarantine
RETRY_SECONDS = 10.0  # APScheduler's default, for a scheduler that has no such interval
FORGET_SECONDS = 600.0  # after the time of a retry that never came: others have run the job


def retry_seconds(scheduler: object) -> float:
    """Return the scheduler's `jobstore_retry_interval`, in seconds."""
    return float(getattr(scheduler, "jobstore_retry_interval", RETRY_SECONDS))


class Submissions:
    """Tells of each job of one cycle whether its executor took it.

    :param events: the events that the cycle collects, from `caller.cycle_events`. None if there is
        no such list: then every job counts as taken.
    """

    __slots__ = ("_events", "_known")

    def __init__(self, events: Sequence[JobEvent] | None) -> None:
        self._events = events
        self._known = len(events or ())  # events of the cycle's earlier stores

    def took(self, job_id: str) -> bool:
        """Whether the executor took the job that was submitted last, which has this id.

        A job that has reached its maximum number of instances counts as taken.
        """
        events = self._events
        return events is None or (len(events) > self._known and events[-1].job_id == job_id)


class FailedSubmission(NamedTuple):
    """A job that its executor did not take.

    :ivar run_time: the run time that the job keeps, as the store represents it.
    :ivar retry_at: when to hand it out again, in seconds of the monotonic clock.
    :ivar tries: how many submissions in a row have failed.
    :ivar taken_before: the number of jobs taken when the first of these submissions failed.
    """

    run_time: object
    retry_at: float
    tries: int
    taken_before: int


class FailedSubmissions:
    """The jobs that their executors did not take, until an executor takes them.

    :ivar by_id: these jobs, by id.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, FailedSubmission] = {}
        self._taken = 0  # jobs taken while some are in `_failed`

    def __bool__(self) -> bool:
        return bool(self.by_id)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self.by_id

    def add(self, job_id: str, run_time: object, seconds: float) -> bool:
        """Note a failed submission; return whether it is the job's first one at that run time.

        :param seconds: how long to wait until the next try.
        """
        old = self.by_id.get(job_id)
        if old and old.run_time != run_time:
            old = None
        tries, taken = (old.tries, old.taken_before) if old else (0, self._taken)
        retry_at = time.monotonic() + seconds
        self.by_id[job_id] = FailedSubmission(run_time, retry_at, tries + 1, taken)
        return old is None

    def note_taken(self, job_id: str) -> None:
        """Note that an executor took a job."""
        self.by_id.pop(job_id, None)
        self._taken += 1

    def forget(self, job_id: str) -> None:
        """Try a job again at once, as it is about to be changed."""
        self.by_id.pop(job_id, None)

    def forget_all(self) -> None:
        """Try all jobs again at once."""
        self.by_id.clear()

    def is_hopeless(self, job_id: str, run_time: object) -> bool:
        """Whether `MAX_TRIES` submissions of a job failed, while executors took other jobs."""
        failed = self.by_id.get(job_id)
        return (
            failed is not None
            and failed.run_time == run_time
            and failed.tries >= MAX_TRIES
            and self._taken > failed.taken_before
        )

    def waiting(self) -> dict[str, FailedSubmission]:
        """Return the jobs that wait for their next try, by id."""
        now = time.monotonic()
        waiting = {}
        for job_id, failed in list(self.by_id.items()):  # a copy: several threads call this
            if failed.retry_at > now:
                waiting[job_id] = failed
            elif failed.retry_at + FORGET_SECONDS < now:
                self.by_id.pop(job_id, None)
        return waiting

    def next_retry(self) -> float | None:
        """Return the seconds until the first of these tries; None if no job waits."""
        retries = [failed.retry_at for failed in self.waiting().values()]
        return min(retries) - time.monotonic() if retries else None
