"""Threads, finalizers and forks never find the half of a change."""

import gc
import os
from contextlib import suppress
from threading import Event, Thread

from support.hostile_calls import both
from support.indexes import Slotted, at, by_id, filled, job
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


@both
def test_child_forked_beside_a_changing_thread_can_use_the_index(make):
    index, model, finished = filled(make), filled(make), Event()
    model.clear()

    def change():
        while not finished.is_set():
            index.put_many([job(name, 3) for name in NAMES])
            index.remove_many(NAMES)

    def use_in_child():
        index._check()
        assert len(index) in (50, 150)
        index.clear()
        assert by_id(index) == by_id(model)

    changing = Thread(target=change)
    changing.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                status = 1
                with suppress(BaseException):
                    use_in_child()
                    status = 0
                os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        finished.set()
        changing.join()
