"""The memory store against the stock store, home-made stores, lists and dict."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from fixtures import ZONES, Fixture, dict_variant, store_variant
from measure import Variant
from variants import IMPLEMENTATIONS, SIZES, filled

TARGETS = {
    "add": {1_000: 10, 10_000: 12, 100_000: 30, 1_000_000: 100},
    "update": {1_000: 12, 10_000: 14, 100_000: 28, 1_000_000: 80},
    "remove": {1_000: 8, 10_000: 9, 100_000: 16, 1_000_000: 45},
}
ROUNDS = {1_000: 301, 10_000: 51, 100_000: 15, 1_000_000: 9}
# Only these sizes are quick and steady enough for `make bench-check`.
CHECKED = 10_000, 1_000_000


def sizes(zone: str) -> list[Any]:
    """All sizes with their marks. Only `make bench-full` measures zones other than UTC."""
    marks = {size: [pytest.mark.check] if size in CHECKED else [] for size in SIZES}
    if zone != "UTC":
        marks = {size: [pytest.mark.full] for size in SIZES}
    return [pytest.param(zone, size, marks=marks[size]) for size in SIZES]


@pytest.mark.parametrize("operation", TARGETS)
@pytest.mark.parametrize(("zone", "size"), [case for zone in ZONES for case in sizes(zone)])
def test_operation(measure: Any, report: Any, zone: str, size: int, operation: str) -> None:
    fixture = Fixture.of(size, zone)
    variants = {
        name: store_variant(fixture, operation, fixture.stores[name]) for name in IMPLEMENTATIONS
    }
    times = measure(*variants.values(), rounds=ROUNDS[size], prepare=fixture.choose)
    report(
        f"Memory store, {zone}: times faster than stock",
        f"{operation}, {size:,} jobs",
        dict(zip(variants, times, strict=True)),
        "stock / ours",
        target=TARGETS[operation][size] if zone == "UTC" else None,
        size=size,
        operation=operation,
    )


def chosen_before(fixture: Fixture, before: Callable[[], Any]) -> None:
    fixture.choose()
    before()


@pytest.mark.parametrize("operation", TARGETS)
def test_growth(measure: Any, report: Any, operation: str) -> None:
    """From 1,000 to 1,000,000 jobs, the cost of an operation grows hardly more than a dict's."""
    small, large = Fixture(SIZES[0]), Fixture.of(SIZES[-1])

    def variants(fixture: Fixture, repeat: int) -> list[Variant]:
        both = [store_variant(fixture, operation, fixture.ours), dict_variant(fixture, operation)]
        for variant in both:
            variant.repeat = repeat
            variant.before = partial(chosen_before, fixture, variant.before)
        return both

    # The large store has pushed the small one out of the cache. Repeat, to bring it back.
    small_ours, small_dict, large_ours, large_dict = measure(
        *variants(small, 20), *variants(large, 1), rounds=31
    )
    as_dict = {"add": "set", "remove": "pop", "update": "pop + set"}[operation]
    report(
        "Growth of the cost from 1,000 to 1,000,000 jobs, against dict",
        f"{operation} / dict {as_dict}",
        {"ours": large_ours / small_ours, "dict": large_dict / small_dict},
        "ours / dict",
        target=1.2,
        at_most=True,
        unit="times",
    )


LISTS = "Memory store against plain lists and dict: times their cost"


@pytest.mark.parametrize(
    ("size", "count"),
    [(size, count) for size in SIZES for count in SIZES if count <= size],
)
def test_due(measure: Any, report: Any, size: int, count: int) -> None:
    store = filled("ours", Fixture.of(size).jobs)  # other benchmarks have changed run times
    jobs = store.get_all_jobs()
    now = jobs[count - 1].next_run_time
    ours, floor = measure(
        Variant(lambda: store.get_due_jobs(now), count),
        Variant(lambda: jobs[:count], count),
        rounds=max(31, ROUNDS[count]),
    )
    values = {"ours": ours, "floor": floor}
    row = f"due: {count:,} of {size:,} / list[:k]"
    report(LISTS, row, values, "ours / floor", target=1.3, at_most=True)


@pytest.mark.parametrize("size", SIZES)
def test_all(measure: Any, report: Any, size: int) -> None:
    fixture = Fixture.of(size)
    jobs = fixture.ours.get_all_jobs()
    ours, floor = measure(
        Variant(fixture.ours.get_all_jobs, size),
        Variant(jobs.copy, size),
        rounds=max(31, ROUNDS[size]),
    )
    values = {"ours": ours, "floor": floor}
    report(LISTS, f"all: {size:,} / list.copy()", values, "ours / floor", target=1.3, at_most=True)


@pytest.mark.parametrize("size", SIZES)
def test_add_many(measure: Any, report: Any, size: int) -> None:
    jobs = Fixture.of(size).jobs

    def fill() -> Any:
        store = filled("ours", [])
        store.add_jobs(jobs)
        return store

    ours, floor = measure(
        Variant(fill, size),
        Variant(lambda: {job.id: job for job in jobs}, size),
        rounds=ROUNDS[size],
    )
    target = 2.5 if size == SIZES[-1] else None
    values = {"ours": ours, "floor": floor}
    row = f"add_jobs: {size:,} / building a dict"
    report(LISTS, row, values, "ours / floor", target=target, at_most=True)
