"""Memory stores by name: the stock store, ours on each index, and a store that loops."""

from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore

import jobstore
from jobstore._index_c import JobIndex as CompiledIndex
from jobstore._index_py import JobIndex as PythonIndex

INDEXES = {"compiled": CompiledIndex, "twin": PythonIndex}


class LoopingStore(StockMemoryJobStore, jobstore.BaseJobStore):
    """The stock store with the bulk calls of `jobstore.BaseJobStore`, which loop."""


def memory_store(kind, leaf_capacity=64, **arguments):
    """Make a memory store: "stock", "looping", or ours on the index of that name."""
    if kind == "stock":
        return StockMemoryJobStore()
    if kind == "looping":
        return LoopingStore()
    store = jobstore.MemoryJobStore(**arguments)
    store._index = INDEXES[kind](leaf_capacity)
    return store
