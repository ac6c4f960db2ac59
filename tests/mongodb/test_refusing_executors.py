"""Real executors that refuse jobs: shut down, broken, or without a process."""

import asyncio
import time
from multiprocessing import get_context

import pytest
from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from jobstore.mongodb.sharing import claims
from support.jobs import YEARS, at, job, names, run_times
from support.scheduler_runs import Runs, running, utc_now
from support.unsteady import MODES
from support.waiting import until

RETRY_SECONDS = 0.2


@pytest.fixture
def store(make, mode, monkeypatch):
    monkeypatch.setattr(claims, "RETRY_SECONDS", RETRY_SECONDS)
    return make(start=False, **MODES[mode])


class NoProcesses(type(get_context("spawn"))):
    """Starts processes only if the test allows that."""

    allowed = False

    def Process(self, *args, **kwargs):
        if not self.allowed:
            raise OSError("no process left")
        return super().Process(*args, **kwargs)


def closed_threads():
    executor = ThreadPoolExecutor(2)
    executor._pool.shutdown()

    def mend():
        executor._pool = ThreadPoolExecutor(2)._pool

    return executor, mend


def closed_processes():
    executor = ProcessPoolExecutor(1)
    executor._pool.shutdown()

    def mend():
        executor._pool = ProcessPoolExecutor(1)._pool

    return executor, mend


def no_processes():
    context = NoProcesses()
    executor = ProcessPoolExecutor(1, {"mp_context": context})

    def mend():
        context.allowed = True
        executor._pool = ProcessPoolExecutor(1, {"mp_context": context})._pool

    return executor, mend


def tries(caplog):
    return sum(each.msg.startswith("Error submitting job") for each in caplog.records)


@pytest.mark.parametrize("refusing", [closed_threads, closed_processes, no_processes])
def test_jobs_of_an_executor_that_refuses_stay_due_and_run_once_it_takes_them(
    store, caplog, refusing
):
    executor, mend = refusing()
    scheduler = BackgroundScheduler(timezone="UTC", jobstore_retry_interval=RETRY_SECONDS)
    scheduler.add_executor(executor, "refusing")
    scheduler.add_jobstore(store, "default")
    runs = Runs(scheduler)
    scheduler.start(paused=True)
    now = utc_now()
    trigger = IntervalTrigger(seconds=0.1, start_date=now, timezone="UTC")
    others = {"trigger": trigger, "next_run_time": now, "misfire_grace_time": 60}
    store.add_jobs(
        [
            job("recurring", executor="refusing"),
            job("once", 1, every=None, executor="refusing"),
            job("other", **others),
        ]
    )
    scheduler.resume()
    began = time.monotonic()
    until(lambda: tries(caplog) >= 4)
    assert time.monotonic() - began >= RETRY_SECONDS, "two tries of each"
    runs.wait("other", 1)
    mend()
    runs.wait("recurring", 1)
    runs.wait("once", 1)
    runs.wait_more("other")
    until(lambda: run_times(store).keys() == {"other", "recurring"})
    assert run_times(store)["recurring"] == at(YEARS).timestamp()
    scheduler.shutdown()


async def work():
    """Do nothing: the coroutine of the jobs that need no thread."""


def test_asyncio_executor_runs_coroutines_while_jobs_that_need_threads_stay_due(store):
    scheduler = AsyncIOScheduler(timezone="UTC", jobstore_retry_interval=RETRY_SECONDS)
    scheduler.add_jobstore(store, "default")
    runs = Runs(scheduler)
    with running(scheduler):
        closing = scheduler._eventloop.shutdown_default_executor()
        asyncio.run_coroutine_threadsafe(closing, scheduler._eventloop).result(30)
        store.add_jobs([job("thread", every=None), job("coroutine", 1, every=None, func=work)])
        scheduler.wakeup()
        runs.wait("coroutine", 1)
        trigger = IntervalTrigger(seconds=RETRY_SECONDS, timezone="UTC")
        scheduler.add_job(work, trigger, id="later", misfire_grace_time=None)
        runs.wait("later", 2)
        until(lambda: names(store) == ["later", "thread"])
        scheduler.remove_job("later")  # the scheduler below would call it without awaiting it
    assert runs.of("thread") == []
    again = BackgroundScheduler(timezone="UTC")
    again.add_jobstore(store, "default")
    runs = Runs(again)
    with running(again):
        runs.wait("thread", 1)
