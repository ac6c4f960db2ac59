"""The index and the store leak nothing: no reference cycle, no removed job, no memory."""

import gc
import sys
import tracemalloc
import weakref
from random import Random

import pytest
from apscheduler.schedulers.base import BaseScheduler

from jobstore import MemoryJobStore
from jobstore._index_c import JobIndex
from support.hostile_calls import both, compiled, parametrized
from support.indexes import Slotted, at, filled, job
from support.programs import output

pytestmark = pytest.mark.usefixtures("quick_collections")


def work():
    pass


class IdleScheduler(BaseScheduler):
    def wakeup(self):
        pass

    def shutdown(self, wait=True):
        super().shutdown(wait)


class Held(Slotted):
    """A job that can refer to its index."""

    __slots__ = ("index",)


# ---- cycles ----


@pytest.fixture(autouse=True)
def no_automatic_collections():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_store_in_a_reference_cycle_with_its_scheduler_is_freed():
    scheduler = IdleScheduler(jobstores={"default": MemoryJobStore()}, timezone="UTC")
    scheduler.start()
    store = scheduler._jobstores["default"]
    for number in range(100):
        scheduler.add_job(work, "interval", hours=1, id=str(number))
    first = store.lookup_job("0")
    assert first._scheduler is scheduler  # scheduler, store, index, job: a reference cycle
    alive = [weakref.ref(thing) for thing in (scheduler, store, first)]
    del scheduler, store, first
    assert all(ref() is not None for ref in alive)
    gc.collect()
    assert [ref() for ref in alive] == [None, None, None]


@both
def test_index_in_a_reference_cycle_with_its_jobs_is_freed(make):
    index = make()
    alive = []
    for number in range(100):
        held = Held(str(number), at(number % 7))
        held.index = index
        index.add(held)
        alive.append(weakref.ref(held))
    del index, held
    assert None not in [ref() for ref in alive]
    gc.collect()
    assert {ref() for ref in alive} == {None}


@compiled
def test_collector_sees_each_stored_job_once_and_no_removed_job(make):
    index = filled(make)
    jobs = index.all()
    assert gc.is_tracked(index)
    seen = [thing for thing in gc.get_referents(index) if isinstance(thing, Slotted)]
    assert sorted(map(id, seen)) == sorted(map(id, jobs))
    assert index in gc.get_referrers(jobs[0])
    removed = index.remove(jobs[0].id)
    index.replace(job(jobs[1].id, 1))
    index.put_many([job(jobs[2].id, 1)])
    index.remove_many([jobs[3].id])
    for gone in (removed, *jobs[1:4]):
        assert index not in gc.get_referrers(gone)
    index.clear()
    assert not [thing for thing in gc.get_referents(index) if isinstance(thing, Slotted)]


@compiled
def test_reference_to_one_job_keeps_its_whole_cycle_alive(make):
    index = make()
    for number in range(100):
        held = Held(str(number), at(number))
        held.index = index
        index.add(held)
    del index
    gc.collect()
    assert [job.id for job in held.index.due(at(3))] == ["0", "1", "2", "3"]
    held.index._check()


@compiled
def test_collected_job_can_use_the_index_of_its_cycle(make):
    index = make()
    counts = []

    class Using(Held):
        def __del__(self):
            self.index._check()
            self.index.put_many([job("late", 1)])
            counts.append(len(self.index))

    for number in range(100):
        held = (Using if number % 3 == 0 else Held)(str(number), at(number))
        held.index = index
        index.add(held)
    del index, held
    gc.collect()
    assert counts == [101] * 34


@compiled
def test_index_cleared_by_the_collector_works_as_an_empty_one(make):
    known = [thing for thing in gc.get_objects() if isinstance(thing, JobIndex)]
    found = []

    class Searching:
        """Searches the collector's objects for new indexes when it is freed."""

        def __del__(self):
            found.extend(
                thing
                for thing in gc.get_objects()
                if isinstance(thing, JobIndex) and thing not in [*known, *found]
            )

    class Late:
        """Makes such an object when the collector calls `__del__`, before it clears anything.

        The new object is not among those that the collector found. So it is freed, and searches,
        while the collector clears.
        """

        __slots__ = ("index", "searching")

        def __init__(self, index):
            self.index = index

        def __del__(self):
            self.searching = Searching()

    class LargeLate(Late):
        """The same, larger than an index: a free-threaded collector clears in order of size."""

        __slots__ = [f"unused{number}" for number in range(100)]

    index = make()
    for number in range(100):
        held = Held(str(number), at(number))
        held.index = [held, Late(index), LargeLate(index)]
        index.add(held)
    del index, held
    gc.collect()
    assert len(found) == 1, "the case under test did not occur: no object found the index"
    found[0]._check()
    assert found[0].all() == []
    found[0].add_many([job("new", 1), job("newer", 2)])
    assert found[0].first_run_time() == at(1)


# ---- references ----

CHANGES = {
    "one by one": lambda index, jobs: (
        [index.add(job) for job in jobs],
        [index.replace(job) for job in jobs],
        [index.remove(job.id) for job in jobs],
    ),
    "at once": lambda index, jobs: (
        index.add_many(jobs),
        index.add_many(jobs),
        index.replace_many(jobs * 2),
        index.put_many(jobs[::-1]),
        index.remove_many([job.id for job in jobs] * 2),
    ),
    "cleared": lambda index, jobs: (index.add_many(jobs), index.clear()),
    "cleared, one by one": lambda index, jobs: ([index.add(job) for job in jobs], index.clear()),
    "refused": lambda index, jobs: (
        index.replace_many(jobs),
        index.remove_many([job.id for job in jobs]),
        index.add_many([*jobs, *jobs]),
        index.add_many(jobs),
        index.clear(),
    ),
    "read": lambda index, jobs: (
        index.add_many(jobs),
        index.all(),
        index.due(at(20)),
        [*index],
        index.first_run_time(),
        [index.get(job.id) for job in jobs],
        [job.id in index for job in jobs],
        index.clear(),
    ),
}


@compiled
@parametrized("change", CHANGES)
def test_index_leaves_no_reference_to_jobs_ids_and_times_after_their_removal(make, change):
    jobs = [job(f"job {number}", number % 9) for number in range(300)]
    things = [*jobs, *(job.id for job in jobs), *(job.next_run_time for job in jobs)]
    Random(1).shuffle(jobs)
    before = [sys.getrefcount(thing) for thing in things]
    index = make()
    change(index, jobs)
    assert len(index) == 0
    assert [sys.getrefcount(thing) for thing in things] == before
    index.add_many(jobs)
    del index
    assert [sys.getrefcount(thing) for thing in things] == before


@compiled
def test_index_holds_one_reference_to_each_job_and_each_id(make):
    jobs = [job(f"job {number}", number % 9) for number in range(300)]
    things = [*jobs, *(job.id for job in jobs)]
    before = [sys.getrefcount(thing) for thing in things]
    index = make()
    index.add_many(jobs[:150])
    for more in jobs[150:]:
        index.add(more)
    del more
    assert [sys.getrefcount(thing) for thing in things] == [count + 1 for count in before]
    index.replace_many(jobs)
    for each in jobs:
        index.replace(each)
    del each
    assert [sys.getrefcount(thing) for thing in things] == [count + 1 for count in before]


@compiled
def test_index_holds_one_reference_to_each_stored_job_after_many_random_calls(make):
    """After 20,000 random calls, the index holds one reference to each stored job and its id.

    It holds none to other jobs. The collector finds the index as referrer of the stored jobs only.
    """
    random = Random(1)
    jobs = [job(f"job {number}", number % 97) for number in range(1000)]
    things = [*jobs, *(each.id for each in jobs)]
    before = [sys.getrefcount(thing) for thing in things]
    index = make()

    def some():
        return [random.choice(jobs) for _ in range(random.randrange(30))]

    calls = [
        lambda: index.add_many(some()),
        lambda: index.put_many(some()),
        lambda: index.replace_many(some()),
        lambda: index.remove_many([each.id for each in some()]),
        lambda: [index.replace(each) for each in some() if each.id in index],
        lambda: [index.remove(each.id) for each in set(some()) if each.id in index],
        lambda: [index.add(each) for each in set(some()) if each.id not in index],
        lambda: index.due(at(random.randrange(97)), random.randrange(50)),
    ]
    for _ in range(20_000):
        random.choice(calls)()
    there = [each.id in index for each in jobs]
    assert 100 < sum(there) < 900
    expected = [count + held for count, held in zip(before, there * 2, strict=True)]
    assert [sys.getrefcount(thing) for thing in things] == expected
    for each, held in zip(jobs[:20], there[:20], strict=True):
        assert (index in gc.get_referrers(each)) is held
    del each
    index.clear()
    assert [sys.getrefcount(thing) for thing in things] == before


# ---- memory ----

STAYING = 1000
PASSING = 10_000
ROUNDS = 100  # a million adds and as many removes


def one_by_one(index, passing):
    for each in passing:
        index.add(each)
    for each in passing:
        index.remove(each.id)


def at_once(index, passing):
    assert index.add_many(passing) == []
    assert index.remove_many([job.id for job in passing]) == []


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


def taken():
    """Return the bytes that calls in this file have allocated and not yet freed.

    Threads of other tests allocate as well: a client shared by all tests monitors its server.
    """
    ours = tracemalloc.Filter(True, __file__)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([ours]).traces)


@pytest.mark.parametrize("way", [one_by_one, at_once])
@pytest.mark.parametrize("staying", [0, 1000])
@compiled
def test_million_adds_and_removes_leave_no_memory_allocated(make, way, staying, traced):
    index = make()
    index.add_many([job(f"stays{number:04}", number * 11 % 997) for number in range(staying)])
    passing = [job(f"job{number:05}", number * 7 % 997) for number in range(PASSING)]
    way(index, passing)
    before, size = taken(), sys.getsizeof(index)
    for _ in range(ROUNDS):
        way(index, passing)
    after = taken()
    # The leaves of the staying jobs are at least a quarter full: a job takes 20 to 80 bytes.
    tolerance = 1000 + 60 * staying
    assert after - before < tolerance
    assert sys.getsizeof(index) - size < tolerance
    index._check()
    assert len(index) == staying
    # The index keeps no spare memory from the removed jobs.
    assert sys.getsizeof(index) <= sys.getsizeof(make()) + 200 * staying


def test_size_of_an_index_is_its_allocated_memory(traced):
    jobs = [job(f"job{number:05}", number * 7 % 997) for number in range(20_000)]
    index = JobIndex()
    before, size = taken(), sys.getsizeof(index)
    index.add_many(jobs)
    assert sys.getsizeof(index) - size == pytest.approx(taken() - before, rel=0.01)


def test_list_of_due_jobs_is_allocated_at_its_exact_size():
    index = filled(JobIndex, 1000)
    for seconds in range(40):
        due = index.due(at(seconds))
        assert sys.getsizeof(due) == sys.getsizeof([None] * len(due))


# ---- depth ----


def test_deeply_nested_indexes_are_freed():
    assert output("nest_indexes").split() == ["dropped", "cleared", "collected"]
