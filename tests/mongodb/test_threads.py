"""Threads of an application, of the store and of the scheduler use a store's parts at once.

With the GIL, some of these steps can't be interrupted. Without it, any step can.
"""

from contextlib import contextmanager
from types import SimpleNamespace

from bson import Timestamp
from pymongo import MongoClient

from jobstore.mongodb import restored
from jobstore.mongodb.connection import Connection, operation_time
from jobstore.mongodb.documents import Record
from jobstore.mongodb.locks import Locks
from jobstore.mongodb.restored import Restored, RestoredJobs
from jobstore.mongodb.writes.guarded import GuardedWrite
from jobstore.mongodb.writes.write_behind import WriteBehind
from support.conflicts import conflicts
from support.hammering import hammer
from support.waiting import in_thread


def record(name):
    return Record(name, 0.0, b"state")


def test_kept_jobs_are_bounded_while_other_threads_forget_some(monkeypatch):
    monkeypatch.setattr(restored, "MAX_KEPT", 10)
    jobs = RestoredJobs(None, False)

    def keep(number):
        jobs.keep(Restored(None, record(f"{number % 30}"), None, None))

    hammer(
        keep,
        keep,
        lambda number: jobs.forget(f"{number % 30}"),
        lambda number: jobs.forget_all() if number % 10 == 0 else None,
        rounds=20_000,
    )
    keep(0)
    assert len(jobs._kept) <= 10


def test_write_that_begins_to_be_sent_at_this_moment_is_seen_as_pending():
    """It moves from the waiting writes to those being sent, while a thread looks at both."""

    class Looked(dict):
        def __len__(self):
            length = super().__len__()
            if not moved:
                moved.append(True)
                in_thread(write_behind._take_batch)
            return length

    moved = [True]
    write_behind = WriteBehind(Locks(), None, 1000, None, conflicts())
    write_behind.flush_in_other_thread(lambda: None)
    write_behind._sending, write_behind._waiting = Looked(), Looked()
    write_behind.add(GuardedWrite(record("a"), 1.0, b"new"), lambda write: write)
    moved.clear()
    assert write_behind.has_pending
    assert moved
    assert write_behind._sending


def test_later_write_is_not_hidden_by_an_earlier_one_that_ends_after_it():
    class Session:
        def __init__(self, seconds, before_end=lambda: None):
            self._seconds, self._before_end = seconds, before_end

        @property
        def operation_time(self):
            self._before_end()
            return Timestamp(self._seconds, 0)

    @contextmanager
    def start_session(causal_consistency):
        yield sessions.pop()

    def write():
        before = connection.last_write
        with connection.session():
            pass
        assert connection.last_write is not before

    sessions = [Session(9), Session(7, lambda: in_thread(write)), Session(5)]
    with MongoClient(connect=False) as client:
        connection = Connection("database", "jobs", client, {})
        connection.client = SimpleNamespace(options=client.options, start_session=start_session)
        write()
        assert connection.write_time == operation_time(Timestamp(5, 0))
        write()
        assert connection.write_time == operation_time(Timestamp(9, 0))
