"""The index alone: the compiled one, its Python twin, and a dict as the lower bound.

Every store that finds jobs by id needs at least a dict.
"""

from functools import partial
from typing import Any

import pytest
from fixtures import Fixture, dict_variant, index_variant
from measure import Variant

TABLE = "The index alone: times the cost of a dict"
full = pytest.mark.full
SIZES = [10_000, pytest.param(1_000_000, marks=full), pytest.param(10_000_000, marks=full)]
ROUNDS = {10_000: 51, 1_000_000: 9, 10_000_000: 5}
TWIN_UP_TO = 1_000_000
made: dict[int, Fixture] = {}


def fixture_of(size: int) -> Fixture:
    if size not in made:
        made.clear()  # first, as ten million jobs take much memory
        made[size] = Fixture(size, "UTC", ["ours", "twin"] if size <= TWIN_UP_TO else ["ours"])
    return made[size]


@pytest.mark.parametrize("operation", ["add", "update", "remove"])
@pytest.mark.parametrize("size", SIZES)
def test_change(measure: Any, report: Any, size: int, operation: str) -> None:
    fixture = fixture_of(size)
    variants = {
        name: index_variant(fixture, operation, store._index)
        for name, store in fixture.stores.items()
    }
    variants["dict"] = dict_variant(fixture, operation)
    times = measure(*variants.values(), rounds=ROUNDS[size], prepare=fixture.choose)
    values = dict(zip(variants, times, strict=True))
    row = f"{operation}, {size:,} jobs"
    report(TABLE, row, values, "ours / dict", size=size, operation=operation)


@pytest.mark.parametrize("size", SIZES)
def test_get(measure: Any, report: Any, size: int) -> None:
    fixture = fixture_of(size)
    ids = [job.id for job in fixture.maker.some(fixture.jobs, 1_000)]
    gets = {name: store._index.get for name, store in fixture.stores.items()}
    gets["dict"] = fixture.dict.get

    def get_each(get: Any) -> None:
        for job_id in ids:
            get(job_id)

    variants = [Variant(partial(get_each, get), len(ids)) for get in gets.values()]
    values = dict(zip(gets, measure(*variants, rounds=ROUNDS[size]), strict=True))
    report(TABLE, f"get, {size:,} jobs", values, "ours / dict", size=size, operation="get")
