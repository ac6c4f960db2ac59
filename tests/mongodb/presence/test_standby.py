"""A hot standby fires jobs only while no other scheduler does."""

import logging
import time

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from pymongo.errors import PyMongoError

from jobstore import MongoDBJobStore
from jobstore.mongodb.presence import firing, lease
from support.jobs import YEARS, at, job, run_times
from support.mirrored_stores import wait_until_live
from support.proxy import Proxy
from support.standbys import (
    beat,
    expire,
    firing_one,
    lease_of,
    presence_of,
    standing,
    states,
    submitted,
)
from support.waiting import until

LOST = "is fired here any more"


def test_single_scheduler_takes_over_at_once(standby_on, database):
    scheduler = firing_one(standby_on)
    scheduler.store.add_job(job("a"))
    assert submitted(scheduler) == ["a"]
    assert lease_of(database)["by"] == presence_of(scheduler.store).name
    until(lambda: states(database) == ["firing"])
    assert scheduler.store.status().firing


def test_second_scheduler_waits_until_the_first_has_shut_down(standby_on, database, caplog):
    caplog.set_level(logging.INFO)
    first = firing_one(standby_on)
    first.store.add_job(job("a"))
    second = standby_on()
    until(lambda: f"Standing by: {presence_of(first.store).name} fires" in caplog.text)
    for _ in range(3):
        assert submitted(second) == []
    assert not second.store.status().firing
    assert 0 < second._process_jobs() <= 0.5, "a scheduler that can't be woken looks again"
    assert submitted(first) == ["a"]
    first.store.add_job(job("b"))
    until(lambda: not first.store.status().pending)
    first.store.shutdown()
    until(lambda: not standing(second))
    assert {each for each, _ in second.executor.submitted} | set(submitted(second)) == {"b"}
    assert "ended without a shutdown" not in caplog.text, "the first one ended cleanly"


def test_standby_logs_no_error_and_neither_does_the_other(standby_on, caplog):
    first = firing_one(standby_on)
    second = standby_on()
    beat(first.store)
    beat(second.store)
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
    assert first.store.status().others == second.store.status().others == ()


def test_holder_that_stood_still_is_no_other_scheduler_that_fires(standby_on, database, caplog):
    first, second = firing_one(standby_on), standby_on()
    until(lambda: "firing" in states(database))
    first.store._lifecycle.beating.stop()  # as if its process stood still
    expire(database, _id="firing")  # the lease, before the presence
    until(lambda: not standing(second))
    for _ in range(2):  # the first beat has looked at the others once the second one writes
        beat(second.store)
    assert second.store.status().others == ()
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


def test_takeover_after_a_crash_runs_small_batches(standby_on, database, caplog):
    caplog.set_level(logging.INFO)
    database["jobs_meta"].insert_one(
        {"_id": "scheduler:gone:1:x", "state": "firing", "others": "wait"}
    )
    scheduler = standby_on()
    scheduler.store.add_jobs([job(f"{n}", n) for n in range(10)])
    assert "ended without a shutdown" not in caplog.text, "not before the takeover"
    until(lambda: not standing(scheduler))
    found = [submitted(scheduler) for _ in range(3)]
    batches = [len(each) for each in found if each]
    assert "ended without a shutdown" in caplog.text
    assert max(batches) <= 4


def test_lease_that_has_ended_is_taken_over_with_a_warning(standby_on, database, caplog):
    first = firing_one(standby_on)
    name = presence_of(first.store).name
    second = standby_on()
    first.store._lifecycle.beating.stop()  # as if its process stood still
    expire(database)
    until(lambda: not standing(second))
    assert f"Taking over the jobs of {database.name}.jobs: the lease of {name}" in caplog.text
    assert lease_of(database)["previous"] == name


def test_catching_up_waits_for_the_takeover(standby_on, database):
    first = firing_one(standby_on)
    second = standby_on(catch_up="skip")
    first.store.add_job(job("a", every=10**6))
    assert submitted(second) == []
    assert run_times(first.store) == {"a": at(0).timestamp()}
    first.store.shutdown()
    until(lambda: not standing(second))
    assert submitted(second) == []
    assert run_times(second.store)["a"] > time.time() - 60, "the overdue run is skipped"


def test_quarantine_is_retried_at_the_takeover(standby_on, database):
    first = firing_one(standby_on)
    first.store.add_job(job("a", executor="gone"))
    assert submitted(first) == []
    until(lambda: first.store.quarantined())
    second = standby_on()
    second.add_executor(type(second.executor)(), "gone")
    assert submitted(second) == []
    assert second.store.quarantined()
    first.store.shutdown()
    until(lambda: not standing(second))
    until(lambda: second.store.quarantined() == [])


def test_takeover_that_fails_is_tried_again(standby_on, server, database, monkeypatch):
    scheduler = standby_on()
    scheduler.store.add_job(job("a"))
    lifecycle = scheduler.store._lifecycle
    catch_up, failures = lifecycle._catch_up.run, []

    def fail_once():
        if not failures:
            failures.append(True)
            raise OSError("gone")
        catch_up()

    monkeypatch.setattr(lifecycle._catch_up, "run", fail_once)
    until(lambda: standing(scheduler) and failures)
    until(lambda: not standing(scheduler))
    assert {each for each, _ in scheduler.executor.submitted} | set(submitted(scheduler)) == {"a"}


def test_mirror_is_filled_while_the_store_waits(scheduler_on, database):
    first = scheduler_on(others="wait")
    until(lambda: not standing(first))
    second = scheduler_on(others="wait", mirror=True)
    mirror = second.store._reader.mirror
    first.store.add_jobs([job(f"{n}", n, every=None) for n in range(50)])
    until(lambda: len(mirror._index) == 50)
    assert not second.store._reader.is_live
    first.store.shutdown()
    until(lambda: not standing(second))
    wait_until_live(second.store)


def test_mirror_that_lags_fires_no_job_that_the_last_owner_has_fired(
    server, scheduler_on, database
):
    first = firing_one(scheduler_on, others="wait")
    first.store.add_jobs([job("once", every=None), job("again")])
    with Proxy(server.nodes[0].port) as proxy:
        second = scheduler_on(proxy.uri, others="wait", mirror=True)
        until(lambda: len(second.store._reader.mirror._index) == 2)
        proxy.fail("getMore", "hang", 10_000)
        until(lambda: proxy.held)  # from now on the change stream reports nothing
        assert sorted(submitted(first)) == ["again", "once"]
        first.store.shutdown()
        until(lambda: not standing(second))
        assert submitted(second) == second.executor.submitted == []
        assert not second.store._reader.is_live
        proxy.release()
        wait_until_live(second.store)
        assert submitted(second) == second.executor.submitted == []
        second.store.shutdown()


@pytest.mark.parametrize("mirror", [False, True])
def test_idle_scheduler_that_gets_its_lease_anew_takes_over_at_once(server, database, mirror):
    """No job is due for years, and the change stream shows that."""
    options = {"host": server.uri, "others": "wait", "lease": 3600, "mirror": mirror}
    store = MongoDBJobStore(database.name, **options)
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    right = store._firing

    def ask():
        right.next_request = -1.0
        store._lifecycle.beating.go_on()

    try:
        until(lambda: not right.stands_by)
        until(lambda: mirror or store._lifecycle.sees_all_changes)
        store.add_job(job("later", YEARS))
        database["jobs_meta"].delete_one({"_id": "firing"})
        ask()
        until(lambda: right.leases == 2 and not right.stands_by)

        until(lambda: any(cycle.last_query for cycle in store._cycles._all()))
        another = {"$set": {"token": "another", "by": "scheduler:other:1:x"}}
        database["jobs_meta"].update_one({"_id": "firing"}, another)
        ask()
        until(lambda: not right.may_fire)
        database["jobs_meta"].delete_one({"_id": "firing"})
        ask()
        until(lambda: right.leases == 3 and not right.stands_by)
    finally:
        scheduler.shutdown()


def test_scheduler_is_woken_at_the_takeover(server, database, scheduler_on):
    """An idle scheduler would sleep for half a second, and this one for an hour."""
    first = scheduler_on(others="wait")
    until(lambda: not standing(first))
    store = MongoDBJobStore(database.name, host=server.uri, others="wait", lease=3600, watch=False)
    second = BackgroundScheduler(timezone="UTC")
    second.add_jobstore(store, "default")
    second.start()
    woken = []
    wakeup = second.wakeup
    second.wakeup = lambda: (woken.append(True), wakeup())
    first.store.shutdown()
    until(lambda: woken)
    until(lambda: not store._firing.stands_by)
    second.shutdown()


def test_unfenced_scheduler_is_waited_for(scheduler_on, standby_on, database, caplog):
    caplog.set_level(logging.INFO)
    unfenced = scheduler_on()
    standby = standby_on()
    until(lambda: f"Standing by: {presence_of(unfenced.store).name}" in caplog.text)
    assert submitted(standby) == []
    assert standing(standby)
    unfenced.store.shutdown()
    until(lambda: not standing(standby))


def test_start_without_an_answer_waits_and_then_takes_over(standby_on):
    """Each start takes over anew: the last one gave the lease back."""
    scheduler = firing_one(standby_on)
    scheduler.store.shutdown()
    scheduler.store.start(scheduler, "default")
    until(lambda: not standing(scheduler))


def test_second_start_without_a_shutdown_keeps_the_lease(standby_on, database):
    scheduler = firing_one(standby_on)
    before = lease_of(database)
    scheduler.store.start(scheduler, "default")
    assert standing(scheduler) or lease_of(database)["expires"] > before["expires"]
    until(lambda: not standing(scheduler))
    assert lease_of(database)["token"] == before["token"]


# Faults


@pytest.mark.parametrize("how", ["close", "lose"])
def test_request_that_fails_is_sent_again(server, standby_on, database, caplog, how):
    with Proxy(server.nodes[0].port) as proxy:
        scheduler = standby_on(proxy.uri, start=False)
        fail_leases(proxy, how, 2)
        scheduler.start()
        until(lambda: not standing(scheduler))
        assert proxy.fault_count == 2
        assert lease_of(database)["by"] == presence_of(scheduler.store).name
        scheduler.store.shutdown()
    assert caplog.text.count("Unable to tell other schedulers") == 1


def fail_leases(proxy, how, times):
    """Let the next requests for the lease fail."""

    def fault(request):
        is_request = b"findAndModify\x00" in request and b"\x00firing\x00" in request
        if is_request and proxy.fault_count < times:
            proxy.fault_count += 1
            return how
        return ""

    proxy.faults.append(fault)


def test_lost_reply_gives_no_right_before_the_next_request(server, scheduler_on, database):
    with Proxy(server.nodes[0].port) as proxy:
        scheduler = scheduler_on(proxy.uri)
        held = lease.FiringLease(scheduler.store._connection, 100)
        fail_leases(proxy, "lose", 1)
        with pytest.raises(PyMongoError):
            held.request("scheduler:a:1:x")
        assert lease_of(database)["by"] == "scheduler:a:1:x", "the server has granted it"
        assert not held.is_held
        assert held.request("scheduler:a:1:x")
        assert held.is_held


def test_lease_whose_reply_was_lost_is_given_back(server, scheduler_on, database):
    with Proxy(server.nodes[0].port) as proxy:
        scheduler = scheduler_on(proxy.uri)
        held = lease.FiringLease(scheduler.store._connection, 100)
        fail_leases(proxy, "lose", 1)
        with pytest.raises(PyMongoError):
            held.request("scheduler:a:1:x")
        held.give_back()
    assert lease_of(database) is None


def test_outage_longer_than_the_lease_ends_the_right_to_fire(server, standby_on, database, caplog):
    with Proxy(server.nodes[0].port) as proxy:
        scheduler = firing_one(standby_on, uri=proxy.uri, lease=1)
        fail_leases(proxy, "close", 10_000)
        until(lambda: not scheduler.store._firing.may_fire)
        until(lambda: LOST in caplog.text)
        assert submitted(scheduler) == []
        proxy.release()
        until(lambda: not standing(scheduler) and scheduler.store._firing.may_fire)
        assert caplog.text.count(LOST) == 1
        scheduler.store.shutdown()


def test_requests_come_often_enough_to_take_over_within_a_second(standby_on):
    """A standby asks twice a second, or four times in a lease; a holder three times in it."""
    assert firing.STANDBY_SECONDS <= 0.5
    scheduler = firing_one(standby_on, lease=30)
    right = scheduler.store._firing
    assert right.next_request - time.monotonic() <= firing.RENEW_SECONDS
    second = standby_on(lease=30)
    until(lambda: second.store._firing._told_holder)
    assert second.store._firing.next_request - time.monotonic() <= firing.STANDBY_SECONDS


def test_lease_is_measured_from_before_the_request(standby_on, monkeypatch):
    scheduler = firing_one(standby_on, lease=100)
    scheduler.store._lifecycle.beating.stop()
    held = lease.FiringLease(scheduler.store._connection, 100)
    scheduler.store.shutdown()
    scheduler.store.start(scheduler, "default")
    scheduler.store._lifecycle.beating.stop()
    scheduler.store.collection.database["jobs_meta"].delete_one({"_id": "firing"})
    before = time.monotonic()
    find, sent = type(scheduler.store._connection.meta).find_one_and_update, []

    def slow(*args, **options):
        answer = find(*args, **options)
        sent.append(time.monotonic())
        return answer

    monkeypatch.setattr(type(scheduler.store._connection.meta), "find_one_and_update", slow)
    assert held.request("scheduler:a:1:x")
    assert before + 100 <= held.ends_at < sent[0] + 100
