"""The demo's meters; both sides carry exactly the same ones."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from math import exp, floor, log
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job

__all__ = ["CountingExecutor", "Lateness", "Timed"]


class Timed:
    """A method of a store that counts its calls and adds up their wall time.

    The time includes the cost of measuring, about 0.1 µs a call.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method
        self.calls = 0
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> Any:
        """Call the method."""
        start = time.perf_counter()
        try:
            return self.method(*arguments)
        finally:
            self.seconds += time.perf_counter() - start
            self.calls += 1


class Lateness:
    """A histogram of times in classes 2 percent wide; its size does not grow with the run."""

    WIDTH = 0.02

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one time."""
        self.counts[floor(log(max(seconds, 1e-6)) / self.WIDTH)] += 1

    def merge(self, other: "Lateness") -> None:
        """Add the counts of another histogram."""
        self.counts.update(other.counts)

    def quantile(self, share: float) -> float | None:
        """Return the time that this share of the counted times does not exceed; None if empty."""
        rank = share * self.counts.total()
        for place in sorted(self.counts):
            rank -= self.counts[place]
            if rank <= 0:
                return exp((place + 0.5) * self.WIDTH)
        return None


class CountingExecutor(BaseExecutor):
    """Runs the jobs at once, in the scheduler's thread, and counts how late each run is.

    With a thread pool, 20,000 empty jobs a second would measure the pool rather than the store.
    This executor does the least that a real one must: it takes part in APScheduler's count of
    running instances, and calls the function once for each run time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fired = 0
        self.recent = Lateness()

    def _do_submit_job(self, job: Job, run_times: Sequence[datetime]) -> None:
        now = time.time()
        for run_time in run_times:
            self.recent.add(now - run_time.timestamp())
            job.func(*job.args, **job.kwargs)
        self.fired += len(run_times)
        self._run_job_success(job.id, ())

    def take_recent(self) -> Lateness:
        """Return the lateness of the runs since the previous call."""
        with self._lock:  # submit_job holds it, too
            recent, self.recent = self.recent, Lateness()
        return recent
