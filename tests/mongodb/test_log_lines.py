"""One log line for each reason counts the jobs that it concerns, and names the first ten."""

import logging
import threading
from collections import deque

import pytest
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb.summary import MAX_REASONS, Line, Summary
from support.damaged_documents import good
from support.jobs import YEARS, at, job, names
from support.manual_scheduler import by_hand
from support.mirrored_stores import is_quiet
from support.shared_stores import run
from support.waiting import until

MANY = 30
IDS = [f"{i:02}" for i in range(MANY)]
FIRST = "00, 01, 02, 03, 04, 05, 06, 07, 08, 09 and 20 more"
LINE = Line(logging.ERROR, 'job "%s": %s', "%s jobs (%s): %s")


@pytest.fixture(autouse=True)
def _all_levels(caplog):
    caplog.set_level(logging.INFO)


def logged(caplog, text):
    return [message for message in caplog.messages if text in message]


def add_unreadable(store):
    store.collection.insert_many(
        {**good(name, i), "job_state": b"garbage"} for i, name in enumerate(IDS)
    )


def test_line_about_a_single_job_names_it(caplog):
    lines = Summary()
    lines.add(LINE, "a", "broken")
    lines.log(logging.getLogger("test"))
    assert caplog.messages == ['job "a": broken']


def test_jobs_with_the_same_reason_share_a_line(caplog):
    lines = Summary()
    for name, reason in [("a", "broken"), ("b", "gone"), ("c", "broken"), (4, "broken")]:
        lines.add(LINE, name, reason)
    for _ in range(2):  # the second call logs nothing
        lines.log(logging.getLogger("test"))
    assert caplog.messages == ["3 jobs (a, c, 4): broken", 'job "b": gone']


def test_jobs_whose_reasons_differ_in_an_address_share_a_line(caplog):
    lines = Summary()
    for name in "abc":
        lines.add(LINE, name, f"no name for {object()}")
    lines.log(logging.getLogger("test"))
    assert caplog.messages == ["3 jobs (a, b, c): no name for <object object>"]


def test_reasons_that_differ_for_each_job_share_a_line(caplog):
    lines = Summary()
    for i in range(5_000):
        lines.add(LINE, i, f"no {i}")
    lines.log(logging.getLogger("test"))
    assert len(caplog.messages) == MAX_REASONS
    assert caplog.messages[0] == 'job "0": no 0'
    assert caplog.messages[-1] == (
        "4,991 jobs (9, 10, 11, 12, 13, 14, 15, 16, 17, 18 and 4,981 more): "
        "no 9 (and 4,990 other reasons)"
    )


def test_threads_can_add_while_lines_are_logged(caplog):
    lines = Summary()
    added = threading.Thread(target=lambda: [lines.add(LINE, i, "") for i in range(20_000)])
    logger = logging.getLogger("test")
    added.start()
    while added.is_alive():
        lines.log(logger)
    lines.log(logger)
    counts = [1 if len(r.args) == 2 else int(r.args[0].replace(",", "")) for r in caplog.records]
    assert sum(counts) == 20_000


@pytest.mark.parametrize(
    ("action", "doing"), [("quarantine", "quarantining"), ("remove", "removing")]
)
def test_unreadable_jobs_share_a_line(server, database, caplog, action, doing):
    store = MongoDBJobStore(database.name, host=server.uri, unreadable=action)
    add_unreadable(store)
    by_hand(store)._process_jobs()
    (line,) = logged(caplog, "Unable to restore")
    assert line.startswith(f"Unable to restore 30 jobs ({FIRST}) -- {doing} them: UnpicklingError")
    store.shutdown()


def test_unreadable_jobs_of_a_mirror_share_a_line(start, caplog):
    scheduler, store = start()
    add_unreadable(store)
    until(lambda: store._reader.is_live and len(store) == MANY)
    scheduler._process_jobs()
    until(lambda: is_quiet(store))
    assert len(store.quarantined()) == MANY
    assert len(logged(caplog, f"Unable to restore 30 jobs ({FIRST}) -- quarantining them")) == 1
    assert len(logged(caplog, "Unable to restore")) == 1


def test_unreadable_jobs_of_a_read_share_a_line_that_is_logged_once(store, caplog):
    add_unreadable(store)
    for _ in range(2):
        assert store.get_all_jobs() == []
    (line,) = logged(caplog, "Unable to restore")
    assert f"30 jobs ({FIRST}) -- passing them over: UnpicklingError" in line


def test_jobs_restored_from_quarantine_share_a_line(store, caplog):
    store.add_jobs([job(name, executor="gpu") for name in IDS])
    scheduler = by_hand(store)
    scheduler._process_jobs()
    scheduler.add_executor(scheduler.executor, "gpu")
    store.restore_quarantined()
    assert logged(caplog, "30 jobs load again (00, 01, ")
    assert logged(caplog, " and 20 more) -- they are back")


def test_refused_jobs_share_a_line_and_a_command(store, commands, caplog):
    store.add_jobs([job(name) for name in IDS])
    rule = {"next_run_time": {"$not": {"$gt": at(1000).timestamp()}}}
    store.collection.database.command("collMod", "jobs", validator=rule)
    scheduler = by_hand(store)
    commands.names.clear()
    scheduler._process_jobs()
    assert len(store.quarantined()) == MANY
    (line,) = logged(caplog, "can't be written")
    assert line.startswith("30 jobs (")
    assert "quarantining them: Document failed validation" in line
    assert commands.names.count("update") <= 3, "the flush, its separate statements, the quarantine"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda jobs: jobs.delete_many({"_id": {"$ne": "29"}}),
            "29 jobs ({}) were removed by others meanwhile",
        ),
        (
            lambda jobs: jobs.update_many({"_id": {"$ne": "29"}}, {"$set": {"next_run_time": 9e9}}),
            "29 jobs ({}) were rescheduled by others meanwhile",
        ),
        (
            lambda jobs: jobs.update_many(
                {"_id": {"$ne": "29"}}, {"$set": {"job_state": good("x")["job_state"]}}
            ),
            "29 jobs ({}) were changed by others meanwhile",
        ),
    ],
    ids=["removed", "rescheduled", "changed"],
)
def test_jobs_changed_by_others_during_a_cycle_share_a_line(store, stock, caplog, change, line):
    store.add_jobs([job(name) for name in IDS])
    scheduler = by_hand(store, lambda each: each.id == "29" and change(stock.collection))
    scheduler._process_jobs()
    names = FIRST.replace("20 more", "19 more")
    assert logged(caplog, "by others meanwhile") == [line.format(names)]


def test_jobs_removed_by_others_before_a_mirror_writes_share_a_line(start, caplog):
    def act(each):
        if each.id == "00":
            store.collection.delete_many({})
            until(lambda: store._reader.mirror.count() == 0)

    scheduler, store = start()
    store.add_jobs([job(name) for name in IDS])
    until(lambda: is_quiet(store))
    scheduler.executor.then = act
    scheduler._process_jobs()
    until(lambda: is_quiet(store))
    assert logged(caplog, "by others meanwhile") == [
        f"30 jobs ({FIRST}) were removed by others meanwhile"
    ]
    assert names(store) == []


def test_jobs_with_new_states_that_cannot_be_pickled_share_a_line(store, caplog):
    def spoil(each):
        each.args = (lambda: None,)

    store.add_jobs([job(name) for name in IDS])
    by_hand(store, spoil)._process_jobs()
    lines = logged(caplog, "not their new ones")
    assert (
        sum(f"30 jobs ({FIRST}) keep their old states" in line for line in lines) == len(lines) == 1
    )
    assert all(each > at(YEARS - 1).timestamp() for each in _run_times(store))


def _run_times(store):
    return [document["next_run_time"] for document in store.collection.find()]


def test_jobs_left_to_other_schedulers_share_a_line(make, caplog):
    store = make()
    store.add_jobs([job(name, executor="special") for name in IDS])
    run(store)
    (line,) = logged(caplog, "to other schedulers")
    assert line == (
        f"Leaving 30 jobs ({FIRST}) to other schedulers: there is no executor 'special' here"
    )


def test_jobs_that_run_twice_share_a_line(make, clock, caplog):
    first, second = make(), make()
    first.add_jobs([job(name) for name in IDS])

    def pause(each):
        if each.id == "29":
            clock.advance(11)
            assert len(second.get_due_jobs(at(10))) == MANY

    run(first, pause)
    assert logged(caplog, "twice") == [
        f"30 jobs ({FIRST}) run twice: their lease ended, others took them"
    ]


def test_jobs_of_a_failed_write_share_a_line(server, database, session_client, caplog):
    fail = {"failCommands": ["update"], "appName": "unwritten", "errorCode": 91}
    with MongoClient(server.uri, appName="unwritten") as client:
        store = MongoDBJobStore(database.name, client=client, batch_size=MANY)
        store.add_jobs([job(name) for name in IDS])
        scheduler = by_hand(store)  # its cycle flushes at the last job, which fills the batch
        point = {"configureFailPoint": "failCommand"}
        session_client.admin.command({**point, "mode": "alwaysOn", "data": fail})
        try:
            scheduler._process_jobs()
        finally:
            session_client.admin.command({**point, "mode": "off"})
        assert logged(caplog, f"Unable to write 30 jobs ({FIRST}), to be tried again: ")
        scheduler._process_jobs()
        assert all(each > at(YEARS - 1).timestamp() for each in _run_times(store))


class EmptiedDeque(deque):
    """Loses its other items after the first one is taken, as if to another thread."""

    def popleft(self):
        first = super().popleft()
        self.clear()
        return first


def test_two_threads_can_log_the_same_lines_at_once(caplog):
    """A mirrored store's cycle and its flusher may. An error would end the scheduler's thread."""
    lines = Summary()
    lines._noted = EmptiedDeque()
    for number in range(3):
        lines.add(Line(logging.WARNING, "one: %s", "%s: %s"), number)
    lines.log(logging.getLogger("test"))
    assert [record.getMessage() for record in caplog.records] == ["one: 0"]
