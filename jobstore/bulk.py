"""`add_jobs`, which needs private names of APScheduler's schedulers and jobs."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from apscheduler.events import EVENT_JOB_ADDED, JobEvent
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore as HostBaseJobStore
from apscheduler.schedulers.base import STATE_RUNNING, STATE_STOPPED, BaseScheduler
from apscheduler.util import undefined

from .base import BaseJobStore, ConflictingIdError, ConflictingIdsError
from .triggers import check_fast_cron, use_fast_cron

__all__ = ["add_jobs"]

OPTIONS = ("id", "name", "misfire_grace_time", "coalesce", "max_instances", "next_run_time")
Changed = tuple[Job, str, Any]  # a ready job, an attribute, and its value before this call
LOOPING = BaseJobStore.add_jobs  # never called here: its errors don't tell which jobs it stored


def add_jobs(
    scheduler: BaseScheduler,
    jobs: Iterable[Mapping[str, Any] | Job],
    jobstore: str = "default",
    replace_existing: bool = False,
    *,
    fast_cron: bool = False,
) -> list[Job]:
    """Add k jobs to a scheduler as its `add_job` would, but in one step, and return them.

    This calls the store's `add_jobs` once and wakes the scheduler once: O(k log k) with the stores
    of this package. A store without an `add_jobs` of its own gets one `add_job` call for each job.
    Building the jobs takes most of the time; the scheduler runs other jobs meanwhile. Before
    `start`, the jobs are pending, as with `add_job`.

    >>> add_jobs(scheduler, [{"func": tick, "trigger": "interval", "seconds": 5, "id": "tick"}])
    [<Job (id=tick name=tick)>]

    :param scheduler: an APScheduler 3.x scheduler, started or not.
    :param jobs: mappings of `add_job`'s arguments, without `jobstore` and `replace_existing`, or
        ready `Job`s. The ready ones are not copied, so no other store should still hold them.
    :param jobstore: the alias of the store.
    :param replace_existing: replace a stored job that has the same id.
    :param fast_cron: whether each job whose trigger is exactly APScheduler's `CronTrigger` gets a
        `jobstore.triggers.CronTrigger` with the same attributes instead. This replaces the triggers
        of ready jobs, too. Jobs that are not added get theirs back.
    :raises ConflictingIdsError: names the refused ids, after all other jobs were added.
    :raises KeyError: if no store has that alias; no job is added.
    :raises ValueError: if `fast_cron` is neither True nor False; no job is added.
    :raises TypeError: or another error about a bad job; no job is added. If instead the store
        fails, some jobs may have been added, by a store with a database or one that gets a call
        for each job.
    """
    check_fast_cron(fast_cron)
    batch: list[Job] = []
    stored: list[Job] = []
    changed: list[Changed] = []
    try:
        _read(scheduler, jobs, fast_cron, batch, changed)
        return _add(scheduler, batch, jobstore, replace_existing, stored)
    except BaseException:
        kept = {id(job) for job in stored}
        for job, name, value in reversed(changed):  # a job may have been given twice
            if id(job) not in kept:
                setattr(job, name, value)
        raise


def _add(
    scheduler: BaseScheduler,
    batch: list[Job],
    jobstore: str,
    replace_existing: bool,
    stored: list[Job],
) -> list[Job]:
    completed = scheduler.state != STATE_STOPPED
    if completed:
        with scheduler._jobstores_lock:
            scheduler._lookup_jobstore(jobstore)  # raises before any job changes
        _complete(scheduler, batch)
    with scheduler._jobstores_lock:
        if scheduler.state == STATE_STOPPED:
            for job in batch:
                job._jobstore_alias = None
                scheduler._pending_jobs.append((job, jobstore, replace_existing))
            scheduler._logger.info("Adding %d jobs tentatively until the start", len(batch))
            return batch
        store = scheduler._lookup_jobstore(jobstore)
        if not completed:  # the scheduler was started meanwhile
            _complete(scheduler, batch)
        try:
            _store(store, batch, replace_existing, stored)
        finally:
            _announce(scheduler, jobstore, stored)
    return batch


def _read(
    scheduler: BaseScheduler,
    jobs: Iterable[Mapping[str, Any] | Job],
    fast_cron: bool,
    batch: list[Job],
    changed: list[Changed],
) -> None:
    try:
        for given in jobs:
            if isinstance(given, Job):
                job = given
                owner = getattr(job, "_scheduler", None)  # an unpickled job has none
                changed.append((job, "_scheduler", owner))
                job._scheduler = scheduler
            else:
                job = _build(scheduler, **given)
            if fast_cron:
                if job is given:
                    changed.append((job, "trigger", job.trigger))
                use_fast_cron(job)
            batch.append(job)
    except Exception as error:
        if sys.version_info >= (3, 11):
            error.add_note(f"{len(batch)} jobs before this one were good; none was added")
        raise


def _build(scheduler: BaseScheduler, /, func: Any, **rest: Any) -> Job:
    trigger, args, kwargs = (rest.pop(name, None) for name in ("trigger", "args", "kwargs"))
    executor = rest.pop("executor", "default")
    options = {name: rest.pop(name) for name in OPTIONS if name in rest}
    for name in rest.keys() & {"jobstore", "replace_existing"}:
        raise TypeError(f"{name} applies to all jobs: pass it to add_jobs, not within one job")
    return Job(
        scheduler,
        func=func,
        args=() if args is None else tuple(args),
        kwargs={} if kwargs is None else dict(kwargs),
        trigger=scheduler._create_trigger(trigger, rest),
        executor=executor,
        **{name: value for name, value in options.items() if value is not undefined},
    )


def _complete(scheduler: BaseScheduler, batch: list[Job]) -> None:
    """Set the defaults and the first run time that a job still lacks."""
    now = datetime.now(scheduler.timezone)
    defaults = scheduler._job_defaults.items()
    for job in batch:
        changes = {option: value for option, value in defaults if not hasattr(job, option)}
        if not hasattr(job, "next_run_time"):
            changes["next_run_time"] = job.trigger.get_next_fire_time(None, now)
        job._modify(**changes)


def _store(
    store: HostBaseJobStore, batch: list[Job], replace_existing: bool, stored: list[Job]
) -> None:
    """Store all jobs that can be stored, and append exactly these to `stored`, even on an error."""
    if isinstance(store, BaseJobStore) and type(store).add_jobs is not LOOPING:
        try:
            store.add_jobs(batch, replace_existing)
            stored += batch
        except ConflictingIdsError as error:
            given = Counter(str.__str__(job.id) for job in batch)
            first = {str.__str__(job.id): job for job in reversed(batch)}
            stored += [first[job_id] for job_id in given - Counter(map(str.__str__, error.job_ids))]
            raise
        return
    refused = []
    for job in batch:
        try:
            store.add_job(job)
        except ConflictingIdError:
            if not replace_existing:
                refused.append(job.id)
                continue
            store.update_job(job)
        stored.append(job)
    if refused:
        raise ConflictingIdsError(refused)


def _announce(scheduler: BaseScheduler, alias: str, stored: list[Job]) -> None:
    for job in stored:
        job._jobstore_alias = alias
    with scheduler._listeners_lock:
        has_listeners = any(mask & EVENT_JOB_ADDED for _, mask in scheduler._listeners)
    for job in stored:
        if has_listeners:
            scheduler._dispatch_event(JobEvent(EVENT_JOB_ADDED, job.id, alias))
        scheduler._logger.info('Added job "%s" (%s) to job store "%s"', job.id, job.name, alias)
    if stored and scheduler.state == STATE_RUNNING:
        scheduler.wakeup()
