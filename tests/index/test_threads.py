"""Threads can share an index: each call takes effect wholly, or raises and changes nothing."""

import sysconfig
from collections import Counter
from contextlib import suppress
from datetime import timedelta, tzinfo
from random import Random
from threading import Barrier, Thread

from jobstore import ConflictingIdError, JobLookupError
from support.hostile_calls import both
from support.indexes import Slotted, at
from support.programs import output
from support.threads import run_interleaved

THREADS = 8
OPERATIONS = 1_000_000 // THREADS
OWN = 150  # ids that only one thread uses
SHARED = [f"shared{number:03}" for number in range(60)]


OFFSET = timedelta(hours=-1)


class PythonZone(tzinfo):
    """A zone with a `utcoffset()` in Python, so other threads can run while a run time is read."""

    def utcoffset(self, when):
        return OFFSET


ZONE = PythonZone()
TIMES = [at(number) for number in range(40)]
TIMES[::5] = [(time + OFFSET).replace(tzinfo=ZONE) for time in TIMES[::5]]
ANSWERS = {None, *TIMES}  # possible results of `first_run_time()`
PAUSED = len(TIMES)


class Timed(Slotted):
    """A job that knows its place in the order."""

    __slots__ = ("place",)

    def __init__(self, name, number):
        super().__init__(name, None if number == PAUSED else TIMES[number])
        self.place = number, name


class Worker:
    """One of the threads, with a record of its changes to its own and to shared ids."""

    def __init__(self, index, number):
        self.index = index
        self.random = Random(number)
        self.names = [f"own{number}-{i:03}" for i in range(OWN)]
        self.own = {}  # its own jobs that the index must hold
        self.net = Counter()  # adds minus removals of each shared id
        self.operations = 0
        self.error = None

    def job(self, name):
        return Timed(name, self.random.randint(0, PAUSED))

    def run(self, barrier):
        barrier.wait()
        calls = [
            *[self.add_or_remove_own] * 10,
            *[self.add_or_remove_shared] * 10,
            *[self.replace_own] * 8,
            *[self.replace_shared] * 8,
            *[self.read] * 12,
            self.own_at_once,
            self.shared_at_once,
            self.read_all,
        ]
        try:
            while self.operations < OPERATIONS:
                self.operations += 1
                self.random.choice(calls)()
        except BaseException as error:
            self.error = error

    def add_or_remove_own(self):
        name = self.random.choice(self.names)
        if name in self.own:
            assert self.index.remove(name) is self.own.pop(name)
        else:
            self.own[name] = self.job(name)
            self.index.add(self.own[name])

    def replace_own(self):
        name = self.random.choice(self.names)
        new = self.job(name)
        try:
            self.index.replace(new)
        except JobLookupError:
            assert name not in self.own
        else:
            assert name in self.own
            self.own[name] = new

    def add_or_remove_shared(self):
        name = self.random.choice(SHARED)
        try:
            if self.random.random() < 0.5:
                self.index.add(self.job(name))
                self.net[name] += 1
            else:
                assert self.index.remove(name).id == name
                self.net[name] -= 1
        except (ConflictingIdError, JobLookupError):
            pass

    def replace_shared(self):
        with suppress(JobLookupError):
            self.index.replace(self.job(self.random.choice(SHARED)))

    def read(self):
        name = self.random.choice(self.names)
        assert self.index.get(name) is self.own.get(name)
        assert (name in self.index) == (name in self.own)
        due = [job.place for job in self.index.due(at(1))]
        assert due == sorted(due)
        assert not due or due[-1] < (2, "")
        assert self.index.first_run_time() in ANSWERS

    def own_at_once(self):
        names = self.random.choices(self.names, k=20)
        jobs = [self.job(name) for name in names]
        stored = [name in self.own for name in names]
        way = self.random.randrange(4)
        if way == 0:
            self.index.put_many(jobs)
            self.own.update(zip(names, jobs, strict=True))
        elif way == 1:
            refused = self.index.add_many(jobs)
            assert len(refused) == len(jobs) - len({*names} - {*self.own})
            for new in jobs:
                self.own.setdefault(new.id, new)
        elif way == 2:
            refused = self.index.replace_many(jobs)
            assert len(refused) == stored.count(False)
            self.own.update((new.id, new) for new in jobs if new.id in self.own)
        else:
            refused = self.index.remove_many(names)
            assert len(refused) == len(names) - len({*names} & {*self.own})
            for name in names:
                self.own.pop(name, None)

    def shared_at_once(self):
        names = self.random.sample(SHARED, 10)
        way = self.random.randrange(3)
        if way == 0:
            refused = self.index.add_many([self.job(name) for name in names])
            self.net.update({*names} - {*refused})
        elif way == 1:
            self.index.replace_many([self.job(name) for name in names])
        else:
            refused = self.index.remove_many(names)
            self.net.subtract({*names} - {*refused})

    def read_all(self):
        self.index._check()
        jobs = [job.place for job in self.index.all()]
        assert jobs == sorted(jobs)
        assert {job.place for job in self.own.values()} <= {*jobs}
        assert len({name for _, name in jobs}) == len(jobs)


@both
def test_eight_threads_share_an_index_over_a_million_operations(make):
    index = make()
    workers = [Worker(index, number) for number in range(THREADS)]
    barrier = Barrier(THREADS)
    threads = [Thread(target=worker.run, args=(barrier,)) for worker in workers]
    run_interleaved(threads, 1e-5)
    index._check()
    for worker in workers:
        if worker.error:
            raise worker.error
    assert sum(worker.operations for worker in workers) == THREADS * OPERATIONS
    expected = {name: job for worker in workers for name, job in worker.own.items()}
    for name in SHARED:
        assert (name in index) == sum(worker.net[name] for worker in workers)
        if name in index:
            expected[name] = index.get(name)
    assert sorted(expected.values(), key=lambda job: job.place) == index.all()


def test_compiled_parts_leave_the_gil_off_where_python_has_none():
    has_gil = not sysconfig.get_config_var("Py_GIL_DISABLED")
    assert output("import_compiled") == f"{has_gil}\n"
