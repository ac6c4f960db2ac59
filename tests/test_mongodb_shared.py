"""Many schedulers on one collection: claims, waiting, and changes from outside."""

import logging

import pytest
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from mongo import YEARS, Commands, Submissions, at, by_hand, job, names, run_times, until
from proxy import Proxy
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb import claimed, lease, skipped


@pytest.fixture
def make(server, database):
    """Makes stores that share a collection, each with a client of its own."""
    clients, stores = [], []

    def make(uri=server.uri, start=True, **options):
        commands = Commands()
        clients.append(MongoClient(uri, event_listeners=[commands]))
        options = {"shared": True, "watch": False, **options}
        store = MongoDBJobStore(database.name, client=clients[-1], **options)
        store.commands = commands
        if start:
            store.start(None, "default")
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.shutdown()
    for client in clients:
        client.close()


class Clock:
    """The monotonic clock, as the store's modules see it; a test may let time pass."""

    def __init__(self, collection):
        self._collection = collection
        self.passed = 0.0
        self.time = lease.time.time

    def monotonic(self):
        return CLOCK() + self.passed

    def pass_by(self, seconds):
        """For us, and for the server, whose leases end earlier by so much."""
        self.passed += seconds
        self._collection.update_many(
            {"acquired_until": {"$type": "date"}},
            [{"$set": {"acquired_until": {"$subtract": ["$acquired_until", seconds * 1000]}}}],
        )


CLOCK = lease.time.monotonic


@pytest.fixture
def clock(database, monkeypatch):
    clock = Clock(database["jobs"])
    for module in (lease, claimed, skipped):
        monkeypatch.setattr(module, "time", clock)
    return clock


def run(store, then=None):
    """One cycle of a real scheduler on a store; returns the ids submitted, and the wait."""
    scheduler = store._scheduler
    if scheduler is None:
        scheduler = by_hand(store, then)
    scheduler.executor.then = then
    scheduler.executor.submitted.clear()
    wait = scheduler._process_jobs()
    return [job_id for job_id, _ in scheduler.executor.submitted], wait


def ids(jobs):
    return [each.id for each in jobs]


def leased(store):
    """The ids of the documents that are leased now."""
    query = {"$expr": {"$gt": ["$acquired_until", "$$NOW"]}}
    return sorted(document["_id"] for document in store.collection.find(query))


# Claims


@pytest.mark.parametrize("ending", [False, True])
def test_a_cycle_is_at_most_six_commands(make, ending):
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


def test_an_idle_cycle_is_two_commands(make):
    store = make()
    store.add_job(job("a", 100 * YEARS))
    run(store)
    store.commands.names.clear()
    assert run(store)[0] == []
    assert store.commands.names == ["find", "aggregate"]


def test_no_index_beyond_the_stock_one_is_made(make):
    assert sorted(make().collection.index_information()) == [
        "_id_",
        "next_run_time_1",
        "quarantine.since_1",  # sparse, and empty
    ]


def test_what_one_has_claimed_the_other_does_not_get(make):
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


def test_what_the_cycle_did_not_touch_is_released(make):
    first, second = make(), make()
    first.add_jobs([job("a"), job("b", 1)])
    (a, _) = first.get_due_jobs(at(10))
    a.next_run_time = at(20)
    first.update_job(a)
    first.get_next_run_time()
    assert ids(second.get_due_jobs(at(10))) == ["b"]


def test_a_cycle_that_broke_off_is_released_by_the_next_one(make):
    store = make()
    store.add_jobs([job("a"), job("b", 1)])
    store.get_due_jobs(at(10))  # and the scheduler's thread dies
    assert sorted(store.get_due_jobs(at(10)), key=lambda each: each.id) == store.get_all_jobs()


def test_shutdown_in_mid_cycle_releases(make):
    first, second = make(), make()
    first.add_jobs([job("a"), job("b", 1)])
    due = first.get_due_jobs(at(10))
    first.shutdown()
    assert list(due) == [], "what was released is not fired here"
    assert ids(second.get_due_jobs(at(10))) == ["a", "b"]


def test_a_nested_claim_is_beside_the_cycle(make):
    """A synchronous job that asks for due jobs itself gets what is free; nothing is lost."""
    store = make(batch_size=2)
    store.add_jobs([job(name, seconds) for seconds, name in enumerate("abcd")])
    nested = []

    def ask(job):
        if job.id == "a":
            nested.extend(ids(store.get_due_jobs(at(10))))
            store.get_next_run_time()

    assert run(store, ask)[0] == ["a", "b"]
    assert nested == ["c", "d"]
    assert leased(store) == ["c", "d"]  # till their lease ends


# Waiting


def test_what_is_leased_elsewhere_is_looked_at_in_a_second(make):
    first, second = make(), make()
    first.add_jobs([job("a"), job("b", 100)])
    first.get_due_jobs(at(10))
    assert second.get_due_jobs(at(10)) == []
    assert at(10) < second.get_next_run_time() <= at(12)
    assert first.get_next_run_time() == at(0), "its own it has given back"


def test_an_idle_one_waits_for_the_next_run_time(make):
    first, second = make(), make()
    first.add_job(job("a", 100))
    assert second.get_due_jobs(at(10)) == []
    assert second.get_next_run_time() == at(100)
    ahead = first.get_due_jobs(at(100))  # its clock is a minute and a half ahead
    assert ids(ahead) == ["a"]
    assert second.get_due_jobs(at(10)) == []
    assert second.get_next_run_time() == at(100), "not due here, leased or not"
    assert second.get_due_jobs(at(101)) == []
    assert at(101) < second.get_next_run_time() <= at(103)


def test_free_jobs_behind_leased_ones_are_not_waited_for(make):
    first, second = make(batch_size=2), make()
    first.add_jobs([job(name, seconds) for seconds, name in enumerate("abc")])
    first.get_due_jobs(at(10))
    assert second.get_next_run_time() == at(2)


def test_an_abandoned_lease_is_taken_over_when_it_ends_and_not_before(make):
    """By the server's clock; a real one."""
    first, second = make(lease=1), make()
    first.add_job(job("a"))
    started = CLOCK()
    assert ids(first.get_due_jobs(at(10))) == ["a"]
    assert ids(until(lambda: second.get_due_jobs(at(10)))) == ["a"]
    assert CLOCK() - started >= 1


def test_a_lost_claim_is_tried_again(make, monkeypatch):
    """Others win all that was found, in between: the next ones are found."""
    first, second = make(batch_size=2), make()
    first.add_jobs([job(name, seconds) for seconds, name in enumerate("abcd")])
    change_twice = claimed.change_twice

    def after_another(connection, query, fields):
        monkeypatch.setattr(claimed, "change_twice", change_twice)
        assert ids(second_batch(second)) == ["a", "b"]
        return change_twice(connection, query, fields)

    def second_batch(store):
        store._batch_size = 2
        return store.get_due_jobs(at(10))

    monkeypatch.setattr(claimed, "change_twice", after_another)
    first.commands.names.clear()
    assert ids(first.get_due_jobs(at(10))) == ["c", "d"]
    assert first.commands.names == ["find", "update", "find", "update", "find"]


def test_what_is_lost_all_the_time_is_left_for_a_while(make, monkeypatch):
    store = make()
    store.add_job(job("a"))
    monkeypatch.setattr(claimed, "change_twice", lambda *_: 0)
    store.commands.names.clear()
    assert store.get_due_jobs(at(10)) == []
    assert store.commands.names == ["find"] * claimed.TRIES


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
    assert sorted(second.collection.find_one()) == ["_id", "job_state", "next_run_time"]
    assert [each.args for each in third.get_due_jobs(at(10))] == [(1,)]


def test_what_this_store_changes_is_not_fired_by_the_cycle_that_had_claimed_it(make):
    """It is free from then on: any scheduler fires it, as it now is."""
    store = make()
    store.add_jobs([job("a"), job("b", 1)])
    changed = job("b", 1, args=(1,))
    assert run(store, lambda each: each.id == "a" and store.update_job(changed))[0] == ["a"]
    assert ids(make().get_due_jobs(at(10))) == ["b"]


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
    assert found["a"].args == (7,), "theirs was not overwritten"
    expected = {
        "pause": None,
        "reschedule": at(5000),
        "modify": at(YEARS),  # both changes stand
        "reschedule to due": at(-5),
    }
    assert found["a"].next_run_time == expected[change]
    if change == "reschedule to due":
        assert ids(make().get_due_jobs(at(10))) == ["a"], "at once: nobody holds it"


# Fencing


def twice(caplog):
    """The ids that are logged to run twice."""
    return [record.args[0] for record in caplog.records if "runs twice" in record.msg]


def finish(store):
    """Run all that is due."""
    all_ids = []
    while True:
        done, wait = run(store)
        all_ids += done
        if wait > 0:
            return all_ids


def test_one_that_was_paused_beyond_its_lease_fires_only_what_it_was_at(make, clock, caplog):
    """Its successor has run all, and it overwrites none of that; what ran twice is logged."""
    first, second = make(), make()
    first.add_jobs(
        [job(name, n, every=YEARS if n % 2 else None) for n, name in enumerate("abcdef")]
    )
    taken = []

    def pause(job):
        if job.id == "c":
            clock.pass_by(11)
            taken.extend(finish(second))

    assert run(first, pause)[0] == ["a", "b", "c"]
    assert taken == list("abcdef")
    assert sorted(twice(caplog)) == ["a", "b", "c"]
    assert run_times(first) == {
        name: at(n + YEARS).timestamp() for n, name in [(1, "b"), (3, "d"), (5, "f")]
    }


def test_a_successor_that_is_at_it_keeps_its_claims(make, clock, caplog):
    first, second = make(), make()
    first.add_jobs([job(name, n) for n, name in enumerate("abc")])

    def pause(job):
        if job.id == "b":
            clock.pass_by(11)
            assert ids(second.get_due_jobs(at(10))) == ["a", "b", "c"]

    assert run(first, pause)[0] == ["a", "b"]
    assert leased(first) == ["a", "b", "c"]
    assert run_times(first) == {
        "a": at(0).timestamp(),
        "b": at(1).timestamp(),
        "c": at(2).timestamp(),
    }
    assert [record.args[0] for record in caplog.records if "runs twice" in record.msg] == ["a", "b"]


def test_one_that_nobody_succeeded_goes_on(make, clock, caplog):
    store = make()
    store.add_jobs([job(name, n) for n, name in enumerate("abc")])
    assert run(store, lambda each: each.id == "b" and clock.pass_by(11))[0] == ["a", "b", "c"]
    assert set(run_times(store).values()) == {at(n + YEARS).timestamp() for n in range(3)}
    assert "twice" not in caplog.text


def test_the_lease_is_renewed_at_half_time_by_two_commands(make, clock):
    first, second = make(), make()
    first.add_jobs([job(name, n) for n, name in enumerate("abc")])
    during = []

    def slowly(job):
        if job.id == "a":
            first.commands.names.clear()
            clock.pass_by(6)
        if job.id == "b":  # ten seconds after the claim, five after the renewal
            during.extend(first.commands.names)
            clock.pass_by(4)
            assert second.get_due_jobs(at(10)) == []

    assert run(first, slowly)[0] == ["a", "b", "c"]
    assert during == ["update", "find"]


def test_what_cannot_be_renewed_is_not_fired(make, server, clock, caplog):
    with Proxy(server.nodes[0].port) as proxy:
        store = make(proxy.uri)
        store.add_jobs([job(name, n) for n, name in enumerate("abc")])

        def cut(job):
            proxy.fail("update", "close", times=99)
            clock.pass_by(6)

        done, wait = run(store, cut)
        assert done == ["a"]
        assert "Unable to renew the lease" in caplog.text
        assert 0 < wait <= 10
        proxy.release()
        clock.pass_by(11)
        assert run(store)[0] == ["b", "c"]
    assert set(run_times(make()).values()) == {at(n + YEARS).timestamp() for n in range(3)}


def test_only_what_is_still_held_is_fired_after_a_renewal(make, clock, caplog):
    first, second = make(), make(batch_size=1)
    first.add_jobs([job(name, n) for n, name in enumerate("abc")])

    def pause(each):
        if each.id == "a":
            first.collection.delete_one({"_id": "a"})
            clock.pass_by(11)
            assert ids(second.get_due_jobs(at(10))) == ["b"]

    assert run(first, pause)[0] == ["a", "c"]
    assert "1 due jobs are left to others" in caplog.text


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
        assert proxy.happened == 1
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
        clock.pass_by(11)
        assert run(make())[0] == ["a", "b"]


@pytest.mark.parametrize("how", ["close", "lose"])
@pytest.mark.parametrize("ends", [False, True])
def test_a_lost_reply_of_a_flush_is_harmless(make, server, caplog, how, ends):
    with Proxy(server.nodes[0].port) as proxy:
        store = make(proxy.uri)
        store.add_job(job("a", every=None if ends else YEARS))
        command = "delete" if ends else "update"
        assert run(store, lambda _: proxy.fail(command, how))[0] == ["a"]
        assert proxy.happened == 1
        assert run_times(store) == ({} if ends else {"a": at(YEARS).timestamp()})
        assert leased(store) == []
        assert "twice" not in caplog.text


def test_a_release_that_fails_costs_the_rest_of_the_lease(make, server, caplog):
    with Proxy(server.nodes[0].port) as proxy:
        store = make(proxy.uri)
        store.add_job(job("a"))
        assert ids(store.get_due_jobs(at(10))) == ["a"]
        proxy.fail("update", "close", times=2)
        assert store.get_next_run_time() > at(10)
        assert "Unable to release" in caplog.text
        assert leased(store) == ["a"]


# Jobs that this process can't run


def test_a_job_whose_executor_is_elsewhere_is_left_to_others(make, caplog):
    caplog.set_level(logging.INFO)
    here, there = make(), make()
    here.add_jobs([job("a"), job("b", 1, executor="special"), job("c", 2)])
    assert run(here)[0] == ["a", "c"]
    assert 'Leaving job "b" to other schedulers: there is no executor' in caplog.text
    assert leased(here) == []
    assert 0 < run(here)[1] <= 60, "nobody waits for it here, but for a look in a minute"
    scheduler = by_hand(there)
    scheduler.add_executor(Submissions(), "special")
    scheduler._process_jobs()
    assert scheduler._executors["special"].submitted[0][0] == "b"
    assert here.quarantined() == []


def damaged(store, name):
    store.collection.update_one({"_id": name}, {"$set": {"job_state": b"no pickle"}})


@pytest.mark.parametrize("what", ["damaged", "no executor"])
def test_what_nobody_takes_for_a_minute_is_quarantined(make, clock, caplog, what):
    store = make()
    store.add_jobs([job("a"), job("b", 1, executor="gone" if what == "no executor" else "default")])
    if what == "damaged":
        damaged(store, "b")
    run(store)
    clock.pass_by(59)
    run(store)
    assert store.quarantined() == []
    clock.pass_by(2)
    run(store)
    assert ids(store.quarantined()) == ["b"]
    assert leased(store) == []


def test_a_minute_is_counted_anew_when_others_have_run_it(make, clock):
    store = make()
    store.add_job(job("b", executor="special"))
    run(store)
    clock.pass_by(61)
    store.collection.update_one({"_id": "b"}, {"$set": {"next_run_time": at(5).timestamp()}})
    run(store)
    clock.pass_by(59)
    run(store)
    assert store.quarantined() == []
    clock.pass_by(2)
    run(store)
    assert ids(store.quarantined()) == ["b"]


def test_one_that_can_run_nothing_does_not_claim_all(make, monkeypatch, caplog):
    monkeypatch.setattr(claimed, "MOST", 3)
    store = make()
    store.add_jobs([job(f"{n}", n, executor="special") for n in range(5)])
    run(store)
    store.commands.names.clear()
    run(store)
    assert "update" not in store.commands.names
    assert "3 due jobs can't be run here: claiming no more" in caplog.text


# The mark


def test_a_scheduler_that_is_not_told_does_not_start(make):
    make()
    other = make(shared=False, start=False)
    with pytest.raises(ValueError, match=r"shared is False.*Say shared=True.*end_sharing"):
        other.start(None, "default")
    other.remove_all_jobs()
    with pytest.raises(ValueError, match="shared is False"):
        other.start(None, "default")


def test_the_mark_stays_until_sharing_is_ended(make):
    store = make()
    store.add_jobs([job("a"), job("b", 1)])
    run(store)
    store.get_due_jobs(at(10))
    store.shutdown()
    other = make(shared=False, start=False)
    other.end_sharing()
    for document in other.collection.find():
        assert sorted(document) == ["_id", "job_state", "next_run_time"]
    other.start(None, "default")
    assert names(other) == ["a", "b"]


def test_since_when_is_told_and_is_not_changed_by_later_starts(make, database):
    make()
    since = database["jobs_meta"].find_one()["since"]
    make()
    assert database["jobs_meta"].find_one() == {"_id": "sharing", "since": since}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mirror": True}, "shared is True and mirror is True"),
        ({"mirror": "exclusive"}, "shared is True and mirror is 'exclusive'"),
        ({"lease": 0}, "lease is 0"),
        ({"lease": True}, "lease is True"),
        ({"lease": float("inf")}, "lease is inf"),
        ({"lease": "10"}, "lease is '10'"),
        ({"shared": "yes"}, "shared is 'yes'"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MongoDBJobStore(**{"shared": True, **options})
