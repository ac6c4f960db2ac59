"""Our MongoDB store and the stock store have the same documents after the same operations."""

import itertools

import pytest
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobstore import MongoDBJobStore
from jobstore.mongodb.queries import NO_LEASE
from support.jobs import at, job, names
from support.manual_scheduler import by_hand

TWO_YEARS = 2 * 365 * 86400  # seconds: from 2020 on, some runs are past and the next is in future
NUMBERS = st.integers(0, 20)
STEPS = st.one_of(st.none(), st.integers(0, 4), st.just(3 * 10**9 // 100))
COLLECTIONS = itertools.count()


@st.composite
def jobs(draw):
    """Draw a job. No two jobs have the same run time, as the stock store would not order them."""
    number, step = draw(NUMBERS), draw(STEPS)
    return job(
        f"{number:02}",
        None if step is None else 100 * step + number,
        every=draw(st.sampled_from([None, TWO_YEARS])),
        args=(draw(st.integers()),),
        coalesce=draw(st.booleans()),
        misfire_grace_time=draw(st.sampled_from([None, 1])),
        max_instances=99,
    )


def outcome(call, *args):
    """Return the result of a call in a form that can be compared, or the error that it raises."""
    try:
        result = call(*args)
    except (ConflictingIdError, JobLookupError) as error:
        return type(error), str(error)
    if isinstance(result, list):
        return [state_of(each) for each in result]
    return state_of(result) if hasattr(result, "trigger") else result


def state_of(job):
    return {**job.__getstate__(), "trigger": repr(job.trigger)}


def in_order(state):
    run_time = state["next_run_time"]
    return run_time is None, run_time or at(0), state["id"]


class Agreement(RuleBasedStateMachine):
    place = None  # a function that returns the database's name and the client
    shared = None

    def __init__(self):
        super().__init__()
        number = next(COLLECTIONS)
        database, client = self.place()
        stock = StockMongoDBJobStore(database, f"stock{number}", client=client)
        ours = MongoDBJobStore(database, f"ours{number}", client=client, shared=self.shared)
        self.schedulers = [by_hand(stock), by_hand(ours)]
        self.stores = [stock, ours]

    def both(self, name, *args):
        expected, ours = (outcome(getattr(store, name), *args) for store in self.stores)
        assert expected == ours
        self.check()

    def check(self):
        stock_fields = dict.fromkeys([*NO_LEASE, "about"], 0)
        expected, ours = (
            list(store.collection.find({}, stock_fields).sort("_id")) for store in self.stores
        )
        assert expected == ours

    @rule(job=jobs())
    def add(self, job):
        self.both("add_job", job)

    @rule(job=jobs())
    def update(self, job):
        self.both("update_job", job)

    @rule(number=NUMBERS)
    def remove(self, number):
        self.both("remove_job", f"{number:02}")

    @rule(number=NUMBERS)
    def look_up(self, number):
        self.both("lookup_job", f"{number:02}")

    @precondition(lambda self: not self.shared)  # get_due_jobs of a shared store claims jobs
    @rule(seconds=st.sampled_from([-1, 0, 5, 110, 450, 3e9, 4e9]))
    def due(self, seconds):
        self.both("get_due_jobs", at(seconds))
        self.both("get_next_run_time")

    @rule()
    def list_all(self):
        expected, ours = (outcome(store.get_all_jobs) for store in self.stores)
        assert ours == sorted(expected, key=in_order)  # the stock store doesn't order paused jobs

    @rule()
    def remove_all(self):
        self.both("remove_all_jobs")

    @rule(added=st.lists(jobs(), max_size=3))
    def run_a_cycle(self, added):
        """Run a whole cycle, in which the first submitted job adds some more."""
        waits = []
        for scheduler, store in zip(self.schedulers, self.stores, strict=True):
            scheduler.executor.submitted.clear()
            todo = list(added)
            scheduler.executor.then = lambda _, todo=todo, store=store: self.add_some(store, todo)
            waits.append(scheduler._process_jobs())
            assert not (todo and scheduler.executor.submitted)  # the first one has added all jobs
        expected, ours = (scheduler.executor.submitted for scheduler in self.schedulers)
        assert expected == ours
        assert waits[0] == pytest.approx(waits[1], abs=60)
        self.check()

    def add_some(self, store, todo):
        while todo:
            job = todo.pop()
            if job.id not in names(store):
                store.add_job(job)


@pytest.mark.parametrize("shared", [False, True])
def test_store_agrees_with_the_stock_store_after_every_operation(database, session_client, shared):
    """A shared store adds the fields of the lease, which the stock store ignores."""

    class OnServer(Agreement):
        def place(self):
            return database.name, session_client

    OnServer.shared = shared
    run_state_machine_as_test(
        OnServer,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )
