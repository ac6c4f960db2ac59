"""A scheduler's cycle: the jobs handed out, and the writes that follow from their runs."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone

from apscheduler.events import JobEvent
from apscheduler.job import Job

from ...submissions import Submissions
from ..cached import LastQuery
from ..codec import Codec
from ..documents import INTERRUPTS, Record, timestamp
from ..restored import Restored, RestoredJobs
from ..sharing.lease import Lease
from ..summary import Line, Summary
from ..trust.signatures import TRUSTED
from ..trust.untrusted import UntrustedError
from .guarded import GuardedWrite

__all__ = ["Cycle", "Cycles", "DueJobs"]

KEEPS_STATE = Line(
    logging.ERROR,
    'Job "%s" keeps its old state, not its new one: %s',
    "%s jobs (%s) keep their old states, not their new ones: %s",
)


class DueJobs(list[Job]):
    """The jobs of one cycle, in a list that knows when the scheduler iterates over it.

    :ivar in_loop: whether the scheduler is iterating now.
    :ivar lease: the lease on the jobs, if many schedulers share the collection. The iteration
        skips a job whose lease is no longer held.
    :ivar fence: tells whether the jobs may still be fired, if only one of many schedulers may. The
        iteration skips those that may not.
    """

    in_loop = False
    lease: Lease | None = None
    fence: Callable[[], bool] | None = None

    def __iter__(self) -> Iterator[Job]:
        self.in_loop = True
        try:
            if self.lease is not None:
                yield from (job for job in super().__iter__() if self.lease.holds(job.id))
            elif self.fence is not None:
                yield from (job for job in super().__iter__() if self.fence())
            else:
                yield from super().__iter__()
        finally:
            self.in_loop = False


class Cycle:
    """One pass of a scheduler, from `get_due_jobs` to `get_next_run_time`.

    Each thread that makes these calls has a cycle of its own.

    :param now: the time that the scheduler passed to `get_due_jobs`.
    :param handed_out: the jobs handed out, each with its record.
    :param lease: the lease on these jobs, and perhaps on more. `release` gives back the jobs
        that were not fired.
    :param events: the events of the scheduler's cycle, if one calls.
    :param is_limited: whether more jobs may be due than their executors have room for.
    :param looks_further: whether the search ended among jobs of full executors, so that due jobs of
        other executors may come behind them.
    :param began_at: when the time was `now`, in seconds of the monotonic clock; None if just now.
    :ivar submissions: tells of each job whether its executor took it.
    """

    def __init__(
        self,
        now: datetime,
        handed_out: Iterable[Restored],
        lease: Lease | None = None,
        events: list[JobEvent] | None = None,
        is_limited: bool = False,
        looks_further: bool = False,
        began_at: float | None = None,
    ) -> None:
        self._now = now
        self._began_at = time.monotonic() if began_at is None else began_at
        self._handed_out = {each.job.id: each for each in handed_out}
        self._rewritten: set[str] = set()  # ids of documents that a call outside the cycle wrote
        self._removed: set[str] = set()
        self.jobs = DueJobs(each.job for each in self._handed_out.values())
        self.jobs.lease = self._lease = lease
        self._nested_leases: list[Lease] = []
        self.shut_down = False  # in mid-cycle: later runs are not written
        self.is_over = False
        self.is_limited = is_limited
        self.looks_further = looks_further
        self.submissions = Submissions(events)
        self.last_query: LastQuery | None = None  # for the earliest run time

    @property
    def now(self) -> float:
        """The time by the scheduler's clock, in seconds since the epoch."""
        return timestamp(self._now) + time.monotonic() - self._began_at

    @property
    def is_nested_call(self) -> bool:
        """Whether the present call comes from a synchronous job, while the scheduler iterates."""
        return self.jobs.in_loop and not self.shut_down

    def nest(self, cycle: "Cycle") -> None:
        """Take over the lease of a cycle that a synchronous job began within this one."""
        if cycle._lease:
            self._nested_leases.append(cycle._lease)

    def handed_out(self, job_id: str) -> Restored:
        """Return a job handed out, with its record."""
        return self._handed_out[job_id]

    def has_handed_out(self, job: Job) -> bool:
        """Whether the scheduler iterates, and this is the very object that it was handed."""
        if not self.jobs.in_loop:
            return False
        handed_out = self._handed_out.get(job.id)
        return handed_out is not None and handed_out.job is job

    def defers_removal(self, job_id: str, by_scheduler: bool) -> bool:
        """Whether a removal concerns a job as it was handed out, and so is deferred.

        A synchronous job may have rewritten its own document in this cycle. After that, only the
        scheduler's removal concerns the job handed out; any other removal is written at once.

        :param by_scheduler: whether the call comes from the scheduler's own loop.
        """
        if not self.jobs.in_loop or job_id not in self._handed_out:
            return False
        return by_scheduler or job_id not in self._rewritten

    def advance(
        self, job: Job, restored_jobs: RestoredJobs, codec: Codec, lines: Summary
    ) -> GuardedWrite | None:
        """Return the write of a job's new state; None if the job was removed, or after a shutdown.

        If the new state can't be pickled, the write keeps the state that was read, with the new
        run time. Only `KeyboardInterrupt` and `SystemExit` are raised.

        :param restored_jobs: keeps the job, if only its run time has changed.
        :param codec: pickles and signs the state.
        :param lines: collects a log line for a state that can't be pickled.
        """
        job_id = job.id
        if self._ignores(job_id):
            return None
        if self._lease:
            self._lease.mark_fired(job_id)
        restored = self._handed_out[job_id]
        record = restored.record
        try:
            run_time = timestamp(job.next_run_time)
        except OverflowError:
            run_time = None  # beyond the year 9999: the job never runs again
        is_unchanged = restored.is_unchanged()
        state = restored.advanced_state(codec.protocol) if is_unchanged else None
        if state is None:
            try:
                state = codec.dump(job)
            except INTERRUPTS:
                raise
            except BaseException as error:
                lines.add(KEEPS_STATE, job_id, error)
                state = _old_state(codec, record, run_time)
        fields = record, run_time, state, None, self._lease, None, False, codec.trusted
        write = tuple.__new__(GuardedWrite, fields)  # see `Record.of`
        written = write.after or record
        if is_unchanged:
            restored = restored.after_write(written)
            restored_jobs.keep(restored)
        else:
            restored = Restored(job, written, None, None)  # pickled from now on
            if codec.trusted:
                restored_jobs.trust(written)
        self._handed_out[job_id] = restored
        return write

    def remove(self, job_id: str) -> GuardedWrite | None:
        """Return the write that removes a job handed out; None if it was removed before.

        Returns None after a shutdown, too. Later calls of `advance` in this cycle can't bring the
        job back.
        """
        if self._ignores(job_id):
            return None
        self._removed.add(job_id)
        if self._lease:
            self._lease.mark_fired(job_id)
        return GuardedWrite(self._handed_out[job_id].record, None, None, lease=self._lease)

    def note_rewrite(self, job_id: str) -> None:
        """Note that a call outside the cycle is about to write a job's document."""
        if job_id in self._handed_out:
            self._rewritten.add(job_id)
        if self._lease:
            self._lease.revoke(job_id)

    def release(self) -> None:
        """Release the leased jobs that were not fired; 1 command for each lease that has any."""
        leases = [*self._nested_leases, *filter(None, [self._lease])]
        self._nested_leases = []
        for lease in leases:
            lease.release()

    def end(self) -> None:
        """Forget the jobs; the cycle is over."""
        self.is_over = True
        self._handed_out.clear()
        self._rewritten.clear()
        self._removed.clear()

    def _ignores(self, job_id: str) -> bool:
        return self.shut_down or job_id in self._removed


def _old_state(codec: Codec, record: Record, run_time: float | None) -> bytes:
    """Return the state from which a job was restored, with another run time."""
    # The job has come of these bytes, whatever signature they have now.
    trusted = record._replace(signature=TRUSTED)
    try:
        state, _ = codec.with_run_time(trusted, run_time)
    except UntrustedError:  # its classes have been replaced since
        return bytes(record.state)
    return state


class Cycles:
    """The last cycle of each thread that asks for due jobs."""

    def __init__(self) -> None:
        self._by_thread: dict[int, Cycle] = {}

    @property
    def current(self) -> Cycle:
        """The calling thread's cycle; a new, empty one if the thread has none."""
        cycle = self._by_thread.get(threading.get_ident())
        return cycle or Cycle(datetime.now(timezone.utc), ())

    @property
    def in_loop(self) -> bool:
        """Whether any thread iterates over its cycle's jobs now."""
        return any(cycle.jobs.in_loop for cycle in self._all())

    def begin(self, cycle: Cycle) -> None:
        """Replace the calling thread's last cycle."""
        self._by_thread[threading.get_ident()] = cycle

    def note_rewrite(self, job_id: str) -> None:
        """Note that a call outside the cycle is about to write a job's document."""
        for cycle in self._all():
            cycle.note_rewrite(job_id)

    def release(self) -> None:
        """Release the leased jobs that were not fired; 1 command for each lease that has any."""
        for cycle in self._all():
            cycle.release()

    def shut_down(self) -> None:
        """Let no cycle write the runs that follow."""
        for cycle in self._all():
            cycle.shut_down = True

    def clear(self) -> None:
        """Forget all cycles."""
        self._by_thread.clear()

    def _all(self) -> list[Cycle]:
        return list(self._by_thread.values())  # a copy: another thread may begin a cycle
