"""Write-behind without a database: which writes a flush takes, and which stay."""

import pickle

from jobstore.mongodb.documents import Record
from jobstore.mongodb.locks import Locks
from jobstore.mongodb.writes.guarded import GuardedWrite
from jobstore.mongodb.writes.write_behind import WriteBehind
from support.conflicts import conflicts


def write(name):
    return GuardedWrite(Record(name, 1.0, b"1"), 2.0, b"2")


def test_flush_ends_while_more_writes_are_deferred():
    def flush(writes, changed, sent_before, logger):
        writes.clear()
        write_behind.add(write(f"{len(written)}"), lambda each: each)
        written.append(1)

    written = []
    write_behind = WriteBehind(Locks(), flush, 10, lambda ids, changed: None, conflicts())
    write_behind.flush_in_other_thread(lambda: None)
    for number in range(25):
        write_behind.add(write(f"first {number}"), lambda each: each)
    write_behind.flush()
    assert len(written) == 3
    assert write_behind.has_pending


def test_running_flush_does_not_count_as_failing():
    def flush(writes, changed, sent_before, logger):
        failing.append(write_behind.failing)
        writes.clear()

    failing = []
    write_behind = WriteBehind(Locks(), flush, 10, lambda ids, changed: None, conflicts())
    write_behind.add(write("a"), lambda each: each)
    write_behind.flush()
    assert failing == [False]


def test_changes_by_others_win_over_writes_deferred_during_the_flush():
    """A removed job isn't written. A changed job gets our new run time in its new state."""
    theirs = pickle.dumps({"next_run_time": None, "new": True})

    def flush(writes, changed, sent_before, logger):
        for name, write in list(writes.items()):
            write_behind.add(write._replace(record=write.after, run_time=3.0), lambda each: each)
            changed[name] = None if name == "removed" else Record(name, 2.0, theirs)
        writes.clear()

    acknowledged = []
    write_behind = WriteBehind(
        Locks(), flush, 10, lambda *arguments: acknowledged.append(arguments), conflicts()
    )
    write_behind.add(write("removed"), lambda each: each)
    write_behind.add(write("changed"), lambda each: each)
    write_behind.flush()
    remaining = write_behind.writes
    assert remaining.keys() == {"changed"}
    assert remaining["changed"].record.state == theirs
    assert remaining["changed"].run_time == 3.0
    assert pickle.loads(remaining["changed"].state)["new"]
    assert acknowledged == [(["removed"], {"removed": None, "changed": remaining["changed"].after})]


def test_age_of_the_oldest_write_counts_from_when_it_was_deferred(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("jobstore.mongodb.writes.write_behind.time.monotonic", lambda: clock[0])

    def flush(writes, changed, sent_before, logger):
        writes.clear()
        write_behind.add(write("late"), lambda each: each)

    write_behind = WriteBehind(Locks(), flush, 10, lambda ids, changed: None, conflicts())
    write_behind.flush_in_other_thread(lambda: None)
    write_behind.add(write("early"), lambda each: each)
    clock[0] = 160.0
    write_behind.flush()
    clock[0] = 161.0
    assert write_behind.status() == (1, 1.0)
