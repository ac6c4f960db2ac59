"""Checks that a wheel is as fast as a plain build: wheel_speed.py WHEEL_PYTHON PLAIN_PYTHON.

Both arguments are Pythons of environments that have jobstore. Each runs the same short rounds, in
turn with the other; the fastest round counts, which no other process has slowed down. Each pair
of processes is followed by two new ones: where their memory lies is up to chance. A busy machine
needs more of them: they go on, up to a limit, while the wheel seems to be slower.
"""

import subprocess
import sys
import time
from contextlib import ExitStack

MOST = 1.1  # times the plain build's
JOBS = 10_000
ROUNDS = 60
LEAST_PROCESSES, MOST_PROCESSES = 4, 24


class Job:
    """As little of a job as a memory store looks at."""

    __slots__ = ("id", "next_run_time")


def serve() -> None:
    """Run one round for each line of stdin, and print the nanoseconds that it took."""
    import random
    from datetime import datetime, timedelta, timezone

    import jobstore

    if jobstore.backend != "c":
        sys.exit(f"{jobstore.__file__} has no compiled core")
    chance = random.Random(1)
    first = datetime(2030, 1, 1, tzinfo=timezone.utc)
    jobs, times, later = [], [], []
    for number in range(JOBS):
        job = Job()
        job.id = f"job-{number:08d}"
        jobs.append(job)
        times.append(first + timedelta(microseconds=chance.randrange(10**13)))
        later.append(first + timedelta(microseconds=chance.randrange(10**13)))
    for _ in sys.stdin:
        store = jobstore.MemoryJobStore()
        for job, moment in zip(jobs, times, strict=True):
            job.next_run_time = moment
        start = time.perf_counter_ns()
        for job in jobs:
            store.add_job(job)
        for job, moment in zip(jobs, later, strict=True):
            job.next_run_time = moment
            store.update_job(job)
        for job in jobs:
            store.remove_job(job.id)
        print(time.perf_counter_ns() - start, flush=True)


def fastest(pythons: list[str]) -> list[int]:
    """Return the fastest round of each of two, of a few processes' alternating rounds."""
    best = [sys.maxsize] * len(pythons)
    for pair in range(MOST_PROCESSES):
        if pair >= LEAST_PROCESSES and best[0] <= MOST * best[1]:
            break
        with ExitStack() as stack:
            children = [
                stack.enter_context(
                    subprocess.Popen(
                        [python, __file__],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
                for python in pythons
            ]
            for _ in range(ROUNDS):
                for number, child in enumerate(children):
                    child.stdin.write("\n")
                    child.stdin.flush()
                    best[number] = min(best[number], int(child.stdout.readline()))
    return best


def main() -> None:
    """Compare, and exit with 1 if the wheel is slower."""
    wheel, plain = (nanoseconds / JOBS for nanoseconds in fastest(sys.argv[1:3]))
    figures = (
        f"add, update and remove a job: {wheel:.0f} ns with the wheel, {plain:.0f} with a plain "
        f"build of the same sdist, {wheel / plain:.2f} times as long"
    )
    if wheel > MOST * plain:
        sys.exit(f"{figures}; at most {MOST} is allowed: compare the flags of both compilations")
    print(figures)


if __name__ == "__main__":
    main() if len(sys.argv) > 1 else serve()
