"""The compiled index, its Python twin and the stock store agree after every operation."""

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from support.indexes import Slotted, at, job
from support.three_stores import ThreeStores

# Few times and few ids make equal times, conflicts and lookup errors common.
IDS = st.integers(0, 40).map(str)
TIMES = st.one_of(st.none(), st.integers(0, 8), st.integers(0, 10**6))
JOBS = st.builds(job, IDS, TIMES)
MANY_JOBS = st.lists(JOBS, max_size=60)


class Agreement(RuleBasedStateMachine):
    @initialize(leaf_capacity=st.integers(4, 9))
    def start(self, leaf_capacity):
        self.stores = ThreeStores(leaf_capacity)

    @rule(added=JOBS)
    def add(self, added):
        self.stores.add(added)

    @rule(newer=JOBS)
    def update(self, newer):
        self.stores.update(newer)

    @rule(data=st.data(), time=TIMES)
    def change_a_stored_job_in_place_then_update(self, data, time):
        stored = self.stores.stock.get_all_jobs()
        if stored:
            changed = data.draw(st.sampled_from(stored))
            changed.next_run_time = job("", time).next_run_time
            self.stores.update(changed)

    @rule(data=st.data(), time=TIMES)
    def change_some_in_place_then_update_them(self, data, time):
        stored = self.stores.stock.get_all_jobs()
        if stored:
            changed = data.draw(st.lists(st.sampled_from(stored), max_size=30))
            for each in changed:
                each.next_run_time = job("", time).next_run_time
            self.stores.update_many(changed)

    @rule(job_id=IDS)
    def remove(self, job_id):
        self.stores.remove(job_id)

    @rule(job_id=IDS)
    def look_up(self, job_id):
        self.stores.lookup(job_id)

    @rule(seconds=st.one_of(st.integers(-1, 9), st.integers(0, 10**6)))
    def query_due_jobs(self, seconds):
        self.stores.due(at(seconds))

    @rule(jobs=MANY_JOBS)
    def add_many(self, jobs):
        self.stores.add_many(jobs)

    @rule(jobs=MANY_JOBS)
    def put_many(self, jobs):
        self.stores.put_many(jobs)

    @rule(jobs=MANY_JOBS)
    def update_many(self, jobs):
        self.stores.update_many(jobs)

    @rule(job_ids=st.lists(IDS, max_size=60))
    def remove_many(self, job_ids):
        self.stores.remove_many(job_ids)

    @rule()
    def clear(self):
        self.stores.clear()

    @invariant()
    def all_agree(self):
        if hasattr(self, "stores"):
            self.stores.check()
            self.stores.next_run_time()


Agreement.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestAgreement = Agreement.TestCase


class LongRun:
    """Random operations on about 10,000 jobs, repeatable by the seed."""

    JOBS = 10_000

    def __init__(self, seed, leaf_capacity):
        self.random = Random(seed)
        self.stores = ThreeStores(leaf_capacity)
        self.now = 0
        self.stores.add_many([self.new_job(str(i)) for i in range(self.JOBS)])

    def some_id(self):
        return str(self.random.randrange(self.JOBS * 5 // 4))

    def some_time(self):
        kind = self.random.random()
        if kind < 0.05:
            return None
        if kind < 0.3:  # many jobs at the same full minute
            return at(self.now + 60 * self.random.randrange(1, 20))
        return at(self.now + self.random.randrange(10**9) / 10**5)

    def new_job(self, job_id):
        return Slotted(job_id, self.some_time())

    def reschedule_due(self):
        """Give the due jobs, at most 100, a later time in place, as a scheduler does."""
        self.now += 1
        self.stores.due(at(self.now))
        self.stores.next_run_time()
        for due in self.stores.stock.get_due_jobs(at(self.now))[:100]:
            due.next_run_time = self.some_time()
            self.stores.update(due)

    def step(self):
        kind = self.random.random()
        if kind < 0.3:
            self.stores.update(self.new_job(self.some_id()))
        elif kind < 0.55:
            self.stores.add(self.new_job(self.some_id()))
        elif kind < 0.8:
            self.stores.remove(self.some_id())
        elif kind < 0.98:
            self.stores.lookup(self.some_id())
        elif kind < 0.999:
            self.reschedule_due()
        else:
            ids = [self.some_id() for _ in range(self.random.randrange(200))]
            many = self.random.choice(["add_many", "put_many", "update_many", "remove_many"])
            items = ids if many == "remove_many" else [self.new_job(job_id) for job_id in ids]
            getattr(self.stores, many)(items)


def test_stores_agree_over_a_million_operations_on_ten_thousand_jobs():
    run = LongRun(seed=20300101, leaf_capacity=64)
    for operation in range(1_000_000):
        run.step()
        if operation % 10_000 == 0:
            run.stores.check()
    run.stores.check()


def test_stores_with_tiny_blocks_agree_over_a_hundred_thousand_operations():
    run = LongRun(seed=4, leaf_capacity=4)
    for operation in range(100_000):
        run.step()
        if operation % 5_000 == 0:
            run.stores.check()
    run.stores.check()
