"""The deferred writes alone, without a database: what a flush takes, and what it leaves."""

import pickle

from jobstore.mongodb.documents import Record
from jobstore.mongodb.locks import Locks
from jobstore.mongodb.writes.guarded import GuardedWrite
from jobstore.mongodb.writes.write_behind import WriteBehind


def write(name):
    return GuardedWrite(Record(name, 1.0, b"1"), 2.0, b"2")


def test_a_flush_ends_though_more_is_deferred_all_the_time():
    def flush(writes, found, sent_before, logger):
        writes.clear()
        write_behind.add(write(f"{len(written)}"), lambda each: each)
        written.append(1)

    written = []
    write_behind = WriteBehind(Locks(), flush, 10, lambda ids, found: None)
    write_behind.flush_in_other_thread(lambda: None)
    for number in range(25):
        write_behind.add(write(f"first {number}"), lambda each: each)
    write_behind.flush()
    assert len(written) == 3
    assert write_behind.has_pending


def test_a_flush_that_is_under_way_is_no_failure():
    def flush(writes, found, sent_before, logger):
        failing.append(write_behind.failing)
        writes.clear()

    failing = []
    write_behind = WriteBehind(Locks(), flush, 10, lambda ids, found: None)
    write_behind.add(write("a"), lambda each: each)
    write_behind.flush()
    assert failing == [False]


def test_what_others_changed_wins_over_what_was_deferred_meanwhile():
    """Removed: no more is written. Changed: our newest time is put into their newest state."""
    theirs = pickle.dumps({"next_run_time": None, "new": True})

    def flush(writes, found, sent_before, logger):
        for name, write in list(writes.items()):
            write_behind.add(write._replace(record=write.after, run_time=3.0), lambda each: each)
            found[name] = None if name == "removed" else Record(name, 2.0, theirs)
        writes.clear()

    told = []
    write_behind = WriteBehind(Locks(), flush, 10, lambda ids, found: told.append((ids, found)))
    write_behind.add(write("removed"), lambda each: each)
    write_behind.add(write("changed"), lambda each: each)
    write_behind.flush()
    left = write_behind.writes
    assert left.keys() == {"changed"}
    assert left["changed"].record.state == theirs
    assert left["changed"].run_time == 3.0
    assert pickle.loads(left["changed"].state)["new"]
    assert told == [(["removed"], {"removed": None, "changed": left["changed"].after})]


def test_how_long_the_oldest_waits_is_counted_from_when_it_was_deferred(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("jobstore.mongodb.writes.write_behind.time.monotonic", lambda: clock[0])

    def flush(writes, found, sent_before, logger):
        writes.clear()
        write_behind.add(write("late"), lambda each: each)

    write_behind = WriteBehind(Locks(), flush, 10, lambda ids, found: None)
    write_behind.flush_in_other_thread(lambda: None)
    write_behind.add(write("early"), lambda each: each)
    clock[0] = 160.0
    write_behind.flush()
    clock[0] = 161.0
    assert write_behind.status() == (1, 1.0)
