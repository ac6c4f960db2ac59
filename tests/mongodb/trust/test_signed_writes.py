"""Each write of a state writes its signature, in every mode."""

import logging
import pickle
from datetime import timedelta
from hmac import compare_digest

import pytest

from jobstore import MongoDBJobStore
from jobstore.mongodb import restored
from jobstore.mongodb.trust import signatures
from jobstore.mongodb.trust.signatures import Signatures
from support.clocks import SchedulerClock
from support.jobs import at, job, run_times
from support.overdue import ago, due
from support.signed_stores import EVERY, KEY, Stubborn, every_mode, reasons, recurring
from support.waiting import until

HOUR = 3600


def settle(store):
    until(lambda: not store._write_behind.has_pending)


def signature(store, job_id="a"):
    return store.collection.find_one({"_id": job_id})["signature"]


def use(argument):
    argument.used = True


# Outside a cycle


@every_mode
def test_each_call_that_writes_a_job_signs_its_state(signed_on, mode):
    scheduler, store = signed_on(**mode)
    scheduler.add_job(print, "interval", hours=1, id="scheduled")
    store.add_job(job("added", 1))
    store.add_jobs([job("bulk", 2), job("replaced", 3), job("updated", 4)])
    store.add_jobs([job("replaced", 5), job("new", 6)], replace_existing=True)
    store.update_job(job("added", 7, args=(1,)))
    store.update_jobs([job("updated", 8, args=(1,))])
    scheduler.modify_job("scheduled", args=(1,))
    scheduler.reschedule_job("bulk", trigger="interval", hours=2)
    scheduler.pause_job("updated")
    scheduler.pause_job("new")
    scheduler.resume_job("new")
    assert len(store) == 6
    assert reasons(store.collection) == {}


def test_signature_names_a_key_and_covers_namespace_id_and_state(signed_on):
    _, store = signed_on([job("ä")])
    (document,) = store.collection.find()
    sign = Signatures([KEY], store.collection.full_name, False).sign
    assert document["signature"] == sign("ä", document["job_state"])
    others = [
        sign("a", document["job_state"]),
        sign("ä", document["job_state"] + b"."),
        Signatures([KEY], "other.jobs", False).sign("ä", document["job_state"]),
        Signatures([KEY + b"x"], store.collection.full_name, False).sign(
            "ä", document["job_state"]
        ),
    ]
    assert len({each["of"] for each in others} | {document["signature"]["of"]}) == 5
    assert [each["by"] == document["signature"]["by"] for each in others] == [True] * 3 + [False]


@every_mode
def test_update_of_a_held_job_without_a_run_time_signs_its_state(signed_on, mode):
    _, store = signed_on([due("a", ago(HOUR))], catch_up="hold", **mode)
    store.update_job(job("a", None, args=(1,)))
    assert "held" in store.collection.find_one()
    assert reasons(store.collection) == {}


# In a cycle


@every_mode
def test_each_cycle_signs_the_states_that_it_writes(signed_on, monkeypatch, mode):
    clock = SchedulerClock(monkeypatch, at(0))
    jobs = [recurring("kept"), recurring("pickled", args=([],)), job("once", every=None)]
    scheduler, store = signed_on(jobs, **mode)
    signatures = set()
    for _ in range(3):
        scheduler._process_jobs()
        settle(store)
        assert reasons(store.collection) == {}
        signatures |= {each["signature"]["of"] for each in store.collection.find()}
        clock.now += timedelta(seconds=EVERY)
    assert sorted(run_times(store)) == ["kept", "pickled"]
    assert len(signatures) == 6


@every_mode
def test_old_state_with_a_new_run_time_is_signed(signed_on, mode, caplog):
    scheduler, store = signed_on(
        [recurring("a", args=(Stubborn(),))], then=lambda job: use(*job.args), **mode
    )
    scheduler._process_jobs()
    settle(store)
    assert "keeps its old state" in caplog.text
    assert reasons(store.collection) == {}
    (document,) = store.collection.find()
    assert document["next_run_time"] > at(EVERY).timestamp()


@every_mode
def test_merged_states_are_signed(signed_on, database, session_client, mode):
    """Another scheduler with the key changes a job while it runs, and one that ends."""
    other = MongoDBJobStore(database.name, client=session_client, signing_keys=[KEY])

    def change(running):
        other.update_job(recurring(running.id, args=(1,)))

    scheduler, store = signed_on([recurring("goes on"), job("ends", every=None)], change, **mode)
    scheduler._process_jobs()
    settle(store)
    stored = {each["_id"]: each for each in store.collection.find()}
    assert sorted(stored) == ["ends", "goes on"]  # the stored trigger goes on in both
    assert all(pickle.loads(each["job_state"])["args"] == (1,) for each in stored.values())
    assert all(each["next_run_time"] > at(0).timestamp() for each in stored.values())
    assert reasons(store.collection) == {}
    other.shutdown()


# At a start, and afterwards


@every_mode
@pytest.mark.parametrize("policy", ["skip", "spread:600", "hold"])
def test_overdue_jobs_that_are_moved_are_signed(signed_on, mode, policy):
    _, store = signed_on([due("a", ago(HOUR)), due("b", ago(2 * HOUR))], catch_up=policy, **mode)
    before = {"a": ago(HOUR).timestamp(), "b": ago(2 * HOUR).timestamp()}
    assert all(run_times(store)[name] != before[name] for name in before)
    assert reasons(store.collection) == {}


@every_mode
def test_held_jobs_that_are_released_are_signed(signed_on, mode):
    scheduler, store = signed_on([due("a", ago(HOUR))], catch_up="hold", **mode)
    assert store.release_held() == 1
    assert reasons(store.collection) == {}
    scheduler._process_jobs()
    assert scheduler.executor.submitted[0][0] == "a"


@every_mode
def test_quarantine_keeps_the_signature(signed_on, mode):
    _, store = signed_on([recurring("a")], **mode)
    before = signature(store)
    records = store._reader.due(at(0).timestamp(), 10, {}).records
    store._quarantine.put([store._quarantine.write_for(each, "why", 1.0) for each in records])
    assert [each.reason for each in store.quarantined()] == ["why"]
    assert signature(store) == before
    assert store.restore_quarantined() == ["a"]
    assert reasons(store.collection) == {}


@every_mode
def test_unsigned_job_may_run_and_is_signed_by_its_first_write(signed_on, stock, mode):
    stock.add_job(recurring("a"))
    scheduler, store = signed_on(unsigned="run", **mode)
    assert reasons(store.collection) == {"a": "it has no signature"}
    scheduler._process_jobs()
    settle(store)
    assert [name for name, _ in scheduler.executor.submitted] == ["a"]
    assert reasons(store.collection) == {}


@every_mode
@pytest.mark.parametrize("args", [(), ([],)], ids=["kept", "restored"])
def test_state_that_comes_back_as_it_was_written_is_not_verified_again(
    signed_on, monkeypatch, mode, args
):
    clock = SchedulerClock(monkeypatch, at(0))
    scheduler, store = signed_on([recurring("a", args=args)], **mode)
    verified = []

    def compare(found, expected):
        verified.append(found)
        return compare_digest(found, expected)

    monkeypatch.setattr(signatures.hmac, "compare_digest", compare)
    for _ in range(4):
        scheduler._process_jobs()
        settle(store)
        clock.now += timedelta(seconds=EVERY)
    assert len(scheduler.executor.submitted) == 4
    assert len(verified) == 1
    assert reasons(store.collection) == {}


def test_states_that_are_not_verified_again_take_a_bounded_memory(signed_on, monkeypatch):
    SchedulerClock(monkeypatch, at(0))
    monkeypatch.setattr(restored, "MAX_KEPT", 20)
    jobs = [recurring(f"{n:02}", args=([],)) for n in range(50)]
    scheduler, store = signed_on([*jobs, recurring("large", args=(["x" * restored.MAX_STATE],))])
    scheduler._process_jobs()
    settle(store)
    trusted = store._restored_jobs._trusted
    assert 0 < len(trusted) <= 20
    assert "large" not in trusted
    some = next(iter(trusted))
    store.update_job(recurring(some))
    assert some not in trusted
    store.shutdown()
    assert not trusted


@every_mode
def test_write_of_a_run_mends_a_signature_that_others_changed_alone(
    signed_on, database, monkeypatch, mode
):
    SchedulerClock(monkeypatch, at(0))

    def change(running):
        database["jobs"].update_one({"_id": running.id}, {"$set": {"signature.of": b"x"}})

    scheduler, store = signed_on([recurring("a")], change, **mode)
    scheduler._process_jobs()
    settle(store)
    assert run_times(store)["a"] == at(EVERY).timestamp()
    assert reasons(store.collection) == {}


# Without keys


@every_mode
def test_store_without_keys_writes_no_signature(signed_on, mode):
    scheduler, store = signed_on([recurring("a"), recurring("b")], signing_keys=None, **mode)
    scheduler._process_jobs()
    store.update_job(recurring("b", args=(1,)))
    settle(store)
    assert not any("signature" in each for each in store.collection.find())


@every_mode
def test_store_without_keys_takes_the_signature_of_a_state_that_it_changes_away(
    signed_on, database, session_client, mode
):
    """Such a job counts as unsigned, and not as one that somebody has tampered with."""
    names = ["kept", "pickled", "updated", "paused", "replaced"]
    MongoDBJobStore(database.name, client=session_client, signing_keys=[KEY]).add_jobs(
        [recurring(name, args=([],) if name == "pickled" else ()) for name in names]
    )
    scheduler, store = signed_on(signing_keys=None, **mode)
    scheduler.pause_job("paused")
    store.update_job(recurring("updated", args=(1,)))
    store.add_jobs([recurring("replaced", args=(1,))], replace_existing=True)
    scheduler._process_jobs()
    settle(store)
    assert set(reasons(store.collection).values()) == {"it has no signature"}
    assert sorted(reasons(store.collection)) == sorted(names)


@every_mode
@pytest.mark.parametrize("policy", ["skip", "spread:600", "hold"])
def test_store_without_keys_that_catches_up_takes_the_signatures_away(
    signed_on, database, session_client, mode, policy
):
    MongoDBJobStore(database.name, client=session_client, signing_keys=[KEY]).add_jobs(
        [due("a", ago(HOUR))]
    )
    _, store = signed_on(signing_keys=None, catch_up=policy, **mode)
    assert reasons(store.collection) == {"a": "it has no signature"}


def test_store_without_keys_that_releases_a_held_job_takes_its_signature_away(signed_on):
    _, first = signed_on([due("a", ago(HOUR))], catch_up="hold")
    first.shutdown()
    _, store = signed_on(signing_keys=None)
    assert store.release_held() == 1
    assert reasons(store.collection) == {"a": "it has no signature"}


def test_log_shows_no_key(signed_on, caplog):
    caplog.set_level(logging.DEBUG)
    _, store = signed_on([recurring("a")])
    assert KEY.decode() not in caplog.text
    assert KEY.decode() not in repr(vars(store)) + repr(vars(store._codec.signatures))
