"""A store that saves commands agrees with the database after random changes by three stores."""

import itertools
from math import inf

import pytest
from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from jobstore import MongoDBJobStore
from jobstore.mongodb import cached
from jobstore.mongodb.mirroring import change_stream
from support.jobs import at, job
from support.manual_scheduler import Submissions
from support.waiting import until

pytestmark = pytest.mark.slow

COLLECTIONS = itertools.count()
NAMES = st.sampled_from("abcde")
TIMES = st.one_of(st.none(), st.integers(0, 9))
FAR = 10**9


class Scheduler(BackgroundScheduler):
    """A scheduler with a watcher, whose cycles the test runs at a time of its choice."""

    def _main_loop(self):
        self._event.wait()


class Cached(RuleBasedStateMachine):
    place = None  # a function that returns the database's name, the client, and the mode
    saved = 0

    def __init__(self):
        super().__init__()
        database, client, options = self.place()
        collection = f"jobs{next(COLLECTIONS)}"
        self.ours = MongoDBJobStore(database, collection, client=client, **options)
        self.second = MongoDBJobStore(database, collection, client=client, **options)
        self.stock = StockMongoDBJobStore(database, collection, client=client)
        self.scheduler = Scheduler(timezone="UTC")
        self.scheduler.add_executor(Submissions(), "default")
        self.scheduler.add_jobstore(self.ours, "default")
        self.scheduler.start()
        until(lambda: self.ours._lifecycle.watcher.sees_all_changes)

    def put(self, store, job):
        try:
            store.add_job(job)
        except ConflictingIdError:
            store.update_job(job)

    @rule(name=NAMES, seconds=TIMES, far=st.booleans())
    def put_by_others(self, name, seconds, far):
        self.put(self.stock, job(name, FAR if far else seconds))

    @rule(name=NAMES, seconds=TIMES, is_due=st.booleans())
    def put_by_us_is_known_at_once(self, name, seconds, is_due):
        self.put(self.ours, job(name, seconds if is_due else FAR))
        due = [each.id for each in self.ours.get_due_jobs(at(10))]
        assert (name in due) == (is_due and seconds is not None)
        self.ours.get_next_run_time()

    @rule(name=NAMES, by_us=st.booleans())
    def remove(self, name, by_us):
        if self.ours.collection.find_one(name):
            [self.second, self.ours][by_us].remove_job(name)

    @rule(seconds=st.integers(0, 10))
    def run_a_cycle(self, seconds):
        for each in self.ours.get_due_jobs(at(seconds)):
            each.next_run_time = at(FAR)
            self.ours.update_job(each)
        self.ours.get_next_run_time()

    @rule(seconds=st.integers(0, 10))
    def run_a_cycle_of_another_scheduler(self, seconds):
        for each in self.second.get_due_jobs(at(seconds)):
            each.next_run_time = at(FAR + 1)
            self.second.update_job(each)
        self.second.get_next_run_time()

    @rule(name=NAMES, seconds=TIMES)
    def drop_and_fill(self, name, seconds):
        self.ours.collection.drop()
        self.put(self.stock, job(name, seconds))

    @rule(seconds=st.integers(0, 10))
    def agrees_with_the_database_in_the_end(self, seconds):
        until(lambda: self.agrees(seconds))

    def agrees(self, seconds):
        """Return whether the due jobs are right, and the next run time is not too late.

        The next run time may be too early after another store has removed or postponed a job.
        """
        now = at(seconds).timestamp()
        due = sorted(each.id for each in self.ours.get_due_jobs(at(seconds)))
        answer = self.ours.get_next_run_time()
        found = self.ours.collection.find({"next_run_time": {"$ne": None}})
        times = {each["_id"]: each["next_run_time"] for each in found}
        first = min(times.values(), default=inf)
        self.saved += self.ours._known_next_run_time(self.ours._cycles.current, now) is not None
        is_right = due == sorted(job_id for job_id, time in times.items() if time <= now)
        return is_right and (first <= now or (answer.timestamp() if answer else inf) <= first)

    def teardown(self):
        self.agrees_with_the_database_in_the_end(10)
        until(lambda: self.agrees(-1) and self.saved)
        self.scheduler.shutdown()


@pytest.mark.parametrize("options", [{}, {"shared": True}], ids=["queried", "shared"])
def test_store_that_saves_commands_agrees_with_the_database(
    database, session_client, options, monkeypatch
):
    monkeypatch.setattr(cached, "MAX_AGE_SECONDS", 1e6)
    monkeypatch.setattr(change_stream, "MAX_LAG_SECONDS", 60)
    monkeypatch.setattr(change_stream, "PAUSE_SECONDS", 0.01)

    class OnServer(Cached):
        def place(self):
            return database.name, session_client, options

    run_state_machine_as_test(
        OnServer,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
        ),
    )
