"""Mirror and collection agree after random writes by us, a second client and a stock store."""

import itertools

import pytest
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from jobstore import JobsLookupError, MongoDBJobStore
from support.jobs import at, job
from support.manual_scheduler import by_hand
from support.mirrored_stores import wait_until_equal

pytestmark = pytest.mark.slow

COLLECTIONS = itertools.count()
NAMES = st.sampled_from("abcde")
TIMES = st.one_of(st.none(), st.integers(0, 9))


class Mirrored(RuleBasedStateMachine):
    place = None  # the database's name and the client

    def __init__(self):
        super().__init__()
        database, client = self.place()
        collection = f"jobs{next(COLLECTIONS)}"
        self.ours = MongoDBJobStore(database, collection, client=client, mirror=True)
        self.second = MongoDBJobStore(database, collection, client=client)
        self.stock = StockMongoDBJobStore(database, collection, client=client)
        self.scheduler = by_hand(self.ours, self.meanwhile)
        self.change = None

    def meanwhile(self, job):
        """Make a change by others in mid-cycle."""
        if self.change:
            change, self.change = self.change, None
            change()

    def put(self, who, job):
        """Add or replace a job; a removal of that id may still wait for a flush."""
        while True:
            try:
                return who.add_job(job)
            except ConflictingIdError:
                pass
            try:
                return who.update_job(job)
            except JobLookupError:
                assert who is not self.ours, "add_job flushes deferred writes first"

    def names(self):
        return self.second.collection.distinct("_id")

    @rule(name=NAMES, seconds=TIMES, ends=st.booleans(), who=st.integers(0, 2))
    def put_by(self, name, seconds, ends, who):
        stores = [self.ours, self.second, self.stock]
        self.put(stores[who], job(name, seconds, **({"every": None} if ends else {})))

    @rule(name=NAMES, who=st.integers(0, 2))
    def remove_by(self, name, who):
        if name in self.names():
            try:
                [self.ours, self.second, self.stock][who].remove_job(name)
            except JobLookupError:
                assert name not in self.names()

    @rule(names=st.lists(NAMES, unique=True), seconds=TIMES)
    def put_many(self, names, seconds):
        self.ours.add_jobs([job(name, seconds) for name in names], replace_existing=True)

    @rule(names=st.lists(NAMES))
    def remove_many(self, names):
        there = [name for name in dict.fromkeys(names) if name in self.names()]
        refused = []
        try:
            self.ours.remove_jobs(there)
        except JobsLookupError as error:  # deferred writes had removed them
            refused = error.job_ids
        assert not set(refused) & set(self.names())

    @rule()
    def run_a_cycle(self):
        self.scheduler._process_jobs()

    @rule(name=NAMES, seconds=TIMES, removes=st.booleans())
    def run_a_cycle_in_which_others_write(self, name, seconds, removes):
        def change():
            if not removes:
                self.put(self.second, job(name, seconds))
            elif name in self.names():
                self.second.remove_job(name)

        self.change = change
        self.scheduler._process_jobs()
        self.change = None

    @rule()
    def mirror_equals_collection_when_nothing_is_pending(self):
        store = self.ours
        wait_until_equal(store)
        assert store._reader.is_live
        due = [each["_id"] for each in store.collection.find() if is_due(each)]
        assert sorted(each.id for each in store.get_due_jobs(at(10))) == sorted(due)
        store.get_next_run_time()

    def teardown(self):
        self.mirror_equals_collection_when_nothing_is_pending()
        self.ours.shutdown()


def is_due(document):
    run_time = document["next_run_time"]
    return run_time is not None and run_time <= at(10).timestamp()


def test_mirror_and_collection_agree_after_random_writes(database, session_client):
    class OnServer(Mirrored):
        def place(self):
            return database.name, session_client

    run_state_machine_as_test(
        OnServer,
        settings=settings(
            max_examples=30,
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
        ),
    )
