"""Threads, finalizers and forks never find the half of a change."""

import gc
import os
from contextlib import suppress
from signal import alarm
from threading import Event, Thread

from support.hostile_calls import both
from support.indexes import Slotted, at, by_id, filled, job
from support.programs import output
from support.threads import run_interleaved

NAMES = [f"job{number:03}" for number in range(100)]
ROUNDS = 200


class Version(Slotted):
    """A job that knows which change has put it."""

    __slots__ = ("number",)

    def __init__(self, name, number):
        super().__init__(name, at((int(name[3:]) * 7 + number) % 41))
        self.number = number


def read_pairs(index):
    """Find two jobs of different changes, the older one read after the newer one."""
    newest = 0
    for name in NAMES:
        number = index.get(name).number
        assert number >= newest
        newest = number


def read_lists(index):
    assert len({each.number for each in index.all()}) == 1
    assert len({each.number for each in index}) == 1
    assert len(index.due(at(41))) == len(index) == len(NAMES)
    index._check()


def run_beside(write, readers):
    """Run a writer beside readers, which repeat until it has finished; raise their first error."""
    errors, finished = [], Event()

    def run(call, repeats):
        try:
            call()
            while repeats and not finished.is_set():
                call()
        except BaseException as error:
            errors.append(error)
        finally:
            if not repeats:
                finished.set()

    threads = [Thread(target=run, args=(call, True)) for call in readers]
    run_interleaved([*threads, Thread(target=run, args=(write, False))], 1e-5)
    if errors:
        raise errors[0]


@both
def test_threads_see_all_or_nothing_of_a_bulk_replacement(make):
    index = make()
    index.put_many([Version(name, 0) for name in NAMES])

    def write():
        for number in range(1, ROUNDS):
            index.put_many([Version(name, number) for name in NAMES])

    run_beside(write, [lambda: read_pairs(index), lambda: read_lists(index)])


@both
def test_threads_see_all_or_nothing_of_bulk_additions_and_removals(make):
    index = make()

    def write():
        for number in range(ROUNDS):
            assert index.add_many([Version(name, number) for name in NAMES]) == []
            if number % 2:
                index.clear()
            else:
                assert index.remove_many(NAMES) == []

    def read():
        assert len(index) in (0, len(NAMES))
        assert len(index.all()) in (0, len(NAMES))
        assert len(index.due(at(41))) in (0, len(NAMES))
        assert index.first_run_time() in (None, at(0), at(1))
        index._check()

    run_beside(write, [read, read])


@both
def test_finalizer_that_a_collection_runs_within_a_call_can_call_the_index(make):
    index, answers = filled(make), []

    class Garbage:
        def __init__(self):
            self.itself = self

        def __del__(self):
            answers.append((len(index), "job003" in index, index.get("job003").id))

    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(50):
            Garbage()
            index.put_many([job("job003", number), job("job004", number + 1)])
            index.due(at(20))
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert {*answers} == {(150, True, "job003")}
    index._check()


def changing_in_threads(index, jobs, count):
    """Let threads put and remove jobs; return how to end that."""
    finished = Event()

    def change():
        while not finished.is_set():
            index.put_many(jobs)
            index.remove_many([job.id for job in jobs])

    def finish():
        finished.set()
        for thread in threads:
            thread.join()

    threads = [Thread(target=change) for _ in range(count)]
    for thread in threads:
        thread.start()
    return finish


def run_in_child(use):
    """Fork, and run a function in the child, within a minute."""
    child = os.fork()
    if child == 0:
        alarm(60)  # ends a child that waits for ever
        status = 1
        with suppress(BaseException):
            use()
            status = 0
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@both
def test_child_forked_beside_a_changing_thread_can_use_the_index(make):
    index, model = filled(make), filled(make)
    model.clear()

    def use():
        index._check()
        assert len(index) in (50, 150)
        index.clear()
        assert by_id(index) == by_id(model)

    finish = changing_in_threads(index, [job(name, 3) for name in NAMES], 1)
    try:
        for _ in range(20):
            run_in_child(use)
    finally:
        finish()


@both
def test_child_forked_beside_threads_that_wait_for_a_long_call_can_use_the_index(make):
    index = make()
    many = [job(f"{number * 7919 % 10_007}", number % 997) for number in range(10_000)]
    finish = changing_in_threads(index, many, 3)
    try:
        for _ in range(10):
            run_in_child(index._check)
    finally:
        finish()


def test_interpreter_ends_beside_daemon_threads_that_wait_for_a_long_call():
    for _ in range(5):
        assert output("end_beside_threads") == "ended\n"
