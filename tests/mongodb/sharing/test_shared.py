"""Many schedulers on one collection: claims, waiting, and changes from outside."""

import time

import pytest
from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore
from support.jobs import YEARS, at, job, run_times
from support.shared_stores import ids, leased, run
from support.waiting import in_thread, until

# Claims


@pytest.mark.parametrize("ending", [False, True])
def test_cycle_takes_at_most_six_commands(make, ending):
    store = make()
    store.add_jobs(
        job(f"{n:04}", n / 1000, every=None if ending and n % 2 else YEARS) for n in range(1000)
    )
    run(store)
    store._scheduler.wakeup()
    store.remove_all_jobs()
    store.add_jobs(
        job(f"{n:04}", n / 1000, every=None if ending and n % 2 else YEARS) for n in range(1000)
    )
    store.commands.names.clear()
    assert len(run(store)[0]) == 1000
    deletes = ["delete"] if ending else []
    assert store.commands.names == ["find", "update", "find", "update", *deletes, "aggregate"]


def test_idle_cycle_takes_two_commands(make):
    store = make()
    store.add_job(job("a", 100 * YEARS))
    run(store)
    store.commands.names.clear()
    assert run(store)[0] == []
    assert store.commands.names == ["find", "aggregate"]


def test_start_makes_no_index_for_claims(make):
    assert sorted(make().collection.index_information()) == [
        "_id_",
        "next_run_time_1",
        "quarantine.since_1",  # sparse, and empty
    ]


def test_claimed_jobs_are_not_handed_to_another_scheduler(make):
    first, second = make(batch_size=3), make()
    first.add_jobs([job(name, seconds) for seconds, name in enumerate("abcde")])
    assert ids(first.get_due_jobs(at(10))) == ["a", "b", "c"]
    assert leased(first) == ["a", "b", "c"]
    assert ids(second.get_due_jobs(at(10))) == ["d", "e"]
    first.get_next_run_time()
    assert leased(first) == ["d", "e"]


def test_the_flush_reschedules_and_releases_in_one_write(make):
    store = make()
    store.add_jobs([job("a"), job("b", every=None), job("c")])
    assert run(store)[0] == ["a", "b", "c"]
    assert run_times(store) == dict.fromkeys("ac", at(YEARS).timestamp())
    for document in store.collection.find():
        assert document["acquired_until"] is None


def test_jobs_that_were_not_fired_are_released_with_the_cycle(make):
    first, second = make(), make()
    first.add_jobs([job("a"), job("b", 1)])
    for due in first.get_due_jobs(at(10)):
        if due.id == "a":
            due.next_run_time = at(20)
            first.update_job(due)
    first.get_next_run_time()
    assert ids(second.get_due_jobs(at(10))) == ["b"]


def test_next_cycle_releases_the_jobs_of_an_unfinished_one(make):
    store = make()
    store.add_jobs([job("a"), job("b", 1)])
    store.get_due_jobs(at(10))  # then the scheduler's thread dies
    assert sorted(store.get_due_jobs(at(10)), key=lambda each: each.id) == store.get_all_jobs()


def test_shutdown_in_mid_cycle_releases_its_jobs(make):
    first, second = make(), make()
    first.add_jobs([job("a"), job("b", 1)])
    due = first.get_due_jobs(at(10))
    first.shutdown()
    assert list(due) == [], "released jobs are not fired here"
    assert ids(second.get_due_jobs(at(10))) == ["a", "b"]


def test_claim_within_a_cycle_gets_free_jobs_and_is_released_with_it(make):
    """A synchronous job that asks for due jobs itself gets the free ones, and none is lost."""
    store = make(batch_size=2)
    store.add_jobs([job(name, seconds) for seconds, name in enumerate("abcd")])
    nested = []

    def ask(job):
        if job.id == "a":
            nested.extend(ids(store.get_due_jobs(at(10))))
            store.get_next_run_time()

    assert run(store, ask)[0] == ["a", "b"]
    assert nested == ["c", "d"]
    assert leased(store) == [], "jobs that were not fired are released with those of the cycle"
    assert run(store)[0] == ["c", "d"]


@pytest.mark.parametrize("who", ["a job in the cycle", "another thread"])
def test_query_for_a_later_time_does_not_change_the_next_run_time(make, who):
    store = make()
    store.add_jobs([job("a"), job("b", 300)])
    for due in store.get_due_jobs(at(0)):
        later = at(3600)
        beside = (
            in_thread(store.get_due_jobs, later)
            if who == "another thread"
            else store.get_due_jobs(later)
        )
        assert ids(beside) == ["b"]
        due.next_run_time = at(500)
        store.update_job(due)
    assert store.get_next_run_time() == at(300)


# Waiting


def test_leased_due_job_is_checked_again_within_half_a_second(make):
    """A released job then fires within the stock `misfire_grace_time`."""
    first, second = make(), make()
    first.add_jobs([job("a"), job("b", 100)])
    first.get_due_jobs(at(10))
    assert second.get_due_jobs(at(10)) == []
    looks = set()
    for _ in range(9):
        assert second.get_due_jobs(at(10)) == []
        looks.add(second.get_next_run_time())
    assert at(10) < min(looks)
    assert max(looks) < at(10.5)
    assert len(looks) == 9, "random times keep waiting schedulers from meeting again"
    assert first.get_next_run_time() == at(0), "it has released its own jobs"


def test_idle_scheduler_waits_for_the_next_run_time(make):
    first, second = make(), make()
    first.add_job(job("a", 100))
    assert second.get_due_jobs(at(10)) == []
    assert second.get_next_run_time() == at(100)
    ahead = first.get_due_jobs(at(100))  # by a clock that is 90 s ahead
    assert ids(ahead) == ["a"]
    assert second.get_due_jobs(at(10)) == []
    assert second.get_next_run_time() == at(100), "a leased job that is not due by this clock"
    assert second.get_due_jobs(at(101)) == []
    assert at(101) < second.get_next_run_time() <= at(103)


def test_next_run_time_is_that_of_a_free_job_behind_leased_ones(make):
    first, second = make(batch_size=2), make()
    first.add_jobs([job(name, seconds) for seconds, name in enumerate("abc")])
    first.get_due_jobs(at(10))
    assert second.get_next_run_time() == at(2)


def test_an_abandoned_lease_is_taken_over_when_it_ends_and_not_before(make):
    """The server's real clock decides."""
    first, second = make(lease=1), make()
    first.add_job(job("a"))
    started = time.monotonic()
    assert ids(first.get_due_jobs(at(10))) == ["a"]
    assert ids(until(lambda: second.get_due_jobs(at(10)))) == ["a"]
    assert time.monotonic() - started >= 1


def test_unrunnable_jobs_cost_no_further_look(make):
    store = make()
    store.add_jobs([job(name, executor="special") for name in "abc"])
    run(store)
    store.commands.names.clear()
    run(store)
    assert store.commands.names == ["find", "aggregate"]


def test_claims_and_flushes_of_others_do_not_notify_the_scheduler(make, stock):
    """Each run of another scheduler would wake this one, and no run makes a job earlier."""
    watching, other = make(watch=True, start=False), make()
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_jobstore(watching, "default")
    scheduler.start(paused=True)
    until(lambda: watching.status().lag is not None)
    notified = []
    watching._wakeups.notify = notified.append
    other.add_job(job("a"))
    other.add_job(job("ends", 1, every=None))
    assert run(other)[0] == ["a", "ends"]
    stock.update_job(job("a", 5))
    until(lambda: notified[-1:] == [at(5).timestamp()])
    assert notified == [at(seconds).timestamp() for seconds in (0, 1, 5)]
    scheduler.shutdown()


@pytest.mark.parametrize("later", [None, 20])
def test_job_changed_between_claim_and_read_is_released(make, stock, monkeypatch, later):
    store = make()
    store.add_jobs([job("a"), job("b", 1), job("c", 2)])
    bearing = store._reader._read_claimed

    def change_first(*args):
        stock.update_job(job("b", later))
        return bearing(*args)

    monkeypatch.setattr(store._reader, "_read_claimed", change_first)
    assert ids(store.get_due_jobs(at(10))) == ["a", "c"]
    store.get_next_run_time()
    assert leased(store) == []


# Writes outside the cycle


@pytest.mark.parametrize("write", ["update_job", "update_jobs", "add_jobs"])
def test_writes_outside_a_cycle_unset_the_lease(make, write):
    first, second, third = make(), make(), make()
    first.add_job(job("a"))
    first.get_due_jobs(at(10))
    changed = job("a", 0, args=(1,))
    if write == "update_job":
        second.update_job(changed)
    elif write == "update_jobs":
        second.update_jobs([changed])
    else:
        second.add_jobs([changed], replace_existing=True)
    assert sorted(second.collection.find_one()) == ["_id", "about", "job_state", "next_run_time"]
    assert [each.args for each in third.get_due_jobs(at(10))] == [(1,)]


def test_claimed_job_that_its_store_changes_is_not_fired_by_the_cycle(make):
    """The change frees the job, so that any scheduler fires it as it now is."""
    store = make()
    store.add_jobs([job("a"), job("b", 1)])
    changed = job("b", 1, args=(1,))
    assert run(store, lambda each: each.id == "a" and store.update_job(changed))[0] == ["a"]
    assert ids(make().get_due_jobs(at(10))) == ["b"]


def test_a_write_that_fails_does_not_hold_back_a_claimed_job(make):
    store = make()
    store.add_jobs([job("a"), job("b", 1)])

    def conflict(_):
        with pytest.raises(ConflictingIdError):
            store.add_job(job("b"))

    assert run(store, conflict)[0] == ["a"]
    assert leased(store) == []
    assert run(store)[0] == ["b"]


# Changes from outside, while a claim is in flight


def changes(collection, database, client, kind):
    if kind == "stock":
        store = StockMongoDBJobStore(database, client=client)
    else:
        store = MongoDBJobStore(database, client=client, shared=True, watch=False)
    store.start(None, "default")
    return store


@pytest.mark.parametrize("who", ["stock", "ours"])
@pytest.mark.parametrize("change", ["pause", "reschedule", "remove", "modify", "reschedule to due"])
@pytest.mark.parametrize("ends", [False, True])
def test_changes_from_outside_win(make, database, session_client, who, change, ends):
    store = make()
    store.add_job(job("a", every=None if ends else YEARS))
    other = changes(store.collection, database.name, session_client, who)
    new = {"pause": None, "reschedule": 5000, "modify": 0, "reschedule to due": -5, "remove": 0}
    then = {
        "remove": lambda _: other.remove_job("a"),
    }.get(change, lambda _: other.update_job(job("a", new[change], args=(7,))))
    assert run(store, then)[0] == ["a"]
    found = {each.id: each for each in store.get_all_jobs()}
    assert leased(store) == []
    if change == "remove":
        assert found == {}
        return
    assert found["a"].args == (7,), "the change was not overwritten"
    expected = {
        "pause": None,
        "reschedule": at(5000),
        "modify": at(YEARS),  # both changes are kept
        "reschedule to due": at(-5),
    }
    assert found["a"].next_run_time == expected[change]
    if change == "reschedule to due":
        assert ids(make().get_due_jobs(at(10))) == ["a"], "at once, as no scheduler holds a lease"
