"""Held jobs keep their run times in a mark, until they are released or get a new run time."""

import logging
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import OrTrigger
from bson import Binary, Decimal128
from pymongo.errors import PyMongoError

from jobstore import ConflictingIdError, MongoDBJobStore
from jobstore.mongodb import connection
from jobstore.mongodb.overdue import held
from support.damaged_documents import good
from support.jobs import YEARS, at, job, names, run_times
from support.manual_scheduler import by_hand
from support.mirrored_stores import run, wait_until_equal
from support.overdue import ACTING, EVERY_MODE, document_of
from support.proxy import Proxy
from support.slow_line import lines
from support.waiting import until

A_AND_B = {"a": at(0).timestamp(), "b": at(1).timestamp()}


def two_jobs():
    return [job("a", 0), job("b", 1)]


def is_held(store, job_id):
    return "held" in document_of(store, job_id)


@EVERY_MODE
def test_release_gives_the_run_times_back_and_the_jobs_fire(start_on, mode, caplog):
    caplog.set_level(logging.INFO)
    scheduler, store = start_on("hold", jobs=[*two_jobs(), job("paused", None)], **mode)
    assert store.release_held() == 2
    assert run_times(store) == {**A_AND_B, "paused": None}
    for each in store.get_all_jobs():
        assert each.next_run_time in (at(0), at(1), None)
        assert not is_held(store, each.id)
    assert store.release_held() == 0
    while scheduler._process_jobs() < 1:
        pass
    assert scheduler.executor.submitted == [("a", [at(0)]), ("b", [at(1)])]
    assert caplog.messages.count("2 held jobs are released") == 1


@EVERY_MODE
def test_resumed_job_is_released(start_on, mode):
    scheduler, store = start_on("hold", jobs=two_jobs(), **mode)
    scheduler.resume_job("a")
    assert not is_held(store, "a")
    assert run_times(store) == {"a": at(YEARS).timestamp(), "b": None}
    assert store.release_held() == 1
    assert run_times(store) == {"a": at(YEARS).timestamp(), "b": at(1).timestamp()}


@EVERY_MODE
def test_job_that_is_modified_stays_held(start_on, mode):
    scheduler, store = start_on("hold", jobs=two_jobs(), **mode)
    mark = document_of(store, "a")["held"]
    scheduler.modify_job("a", name="newer", args=("new",))
    assert document_of(store, "a")["held"] == mark
    assert store.release_held() == 2
    assert run_times(store) == A_AND_B
    assert store.lookup_job("a").name == "newer"
    assert store.lookup_job("a").next_run_time == at(0)


@pytest.mark.parametrize("call", ["update_job", "update_jobs", "add_jobs"])
@pytest.mark.parametrize("run_time", [9, None])
def test_write_with_a_run_time_releases_and_one_without_does_not(start_on, call, run_time):
    _, store = start_on("hold", jobs=two_jobs())
    newer = job("a", run_time)
    {
        "update_job": lambda: store.update_job(newer),
        "update_jobs": lambda: store.update_jobs([newer]),
        "add_jobs": lambda: store.add_jobs([newer], replace_existing=True),
    }[call]()
    assert is_held(store, "a") == (run_time is None)
    assert run_times(store)["a"] == (None if run_time is None else at(9).timestamp())


@pytest.mark.parametrize("call", ["add_job", "add_jobs", "update_job"])
def test_paused_job_gets_no_mark(store, call):
    store.start(None, "default")
    if call == "update_job":
        store.add_job(job("a", 5))
        store.update_job(job("a", None))
    elif call == "add_jobs":
        store.add_jobs([job("a", None)], replace_existing=True)
    else:
        store.add_job(job("a", None))
    assert document_of(store, "a").keys() == {"_id", "next_run_time", "job_state"}
    assert store.lookup_job("a").next_run_time is None
    assert type(store.collection.find_one()["job_state"]) in (bytes, Binary)


def test_scheduler_replaces_a_held_job(start_on):
    scheduler, store = start_on("hold", jobs=two_jobs())
    with pytest.raises(ConflictingIdError):
        store.add_job(job("a", 5))
    scheduler.add_job(
        "support.jobs:note", "interval", days=9, id="a", replace_existing=True, misfire_grace_time=1
    )
    assert not is_held(store, "a")
    assert run_times(store)["a"] > at(0).timestamp()


def test_held_jobs_can_be_removed(start_on):
    scheduler, store = start_on("hold", jobs=[*two_jobs(), job("c", 2)])
    scheduler.remove_job("a")
    store.remove_jobs(["b"])
    assert names(store) == ["c"]
    store.remove_all_jobs()
    assert names(store) == []
    assert store.release_held() == 0


def test_held_jobs_stay_held_when_sharing_ends(start_on):
    _, store = start_on("hold", jobs=two_jobs(), shared=True)
    store.shutdown()
    store.end_sharing()
    _, alone = start_on("fire")
    assert alone.release_held() == 2
    assert run_times(alone) == A_AND_B


def test_held_jobs_stay_held_at_the_next_start(start_on):
    _, store = start_on("hold", jobs=two_jobs())
    mark = document_of(store, "a")["held"]
    store.shutdown()
    _, again = start_on("hold")
    assert document_of(again, "a")["held"] == mark
    assert again.release_held() == 2


def test_job_in_quarantine_is_not_held(start_on, database):
    adder = MongoDBJobStore(database.name, client=database.client)
    adder.add_jobs([job("a", 0, executor="gone"), job("b", 1)])
    _, first = start_on("fire")
    first._scheduler._process_jobs()
    assert [each.id for each in first.quarantined()] == ["a"]
    first.shutdown()
    _, second = start_on("hold")
    assert not is_held(second, "a")
    assert second.release_held() == 0
    assert [each.id for each in second.quarantined()] == ["a"]


def test_held_job_that_cannot_run_goes_into_quarantine_after_its_release(start_on):
    scheduler, store = start_on("hold", jobs=[job("a", 0, executor="gone")])
    assert store.quarantined() == []
    assert store.release_held() == 1
    scheduler._process_jobs()
    assert [each.id for each in store.quarantined()] == ["a"]
    assert not is_held(store, "a")


@pytest.mark.parametrize("combined", [False, True])
def test_released_job_keeps_the_zone_of_its_trigger(start_on, combined):
    """A calendar trigger counts from the local date. In UTC it would be the day before."""
    zone = ZoneInfo("Pacific/Auckland")
    trigger = CalendarIntervalTrigger(days=1, hour=4, timezone="Pacific/Auckland")
    first = datetime(2020, 1, 2, 4, tzinfo=zone)
    due = job("a", trigger=OrTrigger([trigger]) if combined else trigger, next_run_time=first)
    _, store = start_on("hold", jobs=[due])
    assert store.release_held() == 1
    released = store.lookup_job("a")
    assert released.next_run_time == first
    following = released.trigger.get_next_fire_time(released.next_run_time, at(0))
    assert following == datetime(2020, 1, 3, 4, tzinfo=zone)


@pytest.mark.parametrize(
    "change", [{"_id": {"a": 1}}, {"_id": 5}, {"next_run_time": Decimal128("1")}], ids=str
)
@pytest.mark.parametrize("policy", ACTING)
def test_documents_that_are_no_jobs_are_left_and_do_not_stop_a_release(
    start_on, database, policy, change
):
    document = good("a") | change
    database["jobs"].insert_one(document)
    _, store = start_on(policy, jobs=[job("b", 1)])
    assert store.release_held() == (policy == "hold")
    assert document in database["jobs"].find()


# Marks that are stale, damaged, or changed meanwhile


@EVERY_MODE
def test_stale_mark_releases_nothing_and_is_removed(start_on, stock, mode):
    _, store = start_on("hold", jobs=two_jobs(), **mode)
    stock.update_job(job("a", 77))
    assert is_held(store, "a")
    assert store.release_held() == 1
    assert not is_held(store, "a")
    assert run_times(store) == {"a": at(77).timestamp(), "b": at(1).timestamp()}


def test_stale_mark_does_not_release_a_job_that_is_paused_later(start_on, stock):
    scheduler, store = start_on("hold", jobs=two_jobs())
    stock.update_job(job("a", 10 * YEARS))
    scheduler.pause_job("a")
    assert not is_held(store, "a")
    assert store.release_held() == 1
    assert run_times(store) == {"a": None, "b": at(1).timestamp()}


@pytest.mark.parametrize(
    "mark", [5, {}, {"op": "catch_up"}, {"op": "catch_up", "next_run_time": "x"}]
)
def test_damaged_mark_releases_nothing(start_on, database, mark):
    _, store = start_on("fire", jobs=[job("a", None)])
    database["jobs"].update_one({"_id": "a"}, {"$set": {"held": mark}})
    assert store.release_held() == 0
    assert run_times(store) == {"a": None}


@pytest.mark.parametrize("change", ["resumed", "modified", "removed"])
def test_change_between_reading_and_release_wins(start_on, stock, monkeypatch, change):
    _, store = start_on("hold", jobs=two_jobs())
    release = held.release

    def changed_first(*args):
        {
            "resumed": lambda: stock.update_job(job("a", 77)),
            "modified": lambda: stock.update_job(job("a", None, args=("new",))),
            "removed": lambda: stock.remove_job("a"),
        }[change]()
        return release(*args)

    monkeypatch.setattr(held, "release", changed_first)
    assert store.release_held() == 1
    expected = {"resumed": at(77).timestamp(), "modified": None}
    times = run_times(store)
    assert times.get("a", "removed") == expected.get(change, "removed")
    assert times["b"] == at(1).timestamp()


def test_release_that_meets_a_conflict_takes_one_command_more(start_on, stock, monkeypatch):
    _, store = start_on("hold", jobs=[job(f"{i}", i) for i in range(30)])
    release = held.release

    def changed_first(*args):
        stock.update_job(job("9", 77))
        store.commands.names.clear()
        return release(*args)

    monkeypatch.setattr(held, "release", changed_first)
    assert store.release_held() == 29
    assert store.commands.names == ["update", "find", "update"]


# Mirrors, wake-ups, faults, many jobs


@pytest.mark.parametrize("mirror", [True, "exclusive"])
def test_live_mirror_shows_the_release_at_once(start_on, mirror):
    scheduler, store = start_on("hold", jobs=two_jobs(), mirror=mirror)
    until(lambda: scheduler._process_jobs() is None and store._reader.is_live)
    assert store.get_next_run_time() is None
    assert store.release_held() == 2
    assert store._reader.is_live
    assert store.get_next_run_time() == at(0)
    if mirror is True:
        wait_until_equal(store)


@pytest.mark.parametrize("call", ["release_held", "update_jobs"])
def test_job_that_runs_before_its_write_is_acknowledged_runs_once(start_on, monkeypatch, call):
    """The change stream may be faster than the answer to the write."""
    scheduler, store = start_on("hold", jobs=two_jobs(), mirror=True)
    until(lambda: scheduler._process_jobs() is None and store._reader.is_live)
    wrote = store._reader.wrote

    def run_first(records):
        until(lambda: store._reader.mirror.find("a")["next_run_time"])
        scheduler._process_jobs()
        wrote(records)

    monkeypatch.setattr(store._reader, "wrote", run_first)
    if call == "release_held":
        store.release_held()
    else:
        store.update_jobs(two_jobs())
    for _ in range(3):
        scheduler._process_jobs()
    assert sorted(scheduler.executor.submitted) == [("a", [at(0)]), ("b", [at(1)])]
    wait_until_equal(store)


@pytest.mark.parametrize(
    "options", [{}, {"mirror": True}, {"mirror": "exclusive"}, {"watch": 3600}]
)
def test_release_wakes_the_scheduler(server, database, options):
    store = MongoDBJobStore(database.name, host=server.uri, catch_up="hold", **options)
    MongoDBJobStore(database.name, client=database.client).add_jobs(two_jobs())
    scheduler = run(store)
    until(lambda: store._wakeups._awaited)
    assert store.release_held() == 2
    until(lambda: {"a", "b"} <= set(scheduler.executor.times))
    scheduler.shutdown()


@pytest.mark.parametrize(("command", "how"), [("update", "lose"), ("find", "close")])
def test_release_is_complete_after_a_fault(start_on, server, command, how):
    with Proxy(server.nodes[0].port) as proxy:
        _, store = start_on("hold", uri=proxy.uri, jobs=two_jobs())
        proxy.fail(command, how)
        assert store.release_held() == 2
        assert proxy.fault_count == 1
        assert run_times(store) == A_AND_B
        store.shutdown()


@pytest.mark.parametrize("how", ["close", "lose", "hang"])
def test_release_goes_on_after_an_outage(start_on, server, monkeypatch, how):
    with Proxy(server.nodes[0].port) as proxy:
        _, store = start_on("hold", uri=proxy.uri, jobs=two_jobs())
        proxy.fail("update", how, times=100)
        with monkeypatch.context() as patch:
            patch.setattr(connection, "COMMAND_SECONDS", 1.0)
            with pytest.raises(PyMongoError):
                store.release_held()
        proxy.release()
        assert store.release_held() == (2 if how == "close" else 0)
        assert run_times(store) == A_AND_B
        store.shutdown()


def test_thousands_of_jobs_are_released_in_few_commands(start_on, unhurried):
    _, store = start_on("hold", jobs=[job(f"{i:04}", i) for i in range(5_000)])
    store.commands.names.clear()
    assert store.release_held() == 5_000
    assert len(store.commands.names) < 5 * 4
    assert store.collection.count_documents({"held": {"$exists": True}}) == 0
    assert run_times(store) == {f"{i:04}": at(i).timestamp() for i in range(5_000)}


@pytest.mark.parametrize("megabytes", [7, 9, 15])
def test_job_of_many_megabytes_is_released(start_on, megabytes):
    """Two states of such a size don't fit into one statement."""
    large = job("large", 0, args=(b"x" * (megabytes * 1_000_000),))
    _, store = start_on("hold", jobs=[large, job("b", 1)])
    assert store.release_held() == 2
    assert run_times(store) == {"large": at(0).timestamp(), "b": at(1).timestamp()}
    assert store.lookup_job("large").args == large.args


def test_large_job_that_another_process_changes_is_not_overwritten(start_on, stock, monkeypatch):
    large = b"x" * 9_000_000
    _, store = start_on("hold", jobs=[job("a", 0, args=(large,))])
    release = held.release

    def changed_first(*args):
        stock.update_job(job("a", None, args=(large + b"more",)))
        return release(*args)

    monkeypatch.setattr(held, "release", changed_first)
    assert store.release_held() == 0
    assert store.lookup_job("a").args == (large + b"more",)


def test_release_finds_held_jobs_by_an_index(start_on):
    _, store = start_on("hold", jobs=[*two_jobs(), *(job(f"{i}", YEARS * 9) for i in range(500))])
    found = store.collection.find(held.HELD).explain()["executionStats"]
    assert found["nReturned"] == 2
    assert found["totalDocsExamined"] == 2


def test_large_jobs_are_released_over_a_slow_line(server, database, monkeypatch):
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 1.0)
    adder = MongoDBJobStore(database.name, client=database.client, catch_up="hold")
    adder.add_jobs([job(f"{i}", i, args=(b"x" * 20_000,)) for i in range(30)])
    by_hand(adder)
    with lines(server, database) as line:
        slow = line(watch=False)
        slow.proxy.rate = 400_000.0
        assert slow.store.release_held() == 30
    assert run_times(adder) == {f"{i}": at(i).timestamp() for i in range(30)}
    adder.shutdown()
