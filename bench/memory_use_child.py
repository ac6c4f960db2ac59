"""Prints the bytes a job of one filled store, without the job objects.

It runs in its own process, so that no other store's memory counts.

Usage: python memory_use_child.py (IMPLEMENTATION | bulk) (tracemalloc | rss) COUNT
"""

import gc
import sys
import tracemalloc
from datetime import timezone

from variants import Jobs, filled


def make(kind: str, jobs: list) -> object:
    if kind != "bulk":
        return filled(kind, jobs)
    store = filled("ours", [])
    store.add_jobs(jobs)
    return store


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def main() -> None:
    kind, gauge, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    jobs = Jobs(timezone.utc).make(count)
    gc.collect()
    if gauge == "tracemalloc":
        tracemalloc.start()
        store = make(kind, jobs)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
    else:
        before = resident()
        store = make(kind, jobs)
        gc.collect()
        used = resident() - before
    print(used / count)
    del store


main()
