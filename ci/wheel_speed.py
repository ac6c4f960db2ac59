"""Checks that a wheel is as fast as a plain build: wheel_speed.py WHEEL_PYTHON PLAIN_PYTHON.

Both arguments are Pythons of environments with jobstore. The two run the same short rounds in turn.
The fastest round of each counts, as other processes slow the rest down. After some rounds two new
processes take over, because the place of their memory is left to chance. On a busy machine, more
pairs of processes follow, up to a limit, while the wheel seems to be slower.
"""

import subprocess
import sys
import time
from contextlib import ExitStack

MAX_RATIO = 1.1  # of the wheel's time to the plain build's
JOBS = 10_000
ROUNDS = 60
MIN_PROCESSES, MAX_PROCESSES = 4, 24


class Job:
    """A job with only the attributes that a memory store reads."""

    __slots__ = ("id", "next_run_time")


def serve() -> None:
    """Run one round for each line of stdin, and print its nanoseconds."""
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
    """Return each Python's fastest round, from a few processes' alternating rounds."""
    best = [sys.maxsize] * len(pythons)
    for pair in range(MAX_PROCESSES):
        if pair >= MIN_PROCESSES and best[0] <= MAX_RATIO * best[1]:
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
    """Compare both builds, and exit with 1 if the wheel is slower."""
    wheel, plain = (nanoseconds / JOBS for nanoseconds in fastest(sys.argv[1:3]))
    figures = (
        f"add, update and remove a job: {wheel:.0f} ns with the wheel, {plain:.0f} with a plain "
        f"build of the same sdist, {wheel / plain:.2f} times as long"
    )
    if wheel > MAX_RATIO * plain:
        sys.exit(f"{figures}; at most {MAX_RATIO} is allowed: compare both compilations' flags")
    print(figures)


if __name__ == "__main__":
    main() if len(sys.argv) > 1 else serve()
