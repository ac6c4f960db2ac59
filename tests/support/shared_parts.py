"""Shares each compiled part among threads, for ci/sanitize-threads: every method, the same objects.

    python -m support.shared_parts [SECONDS]

A call may return, or raise an error that its arguments explain. Then the tests of threads run, with
fewer operations.
"""

import sys
from datetime import datetime, timedelta, timezone, tzinfo
from pickle import dumps
from random import Random
from threading import Barrier, Thread
from time import monotonic
from zoneinfo import ZoneInfo

from index import test_atomic_calls, test_threads

from jobstore import ConflictingIdError, JobLookupError, _cron_c, _index_c, _inert_c, _states_c
from jobstore.triggers import CronTrigger
from support.indexes import COMPILED, Slotted, at

THREADS = 4
SHARED = 60  # ids
EXPECTED = ConflictingIdError, JobLookupError
ZONES = [timezone.utc, timezone(timedelta(hours=2)), *map(ZoneInfo, ["Europe/Paris", "Asia/Tokyo"])]


class PythonZone(tzinfo):
    def utcoffset(self, when):
        return timedelta(hours=1)


class Index:
    """One index, and jobs and ids that all threads use."""

    def __init__(self, leaf_capacity):
        self.index = _index_c.JobIndex(leaf_capacity)
        self.zone = PythonZone()
        self.renew()

    def renew(self):
        """Replace the jobs and ids by new ones: nobody has asked for the hash of such a str yet."""
        names = [f"{'é' if number % 2 else 'e'}{number}" for number in range(SHARED)]
        self.jobs = [self.timed(name, number) for number, name in enumerate(names)]
        self.names = ["".join([name, "!"])[:-1] for name in names]

    def timed(self, name, number):
        time = None if number % 9 == 8 else at(number * 7 % 40)
        return Slotted(name, time.replace(tzinfo=self.zone) if time and number % 5 == 0 else time)

    def step(self, random):
        index = self.index
        job, name = random.choice(self.jobs), random.choice(self.names)
        some = random.sample(range(SHARED), 12)
        jobs, names = [self.jobs[i] for i in some], [self.names[i] for i in some]
        call = random.choice(
            [
                lambda: index.add(job),
                lambda: index.add(self.timed(name, random.randrange(40))),
                lambda: index.replace(job),
                lambda: index.replace(self.timed(name, random.randrange(40))),
                lambda: index.remove(name).id,
                lambda: index.get(name),
                lambda: name in index,
                lambda: len(index),
                lambda: [each.id for each in index.due(at(20))],
                lambda: index.due(at(30), 5),
                lambda: [each.id for each in index.all()],
                lambda: [each.id for each in index],
                lambda: index.first_run_time(),
                lambda: [each.id for _, _, each in index.page(-(2**62), None, 20)],
                lambda: index.page(random.randrange(40) * 10**6, name, 5),
                lambda: index.add_many(jobs),
                lambda: index.replace_many(jobs),
                lambda: index.put_many(jobs),
                lambda: index.put_many([self.timed(each, random.randrange(40)) for each in names]),
                lambda: index.remove_many(names),
                lambda: index._check(),
                lambda: index.__sizeof__(),
                lambda: random.randrange(20) or index.clear(),
                lambda: random.randrange(20) or self.renew(),
                lambda: setattr(job, "next_run_time", at(random.randrange(40))),
            ]
        )
        call()


class Cron:
    """Triggers whose searches share the memo and the zones' answers; threads change them, too."""

    def __init__(self):
        self.times = [datetime(2030, month, 1, tzinfo=zone) for month in (1, 7) for zone in ZONES]
        self.fields = [
            CronTrigger(hour="8-18", day_of_week="mon-fri", timezone="UTC").fields,
            CronTrigger(minute="*/5", timezone="UTC").fields,
        ]
        self.triggers = [CronTrigger(hour=hour, timezone=zone) for zone in ZONES for hour in "37"]
        self.next = _cron_c.next_fire_time

    def step(self, random):
        trigger, now = random.choice(self.triggers), random.choice(self.times)
        if random.random() < 0.05:
            trigger.fields = list(random.choice(self.fields))
        elif random.random() < 0.05:
            trigger.start_date = random.choice([None, *self.times])
        elif random.random() < 0.05:
            trigger.end_date = random.choice([None, now + timedelta(days=9000)])
        self.next(trigger, random.choice([None, now]), now)


class States:
    """A state, and a job with its parts, that threads compare while another changes them."""

    class Trigger:
        __slots__ = ("interval", "triggers")

    def __init__(self):
        zone = timezone(timedelta(hours=1))
        self.times = [datetime(2030, 1, day, tzinfo=zone) for day in (1, 2)]
        self.state = dumps({"zone": zone, "next_run_time": self.times[0]}, 5)
        self.job = Slotted("job", self.times[0])
        self.trigger = self.Trigger()
        self.trigger.interval = self.trigger.triggers = []
        self.kwargs, self.listed = {"a": 1}, [self.trigger]
        self.slots = _states_c.Slots(Slotted, ["id", "next_run_time"])
        self.trigger_slots = _states_c.Slots(self.Trigger, ["interval"])
        self.parts = (
            *(self.slots, self.slots.read(self.job), self.kwargs, ("a", self.kwargs["a"])),
            *(self.trigger, self.trigger_slots, self.trigger_slots.read(self.trigger)),
            *(self.listed, (self.trigger,)),
        )

    def step(self, random):
        kind = random.randrange(20)
        if kind == 0:
            self.job.next_run_time = random.choice([self.times[0], at(random.randrange(9))])
        elif kind == 1:
            self.kwargs[random.choice("ab")] = object()
        elif kind == 2:
            self.kwargs.pop("b", None)
        elif kind == 3:
            self.listed[:] = [self.trigger] * random.randrange(1, 4)
        elif kind == 4:
            self.trigger.interval = random.choice([self.parts[6][0], object()])
        elif kind == 5:
            _inert_c.run(self.state)
        elif kind < 10:
            _states_c.advance(self.state, *self.times)
        elif kind < 15:
            self.slots.read(self.job)
        else:
            _states_c.is_unchanged(self.job, self.parts)


def share(part, seconds):
    """Let all threads take steps with the part; return how many, and the unexpected errors."""
    barrier, end = Barrier(THREADS), monotonic() + seconds
    steps, errors = [0] * THREADS, []

    def run(number):
        random = Random(number)
        barrier.wait()
        while monotonic() < end and not errors:
            steps[number] += 1
            try:
                part.step(random)
            except EXPECTED:
                pass
            except BaseException as error:
                errors.append(error)

    threads = [Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(steps), errors


def main():
    seconds = float(sys.argv[1]) if sys.argv[1:] else 10
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        sys.exit("with the GIL there is no race")
    failed = []
    for name, part in {
        "index of leaves of 4": Index(4),
        "index of leaves of 64": Index(64),
        "cron": Cron(),
        "states": States(),
    }.items():
        steps, errors = share(part, seconds)
        print(f"{name}: {steps:,} steps of {THREADS} threads", *map(repr, errors), flush=True)
        failed += errors
    test_threads.OPERATIONS, test_atomic_calls.ROUNDS = 2_000, 10
    for make in COMPILED.values():
        test_threads.test_eight_threads_share_an_index_over_a_million_operations(make)
        test_atomic_calls.test_threads_see_all_or_nothing_of_a_bulk_replacement(make)
        test_atomic_calls.test_threads_see_all_or_nothing_of_bulk_additions_and_removals(make)
    if failed:
        raise failed[0]


if __name__ == "__main__":
    main()
