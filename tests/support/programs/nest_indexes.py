"""Run by test_freed.py in its own process: indexes whose jobs hold indexes, to a great depth."""

import gc

from jobstore._index_c import JobIndex
from support.indexes import Slotted

DEPTH = 100_000


class Holding(Slotted):
    __slots__ = ("index",)


def nested():
    """Return the outermost and the innermost of many nested indexes."""
    outer = inner = JobIndex(4)
    for _ in range(DEPTH):
        holding = Holding("job")
        holding.index = outer
        outer = JobIndex(4)
        outer.add(holding)
    return outer, inner


outer, inner = nested()
del outer, inner
print("dropped")

outer, inner = nested()
outer.clear()
print("cleared")

outer, inner = nested()
holding = Holding("cycle")
holding.index = outer
inner.add(holding)
del outer, inner, holding
gc.collect()
print("collected")
