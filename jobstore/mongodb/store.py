"""The MongoDB store: a scheduler's cycle takes two reads and one write, or none with a mirror."""

import pickle
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta, timezone
from math import inf
from typing import Any, Literal

from apscheduler.events import JobEvent
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler

from ..about import Tags, check_tags
from ..caller import cycle_events, is_cycle
from ..in_flight import check_bound
from ..triggers import check_fast_cron
from .arguments import check_arguments, check_catch_up, check_history, check_others, check_trust
from .cached import LastQuery
from .connection import Connection
from .documents import END_OF_TIME, exact_str, timestamp, to_datetime
from .lifecycle import Lifecycle
from .outside_cycle import CallsOutsideCycle
from .parts import assemble, make_codec
from .trust.keys import SigningKeys
from .write_through import WriteThrough
from .writes.cycle import Cycle

__all__ = ["MongoDBJobStore"]

NO_LOCK = nullcontext()
STANDBY_SECONDS = 0.5  # until a standby's next cycle: not every scheduler can be woken to take over


class MongoDBJobStore(CallsOutsideCycle):
    """Keeps jobs in a MongoDB collection, in the documents of APScheduler's own store.

    Replaces `apscheduler.jobstores.mongodb.MongoDBJobStore`; its plugin alias is ``fastmongodb``.
    A cycle's writes are deferred (write-behind), and flushed together at its end. They are guarded,
    so they overwrite no change by other processes. Within a cycle, only `get_due_jobs` raises
    errors of the database. Delivery is at-least-once.

    >>> from apscheduler.schedulers.background import BackgroundScheduler
    >>> from jobstore import MongoDBJobStore
    >>> scheduler = BackgroundScheduler(jobstores={"default": MongoDBJobStore(host="localhost")})

    :param database: the database's name.
    :param collection: the collection's name.
    :param client: a `pymongo.MongoClient`, or a textual reference to one (``module:name``);
        `shutdown` does not close it.
    :param pickle_protocol: the protocol for the jobs' states.
    :param batch_size: the maximum number of jobs to hand out, or to write, at a time; 1 or more.
    :param unreadable: ``"quarantine"`` keeps a due job that can't be restored here; ``"remove"``
        removes it, as the stock store does.
    :param mirror: True keeps all records in memory, so that a cycle does no I/O, and a change
        stream keeps them current. ``"exclusive"`` needs no change stream, but no other process may
        write.
    :param watch: True wakes the scheduler when other processes make a job due earlier, by a change
        stream, or else by a query each second or more often. A number of seconds sets how often to
        query, and uses no change stream. False never wakes the scheduler.
    :param shared: share the collection with other schedulers, which all have to set it. One of
        them claims each due job. After some faults a job runs again; the documentation lists them.
    :param lease: seconds for which a claim keeps a due job from the other schedulers, 1 to 86,400;
        with ``others="wait"`` those after which a standby takes over from a lost scheduler.
    :param in_flight: the maximum number of runs that each executor has taken and not finished, 1
        or more. Other due jobs stay in the database. ``"auto"`` means twice the executor's workers,
        or as many runs as it finishes in 0.2 s, if that is more. It bounds only executors whose
        number of workers is known: thread and process pools. None means no bound.
    :param catch_up: what a start does with jobs that are overdue, as after an outage. ``"fire"``
        leaves them due. ``"skip"`` moves each to its next run time, and removes one-offs.
        ``"spread:600"`` spreads them over 600 s. ``"hold"`` holds them until `release_held`.
    :param overdue: seconds after a job's run time from which on `catch_up` applies, 0 or more.
    :param fast_cron: True computes the run times of cron jobs in compiled code, with the same
        results: it replaces triggers of exactly APScheduler's `CronTrigger` in the jobs handed out.
        The documents stay the same.
    :param tags: a callable that takes a job and returns its tags, a list of strings, by which
        `find` finds it. Each call that adds or updates a job calls it. None means no tags.
    :param signing_keys: keys that sign the jobs' states, so that nobody without a key can make this
        store run code: a list of bytes, 16 or more each, or a callable that returns such a list, or
        a textual reference to either (``module:name``). The first key signs, and all verify. A
        state whose signature is missing or wrong is not unpickled, and goes into quarantine.
    :param unsigned: ``"run"`` accepts states that have no signature, to introduce keys.
        ``"quarantine"`` doesn't.
    :param allow: patterns of the classes and functions that states may name, as ``module:name``,
        such as ``["myapp.*"]``. None allows all.
    :param others: what a start does if other schedulers fire the same jobs without sharing them,
        which runs every job twice. ``"warn"`` logs an error, every ten minutes. ``"refuse"`` raises
        an error. ``"wait"`` makes the store a hot standby: it fires jobs only while no other does.
    :param history: ``"problems"`` records the runs that failed, were left out or ran twice, and the
        other incidents of jobs and schedulers, in the collection ``<jobs>_runs``. ``"all"`` records
        the other runs, too. None records nothing.
    :param keep: seconds after which the server removes a record of the history, 1 or more.
    :param connect_args: arguments of the `MongoClient` that the store makes without a `client`.
    :raises TypeError: if `client` is not a `MongoClient`, and doesn't wrap one.
    :raises ValueError: names any other argument that the store can't use, and the values allowed.
    """

    def __init__(
        self,
        database: str = "apscheduler",
        collection: str = "jobs",
        client: Any = None,
        pickle_protocol: int = pickle.HIGHEST_PROTOCOL,
        *,
        batch_size: int = 1000,
        unreadable: Literal["quarantine", "remove"] = "quarantine",
        mirror: bool | Literal["exclusive"] = False,
        watch: bool | float = True,
        shared: bool = False,
        lease: float = 10,
        in_flight: Literal["auto"] | int | None = "auto",
        catch_up: str = "fire",
        overdue: float = 60.0,
        fast_cron: bool = False,
        tags: Tags | None = None,
        signing_keys: SigningKeys | None = None,
        unsigned: Literal["quarantine", "run"] = "quarantine",
        allow: Sequence[str] | None = None,
        others: Literal["warn", "refuse", "wait"] = "warn",
        history: Literal["problems", "all"] | None = None,
        keep: float = 604_800,
        **connect_args: Any,
    ) -> None:
        super().__init__()
        check_arguments(database, collection, batch_size, unreadable, mirror, watch, shared, lease)
        check_others(others, shared, mirror)
        check_history(history, keep)
        check_fast_cron(fast_cron)
        check_catch_up(catch_up, overdue)
        check_bound(in_flight)
        check_tags(tags)
        check_trust(unsigned, allow)
        namespace = f"{database}.{collection}"
        self._codec = make_codec(namespace, pickle_protocol, tags, signing_keys, unsigned, allow)
        self._connection = Connection(database, collection, client, connect_args)
        parts = assemble(
            self,
            self._codec,
            self._connection,
            batch_size,
            unreadable,
            mirror,
            shared,
            lease,
            in_flight,
            fast_cron,
            others,
            history,
            keep,
        )
        self._write_through = WriteThrough(parts, batch_size)
        self._lifecycle = Lifecycle(parts, watch, catch_up, overdue)
        self._locks, self._host, self._cycles = parts.locks, parts.host, parts.cycles
        self._quarantine, self._reader = parts.quarantine, parts.reader
        self._write_behind, self._wakeups = parts.write_behind, parts.wakeups
        self._hand_out, self._restored_jobs = parts.hand_out, parts.restored_jobs
        self._firing = parts.presence.firing
        self._counters = parts.counters
        self._incidents = parts.incidents

    @property
    def pickle_protocol(self) -> int:
        """The pickle protocol for the jobs' states."""
        return self._codec.protocol

    @pickle_protocol.setter
    def pickle_protocol(self, protocol: int) -> None:
        self._codec.protocol = protocol

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        """Create missing indexes, retry the quarantine, and fill a mirror; O(n) with a mirror.

        Applies `catch_up` to the overdue jobs first, which takes 0.2 ms or more for each. With
        ``others="wait"`` that and the quarantine wait until the store takes over.

        Starts the store's threads. They end with `shutdown`, if the scheduler fails to start, or
        when the store is garbage-collected.

        :raises pymongo.errors.PyMongoError: if the server can't be reached within 30 s.
        :raises ValueError: if the server is older than MongoDB 4.4, or lacks updates with a
            pipeline, or the change streams that a mirror needs; if schedulers share the collection
            and this store has not set `shared`; if the collection needs a newer version of this
            package; if `others` is ``"refuse"``, and another scheduler runs.
        """
        super().start(scheduler, alias)
        self._lifecycle.start()

    def shutdown(self) -> None:
        """Flush deferred writes, and close a client that no other store uses; never raises.

        Waits at most 5 s, also in a signal handler. Jobs that the current cycle has not written
        stay due. `start` may be called again.
        """
        self._lifecycle.stop()

    # One cycle, in the order of its calls

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Hand out the first due jobs, at most `batch_size`, in order; 1 command, 3 if shared.

        A scheduler's cycle gets only the jobs that `in_flight` allows. No command is sent if all
        executors are full, or while others fire (``others="wait"``).

        A flush comes first, if an earlier one failed. No command is sent if a mirror answers, or if
        the change stream has shown that nothing is due. With `shared`, these are some of the first
        due jobs; each search that finds only leased jobs costs 1 command more.

        :param now: the time; a naive one is UTC.
        :raises OverflowError: if `now` is outside the years 1 to 9999 in UTC.
        :raises pymongo.errors.PyMongoError: if the server can't be reached; no job is lost.
        :raises NoExecutorError: if the main thread has ended, which closes thread and process
            pools, and the scheduler has no other executor.
        """
        due_by = timestamp(now)
        if self._lifecycle.needs_restart and self._scheduler:
            self.start(self._scheduler, self._alias or "")
        self._hand_out.check_executors()
        events = cycle_events()
        with self._cycle_lock():
            if self._connection.closed:  # the scheduler's thread may call once after `shutdown`
                return []
            last = self._cycles.current
            if last.is_nested_call:  # the caller is a synchronous job of that cycle
                cycle = self._next_cycle(now, last, events)
                last.nest(cycle)
                return cycle.jobs
            if events is not None:  # else no scheduler's cycle
                self._counters.cycle_begins()
            if self._known_next_run_time(last, due_by) is not None:
                cycle = Cycle(now, ())
                cycle.last_query = last.last_query
            else:
                last.last_query = None
                self._wakeups.cycle_begins()
                try:
                    cycle = self._next_cycle(now, last, events)
                except Exception as error:
                    self._incidents.unreachable(error)
                    self._counters.cycle_fails()
                    retry_time = timestamp(self._retry_time())
                    self._wakeups.cycle_ends(retry_time)
                    self._counters.cycle_ends(retry_time)
                    raise
                self._incidents.reachable()
                self._counters.cycle_has_jobs()
            self._cycles.begin(cycle)
            return cycle.jobs

    def _known_next_run_time(self, last: Cycle, now: float) -> float | None:
        """Return the earliest run time if it is after `now`, and known without a command."""
        query = last.last_query
        if query is None or not self._lifecycle.sees_all_changes or self._write_behind.has_pending:
            return None
        if self._firing.stands_by:  # a takeover does not wait for the next due job
            return None
        awaited = self._wakeups.awaited if query.is_fresh(self._connection) else None
        return awaited if awaited is not None and awaited > now else None

    def _next_cycle(self, now: datetime, last: Cycle, events: list[JobEvent] | None) -> Cycle:
        """Begin a cycle with the first due jobs, after the last cycle's writes."""
        self._reader.include_deferred()
        if not last.is_nested_call:
            self._finish(last)
            self._lifecycle.do_chores_if_no_thread()
        fence = self._firing.fence  # of the lease under which the jobs are read
        if not self._lifecycle.may_fire():
            return Cycle(now, (), events=events)
        cycle = self._hand_out.cycle(now, events)
        cycle.jobs.fence = fence
        return cycle

    def _finish(self, cycle: Cycle) -> None:
        """Release the jobs that a cycle leased and did not fire; use a mirror once ready."""
        cycle.release()
        self._reader.go_live()

    def update_job(self, job: Job) -> None:
        """Replace a stored job; 1 command, deferred if the scheduler updates a job handed out.

        Does nothing if the job's executor did not take the job: the job stays due.

        >>> store.update_job(job)

        :param job: the newer version of a stored job.
        :raises JobLookupError: if no job with that id is stored.
        :raises TransientJobError: if the job's function can't be imported by name.
        :raises pymongo.errors.DocumentTooLarge: names the job and its size, over 16 MiB.
        """
        if self._reader.is_live:  # as `_cycle_lock`, whose null context costs time for each job
            is_deferred = self._defer_update(job)
        else:
            with self._locks.io_lock:
                is_deferred = self._defer_update(job)
        if not is_deferred:
            self._write_through.update_job(job)

    def _defer_update(self, job: Job) -> bool:
        """Defer the write of a job that the current cycle has handed out; False for others."""
        cycle, lines = self._cycles.current, self._write_behind.lines
        if not cycle.has_handed_out(job):
            return False
        if self._hand_out.was_taken(cycle, job.id, lines):
            write = cycle.advance(job, self._restored_jobs, self._codec, lines)
            self._write_behind.add(write, self._reader.apply_optimistically)
        return True

    def remove_job(self, job_id: str) -> None:
        """Remove a job; 1 command, deferred in a cycle that has handed the job out.

        Does nothing if the scheduler removes a job that its executor did not take.

        >>> store.remove_job("report")

        :raises JobLookupError: if no job with that id is stored.
        """
        job_id = exact_str(job_id)
        with self._cycle_lock():
            cycle = self._cycles.current
            by_scheduler = is_cycle()
            if cycle.defers_removal(job_id, by_scheduler):
                lines = self._write_behind.lines
                if by_scheduler and not self._hand_out.was_taken(cycle, job_id, lines):
                    return
                self._write_behind.add(cycle.remove(job_id), self._reader.apply_optimistically)
                return
        self._write_through.remove_job(job_id)

    def get_next_run_time(self) -> datetime | None:
        """Flush the cycle's writes, and return the earliest run time; 1 to 3 commands.

        No command while the change stream shows that the last answer still holds. Never raises an
        error of the database.

        Returns the time of the next try if the server can't be reached. A mirror answers without a
        command, and the store's own thread flushes. A due job that another scheduler has leased
        counts as due 0.2 to 0.4 s from now.
        """
        answer: datetime | None = self._retry_time()
        with self._cycle_lock():
            cycle = self._cycles.current
            try:
                if self._connection.closed:
                    return None
                earliest = self._known_next_run_time(cycle, cycle.now)
                if earliest is not None:
                    answer = to_datetime(earliest) if earliest < END_OF_TIME else None
                elif self._reader.is_live or not self._write_behind.failing:
                    if cycle.last_query and not cycle.is_over:
                        self._wakeups.cycle_begins()  # get_due_jobs sent no query
                    cycle.last_query = None
                    earliest = self._read_next_run_time(cycle)
                    answer = None if earliest is None else to_datetime(earliest)
            except Exception as error:
                self._incidents.unreachable(error)
                self._counters.cycle_fails()
                self._logger.warning("Unable to reach the jobs, trying again later: %s", error)
            finally:
                if not cycle.jobs.in_loop:
                    self._counters.cycle_ends(timestamp(answer))
                    cycle.end()
                    # While due jobs wait for executors, no other job's time matters.
                    self._wakeups.cycle_ends(-inf if cycle.is_limited else timestamp(answer))
                self._write_behind.lines.log(self._logger)
        return answer

    def _read_next_run_time(self, cycle: Cycle) -> float | None:
        """Read the earliest run time after a flush; a live mirror only requests the flush."""
        self._reader.include_deferred()
        if not cycle.is_nested_call:
            self._finish(cycle)
        if self._firing.stands_by or not self._firing.may_fire:
            return cycle.now + STANDBY_SECONDS
        next_look = self._hand_out.next_look(cycle)
        if cycle.is_limited:  # more jobs are due, which wait for the same executors
            return next_look
        if cycle.looks_further:  # at once: a full executor must not delay the jobs of others
            return cycle.now
        last_query, asked_at = LastQuery.now(self._connection), cycle.now
        earliest = self._reader.next_run_time(asked_at, self._hand_out.left_out())
        if next_look is not None:
            next_look += cycle.now - asked_at  # else a slow server would be asked all the time
            return next_look if earliest is None else min(earliest, next_look)
        if not cycle.is_nested_call and not cycle.is_over:
            cycle.last_query = last_query
        return earliest

    def _cycle_lock(self) -> AbstractContextManager[object]:
        """Return the lock for a call within a cycle; a live mirror needs none."""
        return NO_LOCK if self._reader.is_live else self._locks.io_lock

    def _retry_time(self) -> datetime:
        return datetime.now(timezone.utc) + timedelta(seconds=self._host.retry_seconds)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} (client={self._connection.describe()})>"
