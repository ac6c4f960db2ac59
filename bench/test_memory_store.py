"""The memory store against the stock one, against plain lists, and against dict."""

from collections.abc import Callable, Sequence
from datetime import timezone, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import Side
from sides import SIZES, BenchJob, Jobs, our_store, stock_store

BARS = {
    "add": {1_000: 10, 10_000: 12, 100_000: 30, 1_000_000: 100},
    "update": {1_000: 12, 10_000: 14, 100_000: 28, 1_000_000: 80},
    "remove": {1_000: 8, 10_000: 9, 100_000: 16, 1_000_000: 45},
}
ROUNDS = {1_000: 301, 10_000: 51, 100_000: 15, 1_000_000: 9}
ZONES: dict[str, tzinfo] = {"UTC": timezone.utc, "ZoneInfo": ZoneInfo("Europe/Helsinki")}


def batch(size: int) -> int:
    return min(1_000, size // 10)


class World:
    """Jobs, and all sides holding them; the last one made is kept for the next test."""

    last: tuple[int, str, "World"] | None = None

    def __init__(self, size: int, zone: str) -> None:
        self.maker = Jobs(ZONES[zone])
        self.jobs = self.maker.make(size)
        self.ours = our_store(self.jobs)
        self.stock = stock_store(self.jobs)
        self.dict = {job.id: job for job in self.jobs}
        # What the next round is about: jobs, their ids shuffled, and other jobs to warm up with.
        self.chosen: list[BenchJob] = []
        self.ids: list[str] = []
        self.others: list[BenchJob] = []

    @classmethod
    def of(cls, size: int, zone: str = "UTC") -> "World":
        if cls.last is None or cls.last[:2] != (size, zone):
            cls.last = None  # let go first: a million jobs are a lot of memory
            cls.last = (size, zone, cls(size, zone))
        return cls.last[2]

    def choose(self) -> None:
        """As in use, a job that is to be put somewhere has just got its new run time."""
        count = batch(len(self.jobs))
        chosen = self.maker.some(self.jobs, 2 * count)
        for job in chosen:
            job.next_run_time = self.maker.time()
        self.chosen, self.others = chosen[:count], chosen[count:]
        self.ids = [job.id for job in self.maker.some(self.chosen, count)]


def each(action: Callable[[Any], Any], arguments: Sequence[Any]) -> None:
    for argument in arguments:
        action(argument)


def set_each(jobs: dict[str, BenchJob], chosen: list[BenchJob]) -> None:
    for job in chosen:
        jobs[job.id] = job


def side_of(world: World, operation: str, add: Any, remove: Any, update: Any) -> Side:
    """One side's part in a comparison of `operation`, given its three operations on many.

    Jobs are removed, added back at their new times, or updated. Warm means: just before, the same
    was done to other jobs. So what every operation uses is in the cache, and what belongs to one
    place among a million is not: as in use.
    """

    def warm() -> None:
        if operation == "update":
            update(world.others)
        else:
            remove([job.id for job in world.others])
            add(world.others)

    count = batch(len(world.jobs))
    if operation == "add":
        return Side(lambda: add(world.chosen), count, before=lambda: (remove(world.ids), warm()))
    if operation == "remove":
        return Side(lambda: remove(world.ids), count, before=warm, after=lambda: add(world.chosen))
    return Side(lambda: update(world.chosen), count, before=warm)


def store_side(world: World, operation: str, store: Any) -> Side:
    return side_of(
        world,
        operation,
        lambda jobs: each(store.add_job, jobs),
        lambda ids: each(store.remove_job, ids),
        lambda jobs: each(store.update_job, jobs),
    )


def dict_side(world: World, operation: str) -> Side:
    def pop_and_set(jobs: list[BenchJob]) -> None:
        for job in jobs:
            world.dict.pop(job.id)
            world.dict[job.id] = job

    return side_of(
        world,
        operation,
        lambda jobs: set_each(world.dict, jobs),
        lambda ids: each(world.dict.pop, ids),
        pop_and_set,
    )


@pytest.mark.parametrize("operation", BARS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("zone", ZONES)
def test_operation(measure: Any, report: Any, zone: str, size: int, operation: str) -> None:
    world = World.of(size, zone)
    ours, stock = measure(
        store_side(world, operation, world.ours),
        store_side(world, operation, world.stock),
        rounds=ROUNDS[size],
        prepare=world.choose,
    )
    report(
        f"Memory store, {zone}: times faster than stock",
        f"{operation}, {size:,} jobs",
        ours,
        stock,
        stock / ours,
        BARS[operation][size] if zone == "UTC" else None,
    )


def chosen_before(world: World, before: Callable[[], Any]) -> None:
    world.choose()
    before()


@pytest.mark.parametrize("operation", BARS)
def test_growth(measure: Any, report: Any, operation: str) -> None:
    """From 1,000 to 1,000,000 jobs, the cost grows hardly more than a dict's own."""
    small, large = World(SIZES[0], "UTC"), World.of(SIZES[-1])

    def sides(world: World, repeat: int) -> list[Side]:
        both = [store_side(world, operation, world.ours), dict_side(world, operation)]
        for side in both:
            side.repeat = repeat
            side.before = partial(chosen_before, world, side.before)
        return both

    # The few jobs' memory has left the cache while the many were at work: let it come back.
    small_ours, small_dict, large_ours, large_dict = measure(
        *sides(small, 20), *sides(large, 1), rounds=31
    )
    ours, floor = large_ours / small_ours, large_dict / small_dict
    as_dict = {"add": "set", "remove": "pop", "update": "pop + set"}[operation]
    report(
        "Growth of the cost from 1,000 to 1,000,000 jobs, against dict",
        f"{operation} / dict {as_dict}",
        ours,
        floor,
        ours / floor,
        1.2,
        at_most=True,
        unit="times",
    )


LISTS = "Memory store against plain lists and dict: times their cost"


@pytest.mark.parametrize(
    ("size", "count"),
    [(size, count) for size in SIZES for count in SIZES if count <= size],
)
def test_due(measure: Any, report: Any, size: int, count: int) -> None:
    world = World.of(size)
    jobs = world.ours.get_all_jobs()
    now = jobs[count - 1].next_run_time
    ours, floor = measure(
        Side(lambda: world.ours.get_due_jobs(now), count),
        Side(lambda: jobs[:count], count),
        rounds=max(31, ROUNDS[count]),
    )
    report(LISTS, f"due: {count:,} of {size:,} / list[:k]", ours, floor, ours / floor, 1.3, True)


@pytest.mark.parametrize("size", SIZES)
def test_all(measure: Any, report: Any, size: int) -> None:
    world = World.of(size)
    jobs = world.ours.get_all_jobs()
    ours, floor = measure(
        Side(world.ours.get_all_jobs, size), Side(jobs.copy, size), rounds=max(31, ROUNDS[size])
    )
    report(LISTS, f"all: {size:,} / list.copy()", ours, floor, ours / floor, 1.3, True)


@pytest.mark.parametrize("size", SIZES)
def test_add_many(measure: Any, report: Any, size: int) -> None:
    jobs = World.of(size).jobs

    def fill() -> Any:
        store = our_store([])
        store.add_jobs(jobs)
        return store

    ours, floor = measure(
        Side(fill, size), Side(lambda: {job.id: job for job in jobs}, size), rounds=ROUNDS[size]
    )
    bar = 2.5 if size == SIZES[-1] else None
    report(LISTS, f"add_jobs: {size:,} / building a dict", ours, floor, ours / floor, bar, True)
