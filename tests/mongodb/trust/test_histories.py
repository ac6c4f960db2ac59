"""After random histories every state is signed, whatever stores have written and merged."""

import itertools
from contextlib import suppress

from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from jobstore import MongoDBJobStore
from jobstore.mongodb import connection
from support.jobs import YEARS, job
from support.manual_scheduler import Submissions, by_hand
from support.signed_stores import EVERY, KEY, NEW_KEY, Stubborn, every_mode, reasons
from support.waiting import until

COLLECTIONS = itertools.count()
NAMES = st.sampled_from("abcdef")
POLICIES = st.sampled_from(["fire", "skip", "spread:60", "hold"])
PROTOCOLS = st.sampled_from([0, 2, 4, 5])


@st.composite
def jobs(draw):
    """Draw a job: due or paused, recurring or not, with an executor that may be missing."""
    return job(
        draw(NAMES),
        draw(st.sampled_from([None, 0, 1, YEARS * 3])),
        every=draw(st.sampled_from([None, EVERY, YEARS])),
        args=draw(st.sampled_from([(), (1,), (Stubborn(),), ("x" * 70_000,)])),
        executor=draw(st.sampled_from(["default"] * 4 + ["other"])),
    )


class History(RuleBasedStateMachine):
    """Two stores, whose keys come in another order, and a scheduler that restarts at times."""

    place = None  # a function that returns the database's name and the client
    mode = None

    def __init__(self):
        super().__init__()
        self.options = {**self.mode, "watch": False, "overdue": 0}
        self.collection = f"jobs{next(COLLECTIONS)}"
        self.second = self.make([NEW_KEY, KEY])
        self.start("fire", 5)

    def make(self, keys, **options):
        database, client = self.place()
        return MongoDBJobStore(
            database, self.collection, client=client, signing_keys=keys, **self.options, **options
        )

    def start(self, policy, protocol):
        self.store = self.make([KEY, NEW_KEY], catch_up=policy, pickle_protocol=protocol)
        self.scheduler = by_hand(self.store)
        self.second.start(None, "default")

    def stop(self):
        self.second.shutdown()
        self.scheduler.shutdown()

    def attempt(self, call, *args, **options):
        with suppress(ConflictingIdError, JobLookupError):
            call(*args, **options)

    def writer(self, by_second):
        """Return a store; an exclusive one has no second one that writes."""
        return self.second if by_second and self.mode.get("mirror") != "exclusive" else self.store

    @rule(job=jobs(), by_second=st.booleans())
    def add_or_update(self, job, by_second):
        store = self.writer(by_second)
        self.attempt(store.add_job, job)
        self.attempt(store.update_job, job)

    @rule(jobs=st.lists(jobs(), unique_by=lambda job: job.id), by_second=st.booleans())
    def put_many(self, jobs, by_second):
        store = self.writer(by_second)
        store.add_jobs(jobs, replace_existing=True)
        store.update_jobs(jobs)

    @rule(name=NAMES)
    def remove(self, name):
        self.attempt(self.store.remove_job, name)

    @rule(name=NAMES, pauses=st.booleans())
    def pause_or_resume(self, name, pauses):
        self.attempt(self.scheduler.pause_job if pauses else self.scheduler.resume_job, name)

    @rule(other=st.none() | jobs())
    def run_a_cycle(self, other):
        """Run a cycle; the second store changes jobs that are handed out, and arguments change."""

        def then(job):
            for argument in job.args:
                if isinstance(argument, Stubborn):
                    argument.used = True
            if other is not None and self.writer(True) is self.second:
                changed = self.second.lookup_job(job.id)
                if changed is not None:
                    changed._modify(args=other.args, trigger=other.trigger)
                    self.attempt(self.second.update_job, changed)

        self.scheduler.executor.then = then
        self.scheduler._process_jobs()
        self.settle()

    @rule(policy=POLICIES, protocol=PROTOCOLS)
    def restart(self, policy, protocol):
        self.stop()
        self.start(policy, protocol)

    @rule()
    def release_held(self):
        self.store.release_held()

    @rule()
    def restore_quarantined_with_their_executor(self):
        self.scheduler.add_executor(Submissions(), "other")
        self.store.restore_quarantined()
        self.scheduler.remove_executor("other")

    @rule()
    def describe_all(self):
        self.store.describe_all()

    def settle(self):
        until(lambda: not self.store._write_behind.has_pending)

    @invariant()
    def every_state_verifies(self):
        assert reasons(self.store.collection, [KEY, NEW_KEY]) == {}

    @invariant()
    def no_job_is_in_quarantine_for_its_signature(self):
        for each in self.store.quarantined():
            assert "signature" not in each.reason, each

    def teardown(self):
        self.stop()


@every_mode
def test_every_state_is_signed_after_a_random_history(database, session_client, monkeypatch, mode):
    monkeypatch.setattr(connection, "AWAIT_MS", 20)  # start and shutdown wait for an answer

    class OnServer(History):
        def place(self):
            return database.name, session_client

    OnServer.mode = mode
    run_state_machine_as_test(
        OnServer,
        settings=settings(
            max_examples=4, stateful_step_count=25, suppress_health_check=list(HealthCheck)
        ),
    )
