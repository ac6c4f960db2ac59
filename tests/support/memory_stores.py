"""Memory stores by name: the stock store, and ours on each index."""

from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore

import jobstore
from jobstore._index_c import JobIndex as CompiledIndex
from jobstore._index_py import JobIndex as PythonIndex

INDEXES = {"compiled": CompiledIndex, "twin": PythonIndex}


def memory_store(kind, leaf_capacity=64):
    """Make a memory store: the "stock" store, or ours on the index of that name."""
    if kind == "stock":
        return StockMemoryJobStore()
    store = jobstore.MemoryJobStore()
    store._index = INDEXES[kind](leaf_capacity)
    return store
