"""A scheduler counts as one that fires only while it asks its store for jobs."""

import concurrent.futures.thread as threads
import logging
import os
import threading
from math import inf

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore
from jobstore.mongodb.presence import others
from support.jobs import job
from support.manual_scheduler import ByHand, Submissions
from support.standbys import (
    beat,
    documents,
    firing_one,
    lease_of,
    presence_of,
    standing,
    states,
    submitted,
)
from support.waiting import until

TWICE = "Every job runs twice"


class Unfinished(Submissions):
    """An executor whose shutdown waits for a running job, until `finish` is set."""

    def __init__(self):
        super().__init__()
        self.finish = threading.Event()

    def shutdown(self, wait=True):
        if wait:
            self.finish.wait(60)


@pytest.fixture
def shut_down():
    """Return a function that shuts a scheduler down, which waits for a running job meanwhile."""
    running = []

    def shut_down(scheduler):
        unfinished = scheduler._executors["default"] = Unfinished()
        thread = threading.Thread(target=scheduler.shutdown)
        thread.start()
        running.append((thread, unfinished))

    yield shut_down
    for thread, unfinished in running:
        unfinished.finish.set()
        thread.join(60)
        assert not thread.is_alive()


def start_paused(scheduler_on, **options):
    scheduler = scheduler_on(start=False, **options)
    scheduler.start(paused=True)
    return scheduler


# The state


def test_pause_and_resume_show_at_once(scheduler_on, database):
    scheduler = scheduler_on()
    assert states(database) == ["firing"]
    scheduler.pause()
    assert not scheduler.store.status().firing
    until(lambda: states(database) == ["paused"])
    scheduler.resume()
    until(lambda: states(database) == ["firing"])
    assert scheduler.store.status().firing


def test_scheduler_that_waits_for_running_jobs_is_idle(scheduler_on, database, shut_down):
    scheduler = scheduler_on()
    scheduler._process_jobs()
    shut_down(scheduler)
    until(lambda: states(database) == ["idle"])
    assert not scheduler.store.status().firing


def test_scheduler_that_ran_for_a_moment_is_idle_too(scheduler_on, database, shut_down):
    """The cycle has noticed that the scheduler ran, whatever its store's thread has seen."""
    scheduler = scheduler_on(start=False)
    presence = presence_of(scheduler.store)
    presence.step = lambda status: 0.0
    scheduler.start()
    scheduler._process_jobs()
    shut_down(scheduler)
    until(lambda: not scheduler.running)
    assert presence.state == "idle"


def test_store_that_was_removed_from_its_scheduler_is_idle(scheduler_on, database):
    scheduler = scheduler_on()
    scheduler._process_jobs()
    scheduler.remove_jobstore("default", shutdown=False)
    until(lambda: states(database) == ["idle"])
    assert not scheduler.store.status().firing


def test_store_whose_start_was_refused_does_not_fire(scheduler_on, server, database):
    scheduler_on()
    running = ByHand(timezone="UTC")
    running.start()
    store = MongoDBJobStore(database.name, host=server.uri, others="refuse")
    with pytest.raises(ValueError, match='others is "refuse"'):
        running.add_jobstore(store, "second")
    assert not store.status().firing
    running.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
def test_store_in_a_forked_process_does_not_fire(scheduler_on):
    scheduler = scheduler_on()
    assert scheduler.store.status().firing
    child = os.fork()
    if child == 0:
        os._exit(scheduler.store.status().firing)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert scheduler.store.status().firing


def test_scheduler_whose_executors_are_closed_is_idle(server, database, monkeypatch):
    """Python closes all thread pools when the main thread ends."""
    store = MongoDBJobStore(database.name, host=server.uri, others="wait", lease=3600)
    scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
    scheduler.start()
    until(lambda: states(database) == ["firing"])
    monkeypatch.setattr(threads, "_shutdown", True)
    until(lambda: states(database) == ["idle"])
    until(lambda: lease_of(database) is None)
    monkeypatch.undo()
    scheduler.shutdown()


# Others


def test_paused_scheduler_is_no_other(scheduler_on, database, caplog, monkeypatch):
    monkeypatch.setattr(others, "SETTLED_SECONDS", inf)
    scheduler = scheduler_on()
    paused = start_paused(scheduler_on)
    until(lambda: states(database) == ["firing", "paused"])
    monkeypatch.setattr(others, "SETTLED_SECONDS", 0.0)
    for each in (paused, scheduler):
        beat(each.store)
        beat(each.store)
    assert TWICE not in caplog.text
    assert scheduler.store.status().others == paused.store.status().others == ()


def test_scheduler_that_has_just_started_is_no_other_yet(scheduler_on, caplog, monkeypatch):
    monkeypatch.setattr(others, "SETTLED_SECONDS", inf)
    first, second = scheduler_on(), scheduler_on()
    for each in (second, first):
        beat(each.store)
        beat(each.store)
    assert TWICE not in caplog.text
    monkeypatch.setattr(others, "SETTLED_SECONDS", 0.0)
    beat(first.store)
    until(lambda: TWICE in caplog.text)


def test_start_beside_a_paused_scheduler_is_not_refused(scheduler_on, database, caplog):
    caplog.set_level(logging.INFO)
    start_paused(scheduler_on)
    until(lambda: states(database) == ["paused"])
    scheduler_on(others="refuse")
    assert "ended without a shutdown" not in caplog.text


def test_standby_fires_beside_a_paused_scheduler(scheduler_on, standby_on, database):
    start_paused(scheduler_on)
    until(lambda: states(database) == ["paused"])
    firing_one(standby_on)


def test_scheduler_that_waits_for_running_jobs_is_no_other(
    scheduler_on, database, caplog, shut_down
):
    ending = scheduler_on()
    ending._process_jobs()
    scheduler = scheduler_on()
    shut_down(ending)
    until(lambda: states(database) == ["idle", "firing"])
    caplog.clear()
    beat(scheduler.store)
    beat(ending.store)
    beat(scheduler.store)
    assert TWICE not in caplog.text
    until(lambda: scheduler.store.status().others == ())
    scheduler_on(others="wait")


# The right to fire


def test_standby_takes_over_while_the_owner_waits_for_a_running_job(
    standby_on, database, caplog, shut_down
):
    caplog.set_level(logging.INFO)
    owner = firing_one(standby_on)
    owner.store.add_jobs([job(f"{n}", n, every=3600) for n in range(20)])
    standby = standby_on()
    fired = submitted(owner)
    assert len(fired) == 20
    shut_down(owner)
    until(lambda: not standing(standby))
    assert submitted(standby) == [] == standby.executor.submitted, "the last runs were written"
    until(lambda: states(database) == ["idle", "firing"])
    assert lease_of(database)["by"] == presence_of(standby.store).name
    assert "is fired here any more" not in caplog.text
    assert "ended without a shutdown" not in caplog.text


def test_lease_is_given_back_after_the_last_runs_are_written(scheduler_on, database, shut_down):
    """Else the standby would read the run times from before these runs."""
    owner = scheduler_on(others="wait", mirror=True)
    until(lambda: not standing(owner) and owner.store._reader.is_live)
    owner.store.add_job(job("a", every=3600))
    with owner.store._locks.io_lock:  # the flusher waits
        assert submitted(owner) == ["a"]
        shut_down(owner)
        until(lambda: not owner.store._firing.may_fire or not owner.running)
        presence_of(owner.store).beat_soon()
        owner.store._firing.next_request = -1.0
        until(lambda: owner.store._firing.next_request > 0)
        assert lease_of(database), "not yet written"
        assert not owner.store._firing.may_fire
    until(lambda: lease_of(database) is None)
    assert owner.store.status().pending == 0


def test_standby_takes_over_from_a_store_that_its_scheduler_has_removed(standby_on, database):
    owner, standby = firing_one(standby_on), standby_on()
    owner.remove_jobstore("default", shutdown=False)
    until(lambda: not standing(standby))
    until(lambda: states(database) == ["idle", "firing"])


def test_paused_owner_keeps_the_lease_and_a_paused_standby_takes_none(standby_on, database):
    paused = standby_on(start=False)
    paused.start(paused=True)
    until(lambda: states(database) == ["paused"])
    owner = firing_one(standby_on)
    owner.pause()
    until(lambda: states(database) == ["paused", "paused"])
    owner.store._firing.next_request = -1.0
    until(lambda: owner.store._firing.next_request > 0)
    assert lease_of(database)["by"] == presence_of(owner.store).name
    paused.resume()
    until(lambda: states(database) == ["waiting", "paused"])
    owner.resume()
    until(lambda: states(database) == ["waiting", "firing"])


# The document before the first job


@pytest.mark.parametrize("begins", ["after a takeover", "after a resume"])
def test_document_says_firing_before_the_first_job_is_handed_out(scheduler_on, database, begins):
    """A job may end its process at once, and the next start looks at this document."""
    told = []
    options = {"others": "wait"} if begins == "after a takeover" else {}
    scheduler = scheduler_on(start=False, **options)
    scheduler.executor.then = lambda job: told.extend(states(database))
    scheduler.start(paused=begins == "after a resume")
    scheduler.store.add_job(job("a"))
    if begins == "after a resume":
        until(lambda: states(database) == ["paused"])
    presence_of(scheduler.store)._write = lambda *args: None  # the thread is late
    if begins == "after a resume":
        scheduler.resume()
    until(lambda: scheduler._process_jobs() is not None and told)
    assert told == ["firing"]


def test_scheduler_fires_after_a_resume_though_its_document_can_not_be_written(
    scheduler_on, database, monkeypatch
):
    scheduler = start_paused(scheduler_on)
    until(lambda: states(database) == ["paused"])
    scheduler.store.add_job(job("a"))
    presence = presence_of(scheduler.store)
    database.command("collMod", "jobs_meta", validator={"state": {"$ne": "firing"}})
    scheduler.resume()
    assert submitted(scheduler) == ["a"]
    database.command("collMod", "jobs_meta", validator={})
    presence.beat_soon()
    until(lambda: states(database) == ["firing"])


# A long start


def test_presence_does_not_expire_while_a_start_takes_long(scheduler_on, database, monkeypatch):
    scheduler = scheduler_on(others="refuse", start=False)
    scheduler.store._lifecycle._presence._beat_seconds = 0.05
    goes_on = threading.Event()
    create = scheduler.store._lifecycle.indexes.create

    def build():
        goes_on.wait(60)
        create()

    monkeypatch.setattr(scheduler.store._lifecycle.indexes, "create", build)
    thread = threading.Thread(target=scheduler.start)
    thread.start()
    (first,) = until(lambda: documents(database))
    until(lambda: documents(database)[0]["expires"] > first["expires"])
    with pytest.raises(ValueError, match='others is "refuse"'):
        scheduler_on(others="refuse", start=False).start()
    goes_on.set()
    thread.join(60)
    assert documents(database)[0]["_id"] == first["_id"]


def test_thread_of_a_start_that_fails_ends(scheduler_on, database, monkeypatch):
    scheduler = scheduler_on(start=False)
    monkeypatch.setattr(scheduler.store._lifecycle.indexes, "create", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scheduler.start()
    until(lambda: not [t for t in threading.enumerate() if t.name == "jobstore-presence"])
    assert documents(database) == []
