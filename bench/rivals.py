"""Home-made stores for comparison: two common ways to write one."""

import heapq
from datetime import datetime
from itertools import count
from typing import Any

from sortedcontainers import SortedKeyList

__all__ = ["HeapStore", "SortedStore"]


class HeapStore:
    """A heap and a dict. Stale entries stay in the heap until they reach its top."""

    def __init__(self) -> None:
        self._heap: list[Any] = []
        self._jobs: dict[str, Any] = {}  # id -> its valid entry
        self._order = count()

    def add_job(self, job: Any) -> None:
        if job.id in self._jobs:
            raise KeyError(job.id)
        self._push(job)

    def update_job(self, job: Any) -> None:
        self._jobs[job.id][-1] = None
        self._push(job)
        self._drop_stale_entries()

    def remove_job(self, job_id: str) -> None:
        self._jobs.pop(job_id)[-1] = None
        self._drop_stale_entries()

    def get_due_jobs(self, now: datetime) -> list[Any]:
        moment = now.timestamp()
        due = []
        while self._heap and self._heap[0][0] <= moment:
            entry = heapq.heappop(self._heap)
            if entry[-1] is not None:
                due.append(entry)
        for entry in due:
            heapq.heappush(self._heap, entry)
        return [entry[-1] for entry in due]

    def get_all_jobs(self) -> list[Any]:
        return [entry[-1] for entry in sorted(self._heap) if entry[-1] is not None]

    def _push(self, job: Any) -> None:
        time = job.next_run_time
        moment = float("inf") if time is None else time.timestamp()
        entry = [moment, job.id, next(self._order), job]
        self._jobs[job.id] = entry
        heapq.heappush(self._heap, entry)

    def _drop_stale_entries(self) -> None:
        if len(self._heap) > 2 * len(self._jobs) + 64:
            self._heap = [entry for entry in self._heap if entry[-1] is not None]
            heapq.heapify(self._heap)


class SortedStore:
    """A `SortedKeyList` from sortedcontainers, and a dict."""

    def __init__(self) -> None:
        self._list = SortedKeyList(key=lambda entry: entry[:2])
        self._jobs: dict[str, Any] = {}

    def add_job(self, job: Any) -> None:
        if job.id in self._jobs:
            raise KeyError(job.id)
        time = job.next_run_time
        entry = float("inf") if time is None else time.timestamp(), job.id, job
        self._jobs[job.id] = entry
        self._list.add(entry)

    def update_job(self, job: Any) -> None:
        self.remove_job(job.id)
        self.add_job(job)

    def remove_job(self, job_id: str) -> None:
        self._list.remove(self._jobs.pop(job_id))

    def get_due_jobs(self, now: datetime) -> list[Any]:
        moment = now.timestamp()
        last = self._list.bisect_key_right((moment, "\U0010ffff"))
        return [entry[2] for entry in self._list.islice(0, last)]

    def get_all_jobs(self) -> list[Any]:
        return [entry[2] for entry in self._list]
