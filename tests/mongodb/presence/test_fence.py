"""A store that has lost its right to fire fires no job more."""

import logging

from pymongo import MongoClient

from jobstore import MongoDBJobStore
from support.jobs import at, job, run_times
from support.standbys import (
    ask,
    beat,
    expire,
    firing_one,
    lease_of,
    lose_lease,
    presence_of,
    standing,
    states,
    submitted,
)
from support.waiting import until

LOST = "is fired here any more"


def test_no_job_is_fired_after_the_lease_has_ended(standby_on, caplog):
    scheduler = firing_one(standby_on)
    scheduler.store.add_jobs([job(f"{n}", n) for n in range(5)])
    scheduler.executor.then = lambda job: lose_lease(scheduler) if job.id == "2" else None
    scheduler.store._lifecycle.beating.stop()
    assert submitted(scheduler) == ["0", "1", "2"]
    assert submitted(scheduler) == []
    assert caplog.text.count(LOST) == 1
    assert not scheduler.store.status().firing
    until(lambda: not scheduler.store.status().pending)
    late = [each for each, time in run_times(scheduler.store).items() if time < at(10).timestamp()]
    assert sorted(late) == ["3", "4"], "the jobs that were fired are written"


def test_shutdown_in_mid_cycle_lets_the_cycle_fire_no_other_job(standby_on, caplog):
    """A signal's handler may shut the store down, and the standby fires the rest."""
    scheduler = firing_one(standby_on)
    scheduler.store.add_jobs([job(f"{n}", n) for n in range(5)])
    scheduler.executor.then = lambda job: scheduler.store.shutdown() if job.id == "2" else None
    assert submitted(scheduler) == ["0", "1", "2"]
    assert LOST not in caplog.text


def test_lease_that_nobody_took_meanwhile_is_renewed_without_a_takeover(standby_on, caplog):
    caplog.set_level(logging.INFO)
    scheduler = firing_one(standby_on)
    lose_lease(scheduler)
    assert not scheduler.store._firing.still_fires()
    ask(scheduler)
    until(lambda: scheduler.store._firing.may_fire)
    assert not scheduler.store._firing.stands_by
    assert caplog.text.count(LOST) == 1
    assert "Taking over" not in caplog.text
    lose_lease(scheduler)
    assert not scheduler.store._firing.still_fires()
    assert caplog.text.count(LOST) == 2, "each loss is logged"


def test_lease_that_another_held_meanwhile_is_taken_over_anew(standby_on, database, caplog):
    first, second = firing_one(standby_on), standby_on()
    first.store._lifecycle.beating.stop()
    expire(database)
    until(lambda: not standing(second))
    lose_lease(first)
    assert submitted(first) == []
    assert caplog.text.count(LOST) == 1
    first.store._firing.request("scheduler:first:1:x", list)
    assert not first.store._firing.may_fire
    second.store.shutdown()
    first.store._firing.request("scheduler:first:1:x", list)
    assert first.store._firing.may_fire
    assert first.store._firing.stands_by
    assert not standing(first)


def test_jobs_read_under_a_lost_lease_are_not_fired_under_the_next_one(
    standby_on, database, caplog
):
    """Meanwhile another has held the lease, and fired these jobs."""
    first, second = firing_one(standby_on), standby_on()
    first.store._lifecycle.beating.stop()
    first.store.add_jobs([job(f"{n}", n, every=None) for n in range(5)])

    def lose_lease_and_get_it_anew(job):
        if job.id == "2":
            expire(database, _id="firing")
            until(lambda: not standing(second))
            submitted(second)
            second.store.shutdown()
            first.store._firing.request("scheduler:first:1:x", list)
            assert first.store._firing.may_fire

    first.executor.then = lose_lease_and_get_it_anew
    assert submitted(first) == ["0", "1", "2"]
    assert {"3", "4"} <= {job_id for job_id, _ in second.executor.submitted}
    assert caplog.text.count(LOST) == 1
    until(lambda: not standing(first))
    assert submitted(first) == []
    assert len(first.executor.submitted) == 3
    until(lambda: run_times(first.store) == {})


def test_holder_whose_lease_was_taken_early_stops_at_its_next_request(standby_on, database):
    """The server's clock may have been set forward."""
    scheduler = firing_one(standby_on)
    other = {"$set": {"token": "another", "by": "scheduler:other:1:x"}}
    database["jobs_meta"].update_one({"_id": "firing"}, other)
    ask(scheduler)
    until(lambda: not scheduler.store._firing.may_fire)
    assert lease_of(database)["token"] == "another"


def test_shutdown_does_not_end_the_lease_of_another(standby_on, database):
    scheduler = firing_one(standby_on)
    scheduler.store._lifecycle.beating.stop()
    database["jobs_meta"].update_one({"_id": "firing"}, {"$set": {"token": "another"}})
    scheduler.store.shutdown()
    assert lease_of(database)["token"] == "another"


def test_store_without_a_scheduler_leaves_the_lease_to_others(standby_on, server, database):
    client = MongoClient(server.uri)
    idle = MongoDBJobStore(database.name, client=client, others="wait", lease=3600)
    idle.start(None, "idle")
    try:
        until(lambda: "idle" in states(database))
        until(lambda: presence_of(idle)._next_beat > 0)  # its thread has looked for work
        firing_one(standby_on)
        assert lease_of(database)["by"] != presence_of(idle).name
    finally:
        idle.shutdown()
        client.close()


def test_paused_standby_leaves_the_lease_to_others_until_it_is_resumed(standby_on, database):
    paused = standby_on(start=False)
    paused.start(paused=True)
    running = firing_one(standby_on)
    assert standing(paused)
    running.store.shutdown()
    paused.resume()
    until(lambda: not standing(paused))


def test_store_that_does_not_wait_asks_for_no_lease(scheduler_on, database):
    scheduler = scheduler_on()
    beat(scheduler.store)
    assert scheduler.store._firing.fence is None
    assert lease_of(database) is None


def test_forked_process_has_no_right_to_fire(standby_on):
    scheduler = firing_one(standby_on)
    firing_right = scheduler.store._firing
    token = firing_right.lease._token
    presence_of(scheduler.store).forked()
    assert not firing_right.may_fire
    assert firing_right.lease._token != token
    assert presence_of(scheduler.store).name is None
