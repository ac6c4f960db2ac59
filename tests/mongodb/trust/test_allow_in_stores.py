"""A store with `allow` runs and stores the jobs that the patterns match, and no others."""

import os
import pickle
from decimal import Decimal

import pytest
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from jobstore.triggers import CronTrigger as FastCronTrigger
from support.jobs import names
from support.opcodes import STOP, made, named, state_of, tuple_of
from support.signed_stores import every_mode, recurring
from support.waiting import until

TRUST = {"signing_keys": None, "allow": ["support.jobs:note", "decimal:*"]}


def submitted(scheduler):
    return [name for name, _ in scheduler.executor.submitted]


@every_mode
def test_a_job_that_is_not_allowed_is_not_run(signed_on, stock, mode):
    stock.add_job(recurring("function", func=os.getcwd))
    stock.add_job(recurring("argument", args=(os.getcwd,)))
    patch = named("support.jobs", "note") + tuple_of(b"N", state_of(__kwdefaults__=b"}")) + b"b"
    document = stock.collection.find_one({"_id": "argument"})
    stock.collection.insert_one({**document, "_id": "patch", "job_state": patch + STOP})
    stock.add_job(recurring("good", args=(Decimal("1.5"),)))
    scheduler, store = signed_on(**TRUST, **mode)
    scheduler._process_jobs()
    assert submitted(scheduler) == ["good"]
    if "shared" not in mode:  # there, other schedulers may try these first
        until(lambda: len(store.quarantined()) == 3)  # a mirror's writes come after its cycle
        assert {each.id: each.reason for each in store.quarantined()} == {
            "argument": "it names posix:getcwd, which allow doesn't match",
            "function": "it names posix:getcwd, which allow doesn't match",
            "patch": "its state changes a class or a function",
        }
        assert store.restore_quarantined() == []
        assert len(store.quarantined()) == 3


@every_mode
def test_jobs_of_all_triggers_run(signed_on, mode):
    triggers = [CronTrigger(day=1, timezone="UTC"), FastCronTrigger(month="1-3")]
    triggers.append(OrTrigger([triggers[0]]))
    jobs = [recurring(f"job {number}", trigger=each) for number, each in enumerate(triggers)]
    scheduler, _ = signed_on(jobs, **TRUST, **mode)
    scheduler._process_jobs()
    assert sorted(submitted(scheduler)) == ["job 0", "job 1", "job 2"]


@every_mode
def test_a_job_that_is_not_allowed_is_not_stored(signed_on, mode):
    scheduler, store = signed_on(**TRUST, **mode)
    with pytest.raises(ValueError, match="job 'x' can't be stored: it names posix:getcwd, which"):
        scheduler.add_job(os.getcwd, id="x")
    with pytest.raises(ValueError, match="it names posix:getcwd, which allow doesn't match"):
        store.add_jobs([recurring("y"), recurring("x", args=(os.getcwd,))])
    assert names(store) == []


def test_a_state_that_names_other_triggers_by_texts_imports_none(signed_on, stock):
    stock.add_job(recurring("job"))
    state = pickle.loads(stock.collection.find_one()["job_state"])
    trigger = {"version": 1, "jitter": None, "triggers": [("this:s", {})]}
    cls = named("apscheduler.triggers.combining", "AndTrigger")
    fields = {name: pickle.dumps(value, 3)[2:-1] for name, value in state.items()}
    fields["trigger"] = made(cls, pickle.dumps(trigger, 3)[2:-1])
    hostile = b"\x80\x04" + state_of(**fields) + STOP
    stock.collection.update_one({"_id": "job"}, {"$set": {"job_state": hostile}})
    scheduler, store = signed_on(**TRUST)
    scheduler._process_jobs()
    assert [each.reason for each in store.quarantined()] == [
        "it names this:s, which allow doesn't match"
    ]
