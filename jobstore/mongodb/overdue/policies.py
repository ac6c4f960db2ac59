"""The policies for overdue jobs: what becomes of each; no database here."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from apscheduler.job import Job
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from ..codec import Codec
from ..documents import (
    INTERRUPTS,
    CountedRecord,
    Document,
    Record,
    timestamp,
)
from ..host import Host
from ..trust.untrusted import UntrustedError
from ..writes.guarded import GuardedWrite

__all__ = ["Hold", "Policy", "Skip", "Spread", "following_run_time"]

MAX_STEPS = 10_000  # run times of one trigger that are passed one by one: about 50 ms
WRITING_SECONDS = 0.0002  # for each job: so long the start may take before a spread begins


class Policy(ABC):
    """Makes the write that applies a policy to one overdue job.

    :ivar outcome: says in the log what has become of the jobs.
    :ivar kind: the kind of the history's records of them.
    """

    outcome: str
    kind = "moved on"

    @abstractmethod
    def write_for(self, document: Document) -> GuardedWrite | None:
        """Return the write; None leaves the job as it is."""


class Skip(Policy):
    """Moves each job on to its next run time after now, and removes a job that has none.

    The count of attempts goes, as it does when a job has run.
    """

    outcome = "moved on"

    def __init__(self, host: Host, now: datetime) -> None:
        self._host, self._now = host, now

    def write_for(self, document: Document) -> GuardedWrite | None:
        """Return the write; None if the job or its next run time can't be made here."""
        record = (CountedRecord if "attempts" in document else Record).of(document)
        try:
            job = self._host.restore(record)
            following = following_run_time(job, self._now)
            if following is None:
                return GuardedWrite(record, None, None, is_outside_lease=True)
            job.next_run_time = following
            codec = self._host.codec
            state = codec.dump(job)
            return GuardedWrite(
                record,
                timestamp(following),
                state,
                is_outside_lease=True,
                signature=codec.trusted,
            )
        except INTERRUPTS:
            raise
        except BaseException:  # triggers and states run code of users
            return None


class Spread(Policy):
    """Spreads the jobs evenly over a time that begins now, in the order in which they come.

    The first run time leaves time to write all the others: a job that is late when its scheduler
    has started may count as missed.

    :param seconds: the length of that time.
    :param count: the number of jobs; if more come, they get the last run time.
    """

    outcome = "spread"

    def __init__(self, codec: Codec, now: datetime, seconds: float, count: int) -> None:
        self._codec = codec
        lead = min(count * WRITING_SECONDS, seconds / 2)
        self._first, self._interval = timestamp(now) + lead, (seconds - lead) / count
        self._place, self._last_place = 0, count - 1

    def write_for(self, document: Document) -> GuardedWrite | None:
        """Return the write; None if the document is no job."""
        place = min(self._place, self._last_place)
        self._place += 1
        run_time = timestamp(_in_microseconds(self._first + place * self._interval))
        return _write_at(self._codec, Record.of(document), run_time)


class Hold(Policy):
    """Takes the run times away. The mark keeps them.

    :param mark: the fields of the mark, besides the run time and the server's time.
    """

    outcome = kind = "held"

    def __init__(self, codec: Codec, mark: Mapping[str, Any]) -> None:
        self._codec, self._mark = codec, mark

    def write_for(self, document: Document) -> GuardedWrite | None:
        """Return the write; None if the document is no job."""
        record = Record.of(document)
        held = {"next_run_time": record.run_time, **self._mark}
        return _write_at(self._codec, record, None, held)


def following_run_time(job: Job, now: datetime) -> datetime | None:
    """Return a job's first run time after now, as the scheduler computes it; None if there is none.

    That is the trigger's answer to the last missed run time. The scheduler passes the missed run
    times one by one. For intervals and crons without jitter the result is the same without that.

    :raises ValueError: if another trigger has missed more than 10,000 run times.
    """
    assert job.next_run_time is not None
    trigger, last = job.trigger, job.next_run_time
    if type(trigger) is IntervalTrigger:
        missed = (timestamp(now) - timestamp(last)) // trigger.interval_length
        last = datetime.fromtimestamp(
            timestamp(last) + missed * trigger.interval_length, last.tzinfo
        )
    elif type(trigger) is CronTrigger:
        last = now
    for _ in range(MAX_STEPS):
        following: datetime | None = trigger.get_next_fire_time(last, now)
        if following is None or timestamp(following) > timestamp(now):
            return following
        last = following
    raise ValueError(f"job {job.id!r} has missed more than {MAX_STEPS:,} run times")


def _write_at(
    codec: Codec, record: Record, run_time: float | None, held: dict[str, Any] | None = None
) -> GuardedWrite | None:
    """Return the write that changes the run time, also in the state, for a stock store.

    A state that can't be unpickled here stays. Other processes may be able to run the job. None is
    returned for a document that no process can run, or whose state may not be unpickled: such a job
    goes into quarantine in the first cycle.
    """
    has_key = isinstance(record.id, str) and isinstance(record.run_time, int | float)
    if not has_key or not isinstance(record.state, bytes):
        return None
    try:
        state, signature = codec.with_run_time(record, run_time)
    except UntrustedError:
        return None
    return GuardedWrite(
        record, run_time, state, held=held, is_outside_lease=True, signature=signature
    )


def _in_microseconds(seconds: float) -> datetime:
    """Round a time as a job's state does, so that document and state have the same run time."""
    return datetime.fromtimestamp(0, timezone.utc) + timedelta(seconds=seconds)
