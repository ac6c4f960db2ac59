"""One cycle of the scheduler: the jobs handed out, and what is known of them since."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

from apscheduler.job import Job

from ..cached import Asked
from ..documents import UNTOUCHABLE, Record, advanced, dump, timestamp
from ..sharing.lease import Lease
from ..summary import Line, Summary
from .guarded import GuardedWrite

__all__ = ["Cycle", "Cycles", "DueJobs"]

KEEPS_STATE = Line(
    logging.ERROR,
    'Job "%s" keeps its old state, not its new one: %s',
    "%s jobs (%s) keep their old states, not their new ones: %s",
)


class DueJobs(list[Job]):
    """The jobs of a cycle; knows whether the scheduler is going through them.

    :ivar lease: if others may claim them, none is yielded that is not held at that moment.
    """

    in_loop = False
    lease: Lease | None = None

    def __iter__(self) -> Iterator[Job]:
        self.in_loop = True
        try:
            if self.lease is None:
                yield from super().__iter__()
            else:
                yield from (job for job in super().__iter__() if self.lease.holds(job.id))
        finally:
            self.in_loop = False


class Cycle:
    """From `get_due_jobs` to `get_next_run_time`; each thread that calls them has its own.

    :param now: what is due, by the scheduler.
    :param handed: the jobs handed out, each with its document as it was read.
    :param lease: of these and others; what the cycle does not write is given back at its end.
    """

    def __init__(
        self, now: datetime, handed: Iterable[tuple[Job, Record]], lease: Lease | None = None
    ) -> None:
        self._now, self._began = now, time.monotonic()
        self._handed = {job.id: (job, record) for job, record in handed}
        self._rewritten: set[str] = set()  # ids that were written otherwise since
        self._removed: set[str] = set()
        self.jobs = DueJobs(job for job, _ in self._handed.values())
        self.jobs.lease = self._lease = lease
        self._beside: list[Lease] = []  # of cycles within this one
        self.shut_down = False  # in mid-cycle: what comes after is not written
        self.is_over = False
        self.asked: Asked | None = None  # for the run time that the scheduler waits for

    @property
    def now(self) -> float:
        """The time by the scheduler's clock, in seconds since the epoch."""
        return timestamp(self._now) + time.monotonic() - self._began

    @property
    def in_loop(self) -> bool:
        """Whether who calls now is a synchronous job, in the scheduler's loop."""
        return self.jobs.in_loop and not self.shut_down

    def nest(self, cycle: "Cycle") -> None:
        """Take over what another one, within this one's loop, has leased."""
        if cycle._lease:
            self._beside.append(cycle._lease)

    def is_of(self, job: Job) -> bool:
        """Whether the scheduler, in its loop, gives back the very object that it was handed."""
        handed = self._handed.get(job.id) if self.jobs.in_loop else None
        return handed is not None and handed[0] is job

    def is_scheduler_removal(self, job_id: str, by_scheduler: bool) -> bool:
        """Whether a removal is of a job as it was handed out, in the loop.

        A synchronous job may have changed or replaced its document in this cycle. Then only the
        scheduler still means the job handed out, and the job's own removal is carried out at once.
        """
        if not self.jobs.in_loop or job_id not in self._handed:
            return False
        return by_scheduler or job_id not in self._rewritten

    def advance(self, job: Job, protocol: int, lines: Summary) -> GuardedWrite | None:
        """Make the write of a job's new state, unless it is removed; never raises but for Ctrl-C.

        If the state can't be pickled, the one that was read is given the new run time.
        """
        if self._is_over_for(job.id):
            return None
        self._is_done(job.id)
        _, record = self._handed[job.id]
        try:
            run_time = timestamp(job.next_run_time)
        except OverflowError:
            run_time = None  # beyond the year 9999: it won't come
        try:
            state = dump(job, protocol)
        except UNTOUCHABLE:
            raise
        except BaseException as error:
            lines.add(KEEPS_STATE, job.id, error)
            state = advanced(record.state, run_time)
        write = GuardedWrite(record, run_time, state, lease=self._lease)
        self._handed[job.id] = job, write.after or record
        return write

    def remove(self, job_id: str) -> GuardedWrite | None:
        """Make the write of a removal, once: nothing that was handed out brings the job back."""
        if self._is_over_for(job_id):
            return None
        self._removed.add(job_id)
        self._is_done(job_id)
        return GuardedWrite(self._handed[job_id][1], None, None, lease=self._lease)

    def rewrite(self, job_id: str) -> None:
        """Note that a document is written otherwise than by what was handed out."""
        if job_id in self._handed:
            self._rewritten.add(job_id)
        if self._lease:
            self._lease.revoke(job_id)

    def release(self) -> None:
        """Give back what is leased and was not touched."""
        leases = [*self._beside, *filter(None, [self._lease])]
        self._beside = []
        for lease in leases:
            lease.release()

    def end(self) -> None:
        """Forget the jobs."""
        self.is_over = True
        self._handed.clear()
        self._rewritten.clear()
        self._removed.clear()

    def _is_done(self, job_id: str) -> None:
        if self._lease:
            self._lease.mark_fired(job_id)

    def _is_over_for(self, job_id: str) -> bool:
        return self.shut_down or job_id in self._removed


class Cycles:
    """The cycles under way: each thread that asks for due jobs has its own."""

    def __init__(self) -> None:
        self._by_thread: dict[int, Cycle] = {}

    @property
    def current(self) -> Cycle:
        """The calling thread's cycle; an empty one if it has none."""
        own = self._by_thread.get(threading.get_ident())
        return own or Cycle(datetime.now(timezone.utc), ())

    def begin(self, cycle: Cycle) -> None:
        """Let a cycle of the calling thread take the place of its last one."""
        self._by_thread[threading.get_ident()] = cycle

    def rewrite(self, job_id: str) -> None:
        """Note that a document is written otherwise than by what was handed out."""
        for cycle in self._all():
            cycle.rewrite(job_id)

    def release(self) -> None:
        """Give back what is leased and was not touched."""
        for cycle in self._all():
            cycle.release()

    def shut_down(self) -> None:
        """Write nothing that comes after."""
        for cycle in self._all():
            cycle.shut_down = True

    def clear(self) -> None:
        """Forget all cycles."""
        self._by_thread.clear()

    def _all(self) -> list[Cycle]:
        return list(self._by_thread.values())  # other threads may begin one
