"""Jobs at random times, stores filled with them, and the operations of one round."""

from collections.abc import Callable, Sequence
from datetime import timezone, tzinfo
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from measure import Variant
from variants import IMPLEMENTATIONS, BenchJob, Jobs, filled

__all__ = ["ZONES", "Fixture", "batch", "dict_variant", "index_variant", "store_variant"]

ZONES: dict[str, tzinfo] = {"UTC": timezone.utc, "ZoneInfo": ZoneInfo("Europe/Helsinki")}


def batch(size: int) -> int:
    return min(1_000, size // 10)


class Fixture:
    """Jobs, and one store of each implementation that holds them all.

    `of` keeps the fixtures of one time zone for the next benchmarks.
    """

    made: ClassVar[dict[tuple[int, str], "Fixture"]] = {}

    def __init__(
        self, size: int, zone: str = "UTC", implementations: Sequence[str] = IMPLEMENTATIONS
    ) -> None:
        self.maker = Jobs(ZONES[zone])
        self.jobs = self.maker.make(size)
        self.stores = {name: filled(name, self.jobs) for name in implementations}
        self.ours = self.stores["ours"]
        self.dict = {job.id: job for job in self.jobs}
        # For the next round: jobs, their ids in random order, and other jobs to warm up with.
        self.chosen: list[BenchJob] = []
        self.ids: list[str] = []
        self.others: list[BenchJob] = []

    @classmethod
    def of(cls, size: int, zone: str = "UTC") -> "Fixture":
        if any(other != zone for _, other in cls.made):
            cls.made.clear()  # a million jobs take much memory
        if (size, zone) not in cls.made:
            cls.made[size, zone] = cls(size, zone)
        return cls.made[size, zone]

    def choose(self) -> None:
        """Choose the jobs of the next round, and give them new run times.

        In use, too, a job gets its new run time just before the store adds or updates it.
        """
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


def variant_of(fixture: Fixture, operation: str, add: Any, remove: Any, update: Any) -> Variant:
    """Make a variant for the comparison of `operation` from its three operations on many jobs.

    The operation removes jobs, adds jobs back at their new times, or updates jobs. Just before,
    the warm-up does the same with other jobs. So the cache holds the memory that every operation
    uses, but not the memory of a single job among a million. In use it is the same.
    """

    def warm() -> None:
        if operation == "update":
            update(fixture.others)
        else:
            remove([job.id for job in fixture.others])
            add(fixture.others)

    count = batch(len(fixture.jobs))
    if operation == "add":
        return Variant(
            lambda: add(fixture.chosen), count, before=lambda: (remove(fixture.ids), warm())
        )
    if operation == "remove":
        return Variant(
            lambda: remove(fixture.ids), count, before=warm, after=lambda: add(fixture.chosen)
        )
    return Variant(lambda: update(fixture.chosen), count, before=warm)


def store_variant(fixture: Fixture, operation: str, store: Any) -> Variant:
    return variant_of(
        fixture,
        operation,
        lambda jobs: each(store.add_job, jobs),
        lambda ids: each(store.remove_job, ids),
        lambda jobs: each(store.update_job, jobs),
    )


def dict_variant(fixture: Fixture, operation: str) -> Variant:
    def pop_and_set(jobs: list[BenchJob]) -> None:
        for job in jobs:
            fixture.dict.pop(job.id)
            fixture.dict[job.id] = job

    return variant_of(
        fixture,
        operation,
        lambda jobs: set_each(fixture.dict, jobs),
        lambda ids: each(fixture.dict.pop, ids),
        pop_and_set,
    )


def index_variant(fixture: Fixture, operation: str, index: Any) -> Variant:
    return variant_of(
        fixture,
        operation,
        lambda jobs: each(index.add, jobs),
        lambda ids: each(index.remove, ids),
        lambda jobs: each(index.replace, jobs),
    )
