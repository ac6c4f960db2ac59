"""Fencing: a scheduler that has lost its lease fires no further job and overwrites nothing."""

import os
import warnings

import pytest
from pymongo.errors import PyMongoError

from jobstore.mongodb.sharing import claims, lease
from support.jobs import YEARS, at, job, run_times
from support.manual_scheduler import by_hand
from support.proxy import Proxy
from support.shared_stores import ids, leased, logged_to_run_twice, run, run_all_due
from support.waiting import in_thread

# Fencing


def test_scheduler_paused_beyond_its_lease_fires_only_the_current_job(make, clock, caplog):
    """Its successor has run all jobs. The flush overwrites none of them, and logs second runs."""
    first, second = make(), make()
    first.add_jobs(
        [job(name, n, every=YEARS if n % 2 else None) for n, name in enumerate("abcdef")]
    )
    taken = []

    def pause(job):
        if job.id == "c":
            clock.advance(11)
            taken.extend(run_all_due(second))

    assert run(first, pause)[0] == ["a", "b", "c"]
    assert taken == list("abcdef")
    assert sorted(logged_to_run_twice(caplog)) == ["a", "b", "c"]
    assert run_times(first) == {
        name: at(n + YEARS).timestamp() for n, name in [(1, "b"), (3, "d"), (5, "f")]
    }


def test_successor_keeps_its_claims_when_the_paused_scheduler_goes_on(make, clock, caplog):
    first, second = make(), make()
    first.add_jobs([job(name, n) for n, name in enumerate("abc")])

    def pause(job):
        if job.id == "b":
            clock.advance(11)
            assert ids(second.get_due_jobs(at(10))) == ["a", "b", "c"]

    assert run(first, pause)[0] == ["a", "b"]
    assert leased(first) == ["a", "b", "c"]
    assert run_times(first) == {
        "a": at(0).timestamp(),
        "b": at(1).timestamp(),
        "c": at(2).timestamp(),
    }
    assert logged_to_run_twice(caplog) == ["a", "b"]


def test_paused_scheduler_without_a_successor_runs_all_its_jobs(make, clock, caplog):
    store = make()
    store.add_jobs([job(name, n) for n, name in enumerate("abc")])
    assert run(store, lambda each: each.id == "b" and clock.advance(11))[0] == ["a", "b", "c"]
    assert set(run_times(store).values()) == {at(n + YEARS).timestamp() for n in range(3)}
    assert "twice" not in caplog.text


def test_lease_is_renewed_at_half_time_by_two_commands(make, clock):
    first, second = make(), make()
    first.add_jobs([job(name, n) for n, name in enumerate("abc")])
    during = []

    def slowly(job):
        if job.id == "a":
            first.commands.names.clear()
            clock.advance(6)
        if job.id == "b":  # ten seconds after the claim, five after the renewal
            during.extend(first.commands.names)
            clock.advance(4)
            assert second.get_due_jobs(at(10)) == []

    assert run(first, slowly)[0] == ["a", "b", "c"]
    assert during == ["update", "find"]


def test_jobs_are_not_fired_when_their_lease_cannot_be_renewed(make, server, clock, caplog):
    with Proxy(server.nodes[0].port) as proxy:
        store = make(proxy.uri)
        store.add_jobs([job(name, n) for n, name in enumerate("abc")])

        def cut(job):
            proxy.fail("update", "close", times=99)
            clock.advance(6)

        done, wait = run(store, cut)
        assert done == ["a"]
        assert "Unable to renew the lease" in caplog.text
        assert 0 < wait <= 10
        proxy.release()
        clock.advance(11)
        assert run(store)[0] == ["b", "c"]
    assert set(run_times(make()).values()) == {at(n + YEARS).timestamp() for n in range(3)}


def test_failed_renewal_does_not_extend_the_lease(make, server, clock, caplog):
    """An ended job that another scheduler has run meanwhile is logged."""
    with Proxy(server.nodes[0].port) as proxy:
        first, second = make(proxy.uri), make()
        first.add_jobs([job("a", every=None), job("b", 1, every=None)])
        answer, others = first.get_next_run_time, []

        def cut(_):
            proxy.fail("update", "close", times=2)
            clock.advance(6)

        def later():
            clock.advance(5)
            others.extend(run_all_due(second))
            first.get_next_run_time = answer
            return answer()

        by_hand(first)
        first.get_next_run_time = later
        assert run(first, cut)[0] == ["a"]
        assert others == ["a", "b"]
        assert logged_to_run_twice(caplog) == ["a"]


def test_renewal_slower_than_the_lease_renews_nothing(make, clock, caplog, monkeypatch):
    store = make()
    store.add_jobs([job(name, n) for n, name in enumerate("abc")])
    stored_ids = lease.queries.stored_ids

    def slowly(*args):
        found = stored_ids(*args)
        clock.advance(11)
        return found

    monkeypatch.setattr(lease.queries, "stored_ids", slowly)
    assert run(store, lambda each: each.id == "a" and clock.advance(6))[0] == ["a"]
    assert "2 due jobs are left to others" in caplog.text


def test_released_jobs_are_not_renewed(make, clock):
    store = make()
    store.add_jobs([job("a"), job("b", 1), job("x", 2, executor="special")])
    during = []

    def slowly(each):
        if each.id == "a":
            clock.advance(6)
        else:
            during.extend(leased(store))

    assert run(store, slowly)[0] == ["a", "b"]
    assert during == ["a", "b"]


def test_second_run_of_an_ended_job_is_logged_only_if_another_scheduler_ran_it(make, clock, caplog):
    """The flush logs a job that was gone before it, and not one that it removed itself."""
    first, second = make(), make(batch_size=1)
    first.add_jobs([job("a", every=None), job("b", 1, every=None)])
    others = []

    def pause(each):
        if each.id == "b":
            clock.advance(11)
            others.extend(run(second)[0])

    assert run(first, pause)[0] == ["a", "b"]
    assert others == ["a"]
    assert logged_to_run_twice(caplog) == ["a"]
    assert run_times(first) == {}


def test_only_jobs_still_held_are_fired_after_a_renewal(make, clock, caplog):
    first, second = make(), make(batch_size=1)
    first.add_jobs([job(name, n) for n, name in enumerate("abc")])

    def pause(each):
        if each.id == "a":
            first.collection.delete_one({"_id": "a"})
            clock.advance(11)
            assert ids(second.get_due_jobs(at(10))) == ["b"]

    assert run(first, pause)[0] == ["a", "c"]
    assert "1 due jobs are left to others" in caplog.text


def test_second_run_is_logged_when_the_job_was_changed_since(make, clock, caplog):
    """The successor has run the job. Then another process changed it, which unset the claim."""
    first, second, third = make(), make(), make()
    first.add_job(job("a"))

    def pause(_):
        clock.advance(11)
        run_all_due(second)
        changed = third.lookup_job("a")
        changed._modify(args=(5,))
        third.update_job(changed)

    assert run(first, pause)[0] == ["a"]
    assert logged_to_run_twice(caplog) == ["a"]
    assert third.lookup_job("a").args == (5,)


def test_query_by_another_thread_does_not_disarm_fencing(make, clock):
    """Another thread iterates over due jobs of its own when the scheduler's cycle begins."""
    first, second = make(), make()
    first.add_jobs([job("a"), job("z", 1)])
    by_hand(first)
    halfway = []

    def look():
        jobs = iter(first.get_due_jobs(at(0)))
        halfway.extend([jobs, next(jobs)])

    in_thread(look)

    def pause(each):
        clock.advance(11)
        run_all_due(second)
        second.update_job(job("z", 5000, args=(9,)))

    assert run(first, pause)[0] == ["z"]
    assert run_times(first)["z"] == at(5000).timestamp()


def test_claimed_job_that_another_thread_changes_is_not_fired_by_the_cycle(make):
    store = make()
    store.add_jobs([job("a"), job("b", 1)])
    changed = job("b", 1, args=(1,))
    assert run(store, lambda each: each.id == "a" and in_thread(store.update_job, changed))[0] == [
        "a"
    ]
    assert [each.args for each in make().get_due_jobs(at(10))] == [(1,)]


def test_shutdown_by_another_thread_leaves_the_rest_due(make):
    store, other = make(), make()
    store.add_jobs([job("a"), job("b", 1), job("c", 2)])
    assert run(store, lambda each: each.id == "b" and in_thread(store.shutdown))[0] == ["a", "b"]
    assert run_times(other) == {
        "a": at(YEARS).timestamp(),
        "b": at(1).timestamp(),
        "c": at(2).timestamp(),
    }
    assert leased(other) == []


def in_child(act):
    """Call `act` in a forked process, which then ends as a worker does."""
    child = os.fork()
    if child == 0:
        warnings.simplefilter("ignore")  # PyMongo warns about clients and forks
        act()
        os._exit(0)
    os.waitpid(child, 0)


def test_forked_process_does_not_release_its_parents_claims(make):
    store, other = make(), make()
    store.add_jobs([job("a"), job("b", 1)])
    taken = []

    def fork(each):
        if each.id == "a":
            in_child(store.shutdown)
            taken.extend(run(other)[0])

    assert run(store, fork)[0] == ["a", "b"]
    assert taken == []


def test_child_that_a_job_forks_can_write(make):
    store = make()
    store.add_jobs([job("a"), job("b", 1)])

    def fork(each):
        if each.id == "a":
            in_child(lambda: store.remove_job("b"))

    run(store, fork)
    assert run_times(store).keys() == {"a"}


# Releases


def test_jobs_are_released_after_a_failed_renewal_if_still_ours(make, server, clock):
    with Proxy(server.nodes[0].port) as proxy:
        store = make(proxy.uri, lease=3600)
        store.add_jobs([job(name, n) for n, name in enumerate("abc")])

        def cut(_):
            proxy.fail("update", "close", times=2)
            clock.advance(1801)

        assert run(store, cut)[0] == ["a"]
        assert leased(store) == []


@pytest.mark.parametrize("ended_by", ["the next cycle", "shutdown"])
def test_claim_that_could_not_be_read_is_released(make, monkeypatch, ended_by):
    store, other = make(lease=3600), make()
    store.add_jobs([job("a"), job("b", 1)])

    def fail(*_):
        monkeypatch.undo()
        raise PyMongoError("planned")

    monkeypatch.setattr(store._reader, "_read_claimed", fail)
    with pytest.raises(PyMongoError, match="planned"):
        store.get_due_jobs(at(10))
    assert leased(other) == ["a", "b"]
    if ended_by == "shutdown":
        store.shutdown()
        assert leased(other) == []
    else:
        assert ids(store.get_due_jobs(at(10))) == ["a", "b"]


def test_other_jobs_run_when_the_overdue_check_fails(make, clock, monkeypatch):
    store = make(lease=3600)
    store.add_jobs([job("b", executor="special")])
    run(store)
    clock.advance(61)
    store.add_job(job("good", 1))

    def fail(*_):
        raise PyMongoError("planned")

    monkeypatch.setattr(claims.queries, "stored_ids", fail)
    assert run(store)[0] == ["good"]
    monkeypatch.undo()
    assert leased(store) == []


# The server's failures


@pytest.mark.parametrize("command", ["update", "find"])
@pytest.mark.parametrize("how", ["close", "lose"])
def test_a_lost_reply_of_a_claim_is_harmless(make, server, command, how):
    with Proxy(server.nodes[0].port) as proxy:
        store = make(proxy.uri)
        store.add_jobs([job(name, n) for n, name in enumerate("abc")])
        run_once = by_hand(store)
        proxy.fail(command, how)
        run_once._process_jobs()
        assert proxy.fault_count == 1
        assert [name for name, _ in run_once.executor.submitted] == ["a", "b", "c"]
        assert leased(store) == []


def test_a_claim_that_fails_fires_nothing_and_is_taken_over(make, server, clock):
    with Proxy(server.nodes[0].port) as proxy:
        store = make(proxy.uri)
        store.add_jobs([job("a"), job("b", 1)])
        scheduler = by_hand(store)
        proxy.fail("update", "lose", times=2)
        assert 0 < scheduler._process_jobs() <= 10
        assert scheduler.executor.submitted == []
        assert leased(store) == ["a", "b"]
        clock.advance(11)
        assert run(make())[0] == ["a", "b"]


@pytest.mark.parametrize("how", ["close", "lose"])
@pytest.mark.parametrize("ends", [False, True])
def test_a_lost_reply_of_a_flush_is_harmless(make, server, caplog, how, ends):
    with Proxy(server.nodes[0].port) as proxy:
        store = make(proxy.uri)
        store.add_job(job("a", every=None if ends else YEARS))
        command = "delete" if ends else "update"
        assert run(store, lambda _: proxy.fail(command, how))[0] == ["a"]
        assert proxy.fault_count == 1
        assert run_times(store) == ({} if ends else {"a": at(YEARS).timestamp()})
        assert leased(store) == []
        assert "twice" not in caplog.text


def test_failed_release_keeps_the_job_leased(make, server, caplog):
    with Proxy(server.nodes[0].port) as proxy:
        store = make(proxy.uri)
        store.add_job(job("a"))
        assert ids(store.get_due_jobs(at(10))) == ["a"]
        proxy.fail("update", "close", times=2)
        assert store.get_next_run_time() > at(10)
        assert "Unable to release" in caplog.text
        assert leased(store) == ["a"]
