"""Another process changes a job in the middle of a cycle: no change is overwritten."""

import pytest
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from apscheduler.triggers.interval import IntervalTrigger
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb.writes import write_behind
from support.commands import Commands
from support.jobs import YEARS, at, job, names, run_times
from support.manual_scheduler import by_hand

ADVANCED = at(YEARS + 1)
THEIRS = at(2 * YEARS)


def pause(other):
    other.pause_job("a")


def change_arguments(other):
    other.modify_job("a", args=("theirs",))


def reschedule(other):
    other.modify_job("a", next_run_time=THEIRS)


def remove(other):
    other.remove_job("a")


def remove_and_add_later(other):
    other.remove_job("a")
    store = other._jobstores["default"]
    store.add_job(job("a", 2 * YEARS, args=("theirs",)))


def remove_and_add_at_the_same_time(other):
    other.remove_job("a")
    other._jobstores["default"].add_job(job("a", 1, args=("theirs",)))


def change_trigger(other):
    trigger = IntervalTrigger(seconds=YEARS, start_date=at(1), timezone="UTC")
    other.modify_job("a", trigger=trigger)


GONE = "gone"
OUTCOMES = {  # (run time, arguments) if the job has further runs; if it has ended
    pause: ((None, ("ours",)), (None, ("ours",))),
    change_arguments: ((ADVANCED, ("theirs",)), GONE),
    reschedule: ((THEIRS, ("ours",)), (THEIRS, ("ours",))),
    remove: (GONE, GONE),
    remove_and_add_later: ((THEIRS, ("theirs",)), (THEIRS, ("theirs",))),
    remove_and_add_at_the_same_time: ((ADVANCED, ("theirs",)), (ADVANCED, ("theirs",))),
    change_trigger: ((ADVANCED, ("ours",)), (ADVANCED, ("ours",))),
}
OTHERS = {"ours": MongoDBJobStore, "stock": StockMongoDBJobStore}


@pytest.fixture(params=OTHERS)
def other(request, database, session_client):
    """A scheduler as in another process, with a client of its own."""
    store = OTHERS[request.param](database.name, client=session_client)
    return by_hand(store)


def outcome(store):
    found = store.lookup_job("a")
    return (found.next_run_time, found.args) if found else GONE


def start_cycle(store, then, ends):
    """Make jobs "first", "a" and "last" due; `then` is called when each is submitted."""
    store.add_jobs(
        [
            job("first", 0),
            job("a", 1, args=("ours",), every=None if ends else YEARS),
            job("last", 2),
        ]
    )
    return by_hand(store, then)


@pytest.mark.parametrize("ends", [False, True], ids=["repeats", "ends"])
@pytest.mark.parametrize("change", OUTCOMES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("moment", ["first", "a", "last"])
def test_change_by_another_process_during_the_cycle_is_kept(store, other, moment, change, ends):
    scheduler = start_cycle(store, lambda each: each.id == moment and change(other), ends)
    assert scheduler._process_jobs() > 10
    assert outcome(store) == OUTCOMES[change][ends]
    assert run_times(store)["first"] == at(YEARS).timestamp()
    assert run_times(store)["last"] == at(YEARS + 2).timestamp()
    scheduler._process_jobs()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["first", "a", "last"]


@pytest.mark.parametrize("ends", [False, True], ids=["repeats", "ends"])
@pytest.mark.parametrize("change", OUTCOMES, ids=lambda change: change.__name__)
def test_cycle_sees_a_change_made_before_it(store, other, change, ends):
    scheduler = start_cycle(store, None, ends)
    change(other)
    scheduler._process_jobs()
    expected = {
        pause: (None, ("ours",)),
        remove: GONE,
        reschedule: (THEIRS, ("ours",)),
        remove_and_add_later: (THEIRS, ("theirs",)),
    }
    later = OUTCOMES[change][ends]
    assert outcome(store) == expected.get(change, later)
    ran = "a" in [job_id for job_id, _ in scheduler.executor.submitted]
    assert ran == (change not in expected)


@pytest.mark.parametrize("change", OUTCOMES, ids=lambda change: change.__name__)
def test_change_after_the_flush_is_kept(store, other, change):
    scheduler = start_cycle(store, None, ends=False)
    scheduler._process_jobs()
    change(other)
    scheduler._process_jobs()
    found = outcome(store)
    if change is remove_and_add_at_the_same_time:  # the new job is due, and runs
        assert found == (ADVANCED, ("theirs",))
    else:
        assert found == OUTCOMES[change][False]


class Between(Commands):
    """Calls a function just before the store reads documents back."""

    def __init__(self):
        super().__init__()
        self.acts = []

    def started(self, event):
        ids = event.command.get("filter", {}).get("_id") if event.command_name == "find" else None
        if ids and "$in" in ids and self.acts:
            self.acts.pop(0)()


@pytest.mark.parametrize("change", OUTCOMES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("ends", [False, True], ids=["repeats", "ends"])
def test_second_change_before_the_documents_are_read_back_is_kept(
    server, database, other, change, ends
):
    between = Between()
    with MongoClient(server.uri, event_listeners=[between]) as client:
        store = MongoDBJobStore(database.name, client=client)
        between.acts.append(lambda: change(other))
        scheduler = start_cycle(
            store, lambda each: each.id == "last" and other.modify_job("a", name="changed"), ends
        )
        assert scheduler._process_jobs() > 10
        assert between.acts == []
        assert outcome(store) == OUTCOMES[change][ends]


def test_write_waits_for_the_next_cycle_while_changes_continue(store, other):
    """Each round merges its change, and another process changes the document again."""
    bulk_write = store._connection.jobs.bulk_write
    numbers = iter(range(100))

    def changed_before(*args, **kwargs):
        other.modify_job("a", name=f"name {next(numbers)}")
        return bulk_write(*args, **kwargs)

    scheduler = start_cycle(store, None, ends=False)
    store._connection.jobs.bulk_write = changed_before
    assert 5 < scheduler._process_jobs() <= 10
    assert run_times(store)["a"] == at(1).timestamp()
    assert next(numbers) < 10
    store._connection.jobs.bulk_write = bulk_write
    assert scheduler._process_jobs() > 10
    assert run_times(store)["a"] == ADVANCED.timestamp()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["first", "a", "last"]


def test_many_jobs_are_changed_in_every_way_during_one_flush(store, other, monkeypatch):
    """Another process changes, pauses or removes some of 300 jobs during one flush."""
    monkeypatch.setattr(write_behind, "FLUSH_SECONDS", 60.0)  # a slow machine flushes once, too
    store.add_jobs([job(f"{i:03}", i, every=None if i % 7 == 0 else YEARS) for i in range(300)])

    def change(each):
        if each.id != "299":
            return
        for i in range(0, 300, 10):
            other.modify_job(f"{i:03}", args=("theirs",))
        for i in range(5, 300, 10):
            other.pause_job(f"{i:03}")
        for i in range(3, 300, 50):
            other.remove_job(f"{i:03}")

    scheduler = by_hand(store, change)
    assert scheduler._process_jobs() > 10
    expected = {}
    for i in range(300):
        if i % 10 == 5:
            expected[f"{i:03}"] = None
        elif i % 50 != 3 and i % 7:
            expected[f"{i:03}"] = at(YEARS + i).timestamp()
    assert run_times(store) == expected
    for i in range(10, 300, 10):
        if i % 7:
            assert store.lookup_job(f"{i:03}").args == ("theirs",)


def test_write_is_done_when_the_document_already_has_its_values(store, other, caplog):
    """The same happens when a write has applied, and its answer is lost."""

    def advance(each):
        if each.id == "last":
            ours = store._write_behind.writes["a"]
            other._jobstores["default"].collection.update_one(
                {"_id": "a"}, {"$set": {"next_run_time": ours.run_time, "job_state": ours.state}}
            )

    scheduler = start_cycle(store, advance, ends=False)
    scheduler._process_jobs()
    assert outcome(store) == (ADVANCED, ("ours",))
    assert "by others" not in caplog.text
    assert names(store) == ["a", "first", "last"]
