"""The hand-out: which of the due jobs the scheduler gets, and which stay due in the database.

A job stays due while its executor is full, and for some time after its executor did not take it.
Searches leave such jobs out, so that they don't hide the due jobs of other executors.
"""

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter

from apscheduler.events import JobEvent

from ..in_flight import InFlight, Rooms
from ..submissions import MAX_TRIES, FailedSubmissions
from .counters import Counters
from .documents import DocumentId, HasTime, IdKey, Record, timestamp
from .executors import check_executors
from .history.incidents import Incidents
from .host import Host
from .readers import Reader, Rejected
from .restored import Restored, RestoredJobs
from .sharing.lease import Lease
from .summary import Line, Summary
from .trust.undecided import Undecided
from .waiting import WaitingJobs
from .writes.cycle import Cycle
from .writes.quarantine import Quarantine

__all__ = ["HandOut"]

IN_ORDER = attrgetter("record.run_time", "record.id")
NOT_TAKEN = Line(
    logging.WARNING,
    'Job "%s" stays due, as %s did not take it',
    "%s jobs (%s) stay due, as %s did not take them",
)


class HandOut:
    """Chooses the jobs of a cycle, and remembers the due jobs that it did not choose.

    :param batch_size: the maximum number of jobs in a cycle.
    """

    def __init__(
        self,
        host: Host,
        reader: Reader,
        quarantine: Quarantine,
        in_flight: InFlight,
        restored_jobs: RestoredJobs,
        batch_size: int,
        counters: Counters,
        incidents: Incidents,
    ) -> None:
        self._host, self._reader, self._quarantine = host, reader, quarantine
        self._in_flight, self._restored_jobs = in_flight, restored_jobs
        self._batch_size, self._counters, self._incidents = batch_size, counters, incidents
        self._waiting = WaitingJobs()
        self._failed = FailedSubmissions()
        self._undecided = Undecided(host.codec.signatures)
        self._refused: list[Record] = []  # jobs of this cycle that their executors did not take
        self._closed: set[str] = set()  # aliases of executors that take no jobs any more
        self._widening = 1  # how many jobs to read for each free place

    def start(self) -> None:
        """Begin to count the runs of the store's scheduler, and try all due jobs."""
        self._waiting.forget_all()
        self._failed.forget_all()
        self._undecided.forget_all()
        self._in_flight.start(self._host.scheduler)

    def stop(self) -> None:
        """Stop counting."""
        self._in_flight.stop()

    def check_executors(self) -> None:
        """Note which executors take no jobs any more; called before `cycle`.

        :raises NoExecutorError: if all executors of the scheduler are closed.
        """
        self._closed = check_executors(self._host.scheduler)

    def cycle(self, now: datetime, events: list[JobEvent] | None) -> Cycle:
        """Read the first due jobs, and choose those whose executors have room.

        The cost is that of `Reader.due`. No command is sent if no executor has room.

        :param events: the events of the scheduler's cycle; None if another caller asks, who gets
            jobs without regard to executors.
        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        began_at = time.monotonic()
        rooms = Rooms({}, True) if events is None else self._in_flight.rooms(self._closed)
        if not rooms.total:
            return Cycle(now, (), events=events, is_limited=True)
        self._waiting.admit(rooms)
        limit = int(min(self._batch_size, rooms.total * self._widening))
        due = self._reader.due(timestamp(now), limit + self._quarantine.unmarked, self._excluded())
        runnable, unrunnable = self._restored_jobs.restore_all(due.records)
        if unrunnable:
            self._set_aside(unrunnable, due.lease, began_at)
        if self._failed:
            runnable = self._without_hopeless(runnable)
        runnable.sort(key=IN_ORDER)
        chosen = self._choose(runnable[: self._batch_size], rooms)
        if chosen:
            run_times = [each.record.run_time for each in chosen]
            self._counters.handed_out(timestamp(now), run_times)
            if self._incidents.is_recording and events is not None:
                self._incidents.handed_out(chosen)
        # Jobs of full executors may hide others: look further behind them, and at once.
        is_hidden = bool(rooms.full) and rooms.total > 0
        if not is_hidden:
            self._widening = 1
        elif limit < self._batch_size:
            self._widening *= 2
        may_have_more = len(runnable) >= limit
        is_limited = may_have_more and rooms.is_bounded and not is_hidden
        looks_further = may_have_more and is_hidden
        return Cycle(now, chosen, due.lease, events, is_limited, looks_further, began_at)

    def _set_aside(self, unrunnable: Rejected, lease: Lease | None, read_at: float) -> None:
        """Set the jobs aside that can't run here; jobs by unknown keys may stay due for a while."""
        decided, undecided = self._undecided.split(unrunnable, read_at)
        if undecided:
            self._reader.left_waiting(undecided)
            if lease:
                lease.release([record.id for record in undecided])
        if decided:
            self._reader.set_aside(decided, lease)

    def _choose(self, runnable: list[Restored], rooms: Rooms) -> list[Restored]:
        """Return the jobs whose executors have room; the others wait."""
        if rooms.is_unlimited:
            return runnable
        chosen, waiting = [], []
        for each in runnable:
            job, record = each.job, each.record
            if rooms.take(job.executor):
                self._in_flight.hand_out(job.id, job.executor)
                chosen.append(each)
            else:
                self._waiting.add(record, job.executor)
                waiting.append(record)
        if waiting:
            self._reader.left_waiting(waiting)
        return chosen

    def _excluded(self) -> dict[IdKey, HasTime]:
        waiting: Mapping[IdKey, HasTime] = self._waiting.current()  # type: ignore[assignment]
        failed: Mapping[IdKey, HasTime] = self._failed.waiting()  # type: ignore[assignment]
        return {**waiting, **failed, **self._undecided.current()}

    def left_out(self) -> Mapping[IdKey, HasTime]:
        """Return the jobs for which the scheduler does not wake up, by the keys of their ids.

        Those are the jobs that wait for their executors, and those that can't be restored here.
        """
        excluded = self._excluded()
        passed_over = self._quarantine.passed_over
        return {**passed_over, **excluded} if excluded else passed_over

    def next_look(self, cycle: Cycle) -> float | None:
        """Return when to look again for the jobs that wait; None if no job waits.

        Wakes the scheduler earlier if their executors have room earlier.
        """
        if self._refused:
            refused, self._refused = self._refused, []
            self._reader.left_waiting(refused)
        executors = None if cycle.is_limited else self._waiting.executors - self._closed
        times = []
        if executors is None or executors:
            is_free = self._in_flight.wait_for(executors)
            times.append(cycle.now + (0 if is_free else self._in_flight.recheck_seconds))
        retry = self._failed.next_retry()
        if retry is not None:
            times.append(cycle.now + retry)
        if self._undecided.current():
            times.append(cycle.now + self._undecided.retry_seconds)
        return min(times, default=None)

    def forget(self, job_id: DocumentId) -> None:
        """Hand out a job as if it were new, as its document is about to be written."""
        self._waiting.forget(job_id)
        self._undecided.forget(job_id)
        if isinstance(job_id, str):
            self._failed.forget(job_id)

    # Failed submissions

    def was_taken(self, cycle: Cycle, job_id: str, lines: Summary) -> bool:
        """Whether the executor took a job; asked once, right after its submission.

        If not, the job stays due, and is left out until its next try.

        :param lines: collects a log line.
        """
        if cycle.submissions.took(job_id):
            if self._failed.by_id:
                self._failed.note_taken(job_id)
            return True
        handed_out = cycle.handed_out(job_id)
        job, record = handed_out.job, handed_out.record
        self._refused.append(record)
        seconds = self._reader.retry_seconds or self._host.retry_seconds
        if self._failed.add(job_id, record.run_time, seconds):
            reason = f'executor "{job.executor}"'
            lines.add(NOT_TAKEN, job_id, reason)
            reason += " did not take it"
            self._incidents.add("refused", job_id, record.run_time, detail=reason)
        return False

    def _without_hopeless(self, runnable: list[Restored]) -> list[Restored]:
        """Quarantine the jobs that no executor takes, while others are taken."""
        hopeless = [
            each for each in runnable if self._failed.is_hopeless(each.job.id, each.record.run_time)
        ]
        if not hopeless:
            return runnable
        writes = []
        for job, record, *_ in hopeless:
            reason = f'executor "{job.executor}" did not take it {MAX_TRIES} times'
            self._host.logger.error('Job "%s" goes into quarantine: %s', job.id, reason)
            writes.append(self._quarantine.write_for(record, reason, record.run_time))
            self._failed.forget(job.id)
        self._reader.put_into_quarantine(writes)
        return [each for each in runnable if each not in hopeless]
