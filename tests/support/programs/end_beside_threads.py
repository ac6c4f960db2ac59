"""Run by test_atomic_calls.py in its own process: its end stops threads that wait for an index.

Then a finalizer uses the index.
"""

import os
from signal import alarm
from threading import Event, Thread

from jobstore._index_c import JobIndex
from support import indexes
from support.indexes import job

alarm(60)  # ends a process that waits for ever
index = JobIndex()
many = [job(f"{number * 7919 % 10_007}", number % 997) for number in range(10_000)]
changed = Event()


def change():
    while True:
        index.put_many(many)
        index.remove_many([job.id for job in many])
        changed.set()


class Last:
    def __init__(self):
        self.index = index

    def __del__(self, write=os.write):
        self.index._check()
        write(1, b"ended\n")


indexes.last = Last()  # a module that the interpreter clears at its end
for _ in range(3):
    Thread(target=change, daemon=True).start()
for _ in range(3):
    changed.clear()
    changed.wait()
