"""Jobs whose states nobody vouches for: they are kept, not run, and their ids are logged."""

import time

import pytest
from apscheduler.jobstores.base import JobLookupError

from jobstore import MongoDBJobStore
from jobstore.mongodb import hand_out
from jobstore.mongodb.sharing import unrunnable
from jobstore.mongodb.trust import keys, undecided
from jobstore.mongodb.writes import cycle
from support.clocks import set_by_hand
from support.jobs import job, names, run_times
from support.signed_stores import KEY, MODES, NEW_KEY, every_mode, reasons
from support.waiting import until

SEES_OTHERS = pytest.mark.parametrize(
    "mode", [MODES["queried"], MODES["mirrored"]], ids=["queried", "mirrored"]
)
UNSHARED = pytest.mark.parametrize(
    "mode", [mode for mode in MODES.values() if "shared" not in mode], ids=list(MODES)[:3]
)
EXCLUSIVE = MODES["exclusive"]  # sees no changes by others
WRONG = [
    ({}, "its signature is damaged"),
    ([], "its signature is damaged"),
    (5, "its signature is damaged"),
    ("", "its signature is damaged"),
    ({"by": [], "of": b""}, "its signature is damaged"),
    ({"by": "0" * 16, "of": "0" * 32}, "its signature is damaged"),
    ({"by": "0" * 16, "of": b"0" * 32}, "its signature is by the unknown key 0000000000000000"),
    ({"by": "x\n" * 9**6, "of": b""}, r"its signature is by the unknown key " + r"x\n" * 8),
    (None, "it has no signature"),
]


def write_signature(collection, job_id, signature):
    collection.update_one({"_id": job_id}, {"$set": {"signature": signature}})


def submitted(scheduler):
    return [name for name, _ in scheduler.executor.submitted]


# In a cycle


@UNSHARED
@pytest.mark.parametrize("unsigned", ["quarantine", "run"])
def test_due_jobs_without_a_right_signature_go_into_quarantine(
    signed_on, database, mode, unsigned, caplog
):
    _, first = signed_on([job(f"bad {n}") for n in range(len(WRONG))])
    first.add_jobs([job("good"), job("other state")])
    first.shutdown()
    for number, (signature, _) in enumerate(WRONG):
        write_signature(database["jobs"], f"bad {number}", signature)
    database["jobs"].update_one({"_id": "other state"}, {"$set": {"job_state": b"."}})
    scheduler, store = signed_on(unsigned=unsigned, **mode)
    scheduler._process_jobs()
    until(lambda: not store._write_behind.has_pending)
    expected = {f"bad {n}": reason for n, (_, reason) in enumerate(WRONG)}
    expected["other state"] = "its signature is wrong"
    ran = ["good"]
    if unsigned == "run":
        ran.append(f"bad {len(WRONG) - 1}")
        del expected[ran[1]]
    assert sorted(submitted(scheduler)) == sorted(ran)
    assert {each.id: each.reason for each in store.quarantined()} == expected
    assert 'Unable to restore job "other state" -- quarantining it: its signature' in caplog.text
    assert store.restore_quarantined() == store.restore_quarantined(["other state"]) == []


def test_shared_job_without_a_right_signature_is_left_to_others_for_a_minute(
    signed_on, monkeypatch, database
):
    scheduler, store = signed_on([job("bad"), job("good")], shared=True)
    write_signature(database["jobs"], "bad", None)
    clock = set_by_hand(monkeypatch, unrunnable)
    scheduler._process_jobs()
    assert submitted(scheduler) == ["good"]
    assert store.quarantined() == []
    clock.now += 61
    scheduler._process_jobs()
    assert [(each.id, each.reason) for each in store.quarantined()] == [
        ("bad", "it has no signature")
    ]


@UNSHARED
def test_untrusted_job_is_kept_even_where_unreadable_ones_are_removed(signed_on, stock, mode):
    """The store may have the wrong keys."""
    _, first = signed_on([job("signed")])
    first.shutdown()
    stock.add_job(job("unsigned"))
    stock.collection.insert_one({"_id": "unreadable", "next_run_time": 1.0, "job_state": b"."})
    scheduler, store = signed_on(
        signing_keys=[NEW_KEY], unreadable="remove", unsigned="run", **mode
    )
    scheduler._process_jobs()
    until(lambda: not store._write_behind.has_pending)
    assert [each.id for each in store.quarantined()] == ["signed"]
    assert names(store) == ["signed", "unsigned"]
    assert submitted(scheduler) == ["unsigned"]


@every_mode
def test_stock_store_reads_and_fires_signed_jobs_and_makes_their_signatures_wrong(
    signed_on, stock, mode
):
    _, store = signed_on([job("a"), job("b")], **mode)
    store.shutdown()
    (first, second) = stock.get_due_jobs(stock.get_next_run_time())
    assert [first.id, second.id] == ["a", "b"]
    first.next_run_time = None
    stock.update_job(first)
    stock.remove_job("b")
    stock.add_job(job("c"))
    assert reasons(store.collection) == {
        "a": "its signature is wrong",
        "c": "it has no signature",
    }


# Conflicts


@every_mode
def test_change_that_nobody_vouches_for_wins_and_is_not_unpickled(
    signed_on, database, session_client, mode
):
    """Another process changes a job while it runs, and ends another one's last run."""
    stranger = MongoDBJobStore(database.name, client=session_client)

    def change(running):
        stranger.update_job(job(running.id, args=(1,)))

    scheduler, store = signed_on([job("goes on"), job("ends", every=None)], change, **mode)
    theirs = {}
    scheduler._process_jobs()
    theirs = {each["_id"]: each for each in store.collection.find()}
    until(lambda: not store._write_behind.has_pending)
    assert {each["_id"]: each["job_state"] for each in store.collection.find()} == {
        name: each["job_state"] for name, each in theirs.items()
    }
    assert set(reasons(store.collection)) == {"goes on", "ends"}
    stranger.shutdown()


# Calls outside a cycle


@every_mode
def test_untrusted_jobs_are_left_out_of_lists_and_can_be_replaced_or_removed(
    signed_on, database, mode, caplog
):
    _, first = signed_on([job("bad"), job("good"), job("worse")])
    first.shutdown()
    for name in ("bad", "worse"):
        write_signature(database["jobs"], name, None)
    scheduler, store = signed_on(**mode)
    assert [each.id for each in scheduler.get_jobs()] == ["good"]
    assert scheduler.get_job("bad") is None
    assert "Unable to restore 2 jobs (bad, worse) -- passing them over: it has no" in caplog.text
    with pytest.raises(JobLookupError, match="can't be restored here: it has no signature"):
        scheduler.modify_job("bad", args=(1,))
    store.update_job(job("bad", args=(1,)))
    scheduler.remove_job("worse")
    assert reasons(store.collection) == {}


@every_mode
@pytest.mark.parametrize("policy", ["skip", "spread:600", "hold"])
def test_untrusted_jobs_stay_overdue(signed_on, database, mode, policy):
    """The first cycle then puts them into quarantine, with the reason."""
    _, first = signed_on([job("bad"), job("good")])
    first.shutdown()
    before = run_times(first)
    write_signature(database["jobs"], "bad", None)
    _, store = signed_on(catch_up=policy, **mode)
    after = run_times(store)
    assert after["bad"] == before["bad"]
    assert after["good"] != before["good"]
    assert reasons(store.collection) == {"bad": "it has no signature"}


@pytest.mark.parametrize("signature", [None, {"$a": [{"$b": 1}]}], ids=str)
def test_untrusted_held_job_is_released_and_then_goes_into_quarantine(
    signed_on, database, signature
):
    """Its state and its signature stay as they are."""
    scheduler, store = signed_on([job("bad")], catch_up="hold")
    jobs, before = database["jobs"], store.collection.find_one()
    jobs.replace_one({}, before | {"signature": signature})
    assert store.release_held() == 1
    after = store.collection.find_one()
    assert after["job_state"] == before["job_state"]
    assert after["signature"] == signature
    scheduler._process_jobs()
    assert [each.id for each in store.quarantined()] == ["bad"]


def test_tags_are_asked_only_of_trusted_jobs(signed_on, database):
    asked = []

    def tags(job):
        asked.append(job.id)
        return ["new"]

    _, store = signed_on([job("bad"), job("good")], tags=lambda job: ["old"])
    store.shutdown()
    write_signature(database["jobs"], "bad", None)
    _, store = signed_on(tags=tags)
    assert store.describe_all() == 1
    assert asked == ["good"]
    assert [store.describe(name).tags for name in ("bad", "good")] == [("old",), ("new",)]


# Keys that may be new


class Rotating:
    """The keys of a callable, and the clock by which it is asked."""

    def __init__(self, monkeypatch):
        self.keys = [KEY]
        self.clock = set_by_hand(monkeypatch, keys, time.monotonic())
        for module in (cycle, hand_out, undecided):
            monkeypatch.setattr(module, "time", self.clock)

    def __call__(self):
        return self.keys


@pytest.mark.parametrize("mode", [mode for mode in MODES.values() if mode != EXCLUSIVE], ids=str)
def test_job_by_a_key_that_may_be_new_stays_due_until_the_keys_are_asked_for_again(
    signed_on, database, session_client, monkeypatch, mode
):
    rotating = Rotating(monkeypatch)
    stranger, owner = (
        MongoDBJobStore(database.name, client=session_client, signing_keys=[key])
        for key in (b"a key of strangers", NEW_KEY)
    )
    scheduler, store = signed_on(signing_keys=rotating, **mode)
    rotating.clock.now += 100
    stranger.add_job(job("stranger"))
    assert until_seen(scheduler, store, 1) == []
    decided = [] if "shared" in mode else ["stranger"]  # the others may have that key
    until(lambda: [each.id for each in store.quarantined()] == decided)
    rotating.keys = [NEW_KEY, KEY]
    rotating.clock.now += 5
    owner.add_job(job("new"))
    assert until_seen(scheduler, store, 2) == []
    assert [each.id for each in store.quarantined()] == decided
    rotating.clock.now += 5
    scheduler._process_jobs()
    assert submitted(scheduler) == ["new"]


def until_seen(scheduler, store, count):
    """Run a cycle once the store knows that many jobs; return the ids of the jobs submitted."""
    until(lambda: len(store) == count)
    scheduler._process_jobs()
    return submitted(scheduler)


@SEES_OTHERS
def test_job_is_not_decided_about_while_the_keys_can_not_be_asked_for(
    signed_on, database, session_client, monkeypatch, mode
):
    rotating = Rotating(monkeypatch)
    answers = [[KEY]]

    def ask():
        if not answers:
            raise OSError("no vault")
        return answers.pop()

    scheduler, store = signed_on(signing_keys=ask, **mode)
    MongoDBJobStore(database.name, client=session_client, signing_keys=[NEW_KEY]).add_job(
        job("new")
    )
    assert until_seen(scheduler, store, 1) == []
    assert store.quarantined() == []
    answers.append([NEW_KEY])
    rotating.clock.now += 10
    scheduler._process_jobs()
    assert submitted(scheduler) == ["new"]


def test_many_jobs_by_an_unknown_key_wait_for_one_question_only(
    signed_on, database, session_client, monkeypatch
):
    rotating = Rotating(monkeypatch)
    scheduler, store = signed_on(signing_keys=rotating, batch_size=1)
    MongoDBJobStore(
        database.name, client=session_client, signing_keys=[b"a key of strangers"]
    ).add_jobs(job(f"stranger {n}") for n in range(5))

    def quarantined():
        for _ in range(5):
            scheduler._process_jobs()
            rotating.clock.now += 0.1
        return len(store.quarantined())

    assert quarantined() == 1
    rotating.clock.now += 10
    assert quarantined() == 5


def test_scheduler_wakes_up_when_the_keys_may_be_asked_for_again(
    signed_on, database, session_client, monkeypatch
):
    rotating = Rotating(monkeypatch)
    scheduler, _ = signed_on(signing_keys=rotating)
    for key, name in ((b"a key of strangers", "stranger"), (NEW_KEY, "new")):
        MongoDBJobStore(database.name, client=session_client, signing_keys=[key]).add_job(job(name))
        wait = scheduler._process_jobs()
        rotating.clock.now += 4
    assert 5.9 < wait <= 6
