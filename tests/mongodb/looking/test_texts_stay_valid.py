"""The stored texts stay valid while jobs run, and no longer once a stock store changes a job."""

from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobstore import MongoDBJobStore
from jobstore.about import about_job
from jobstore.mongodb.about_field import stored_about
from support.jobs import at, job
from support.manual_scheduler import by_hand
from support.mirrored_stores import is_quiet
from support.unsteady import MODES
from support.waiting import until

TRIGGERS = {
    "interval": IntervalTrigger(minutes=5, start_date=at(0), timezone="UTC"),
    "cron": CronTrigger(minute=5, timezone="Europe/Berlin"),
    "and": AndTrigger([CronTrigger(minute=5, timezone="UTC")] * 2),
    "or": OrTrigger([CronTrigger(minute=5, timezone="UTC"), CronTrigger(hour=5, timezone="UTC")]),
    "calendarinterval": CalendarIntervalTrigger(
        days=1, hour=5, start_date="2025-01-01", timezone="Europe/Berlin"
    ),
}


def another(*args):
    """Do nothing: another function of the jobs."""


def jobs(scheduler=None):
    """Make an overdue job of each trigger, and one with a zone that only its run time has."""
    made = []
    for name, trigger in TRIGGERS.items():
        first = trigger.get_next_fire_time(None, datetime.now(timezone.utc) - timedelta(days=2))
        made.append(job(f"{name} job", trigger=trigger, next_run_time=first, scheduler=scheduler))
    other = at(5).astimezone(TRIGGERS["cron"].timezone)
    made.append(job("zone", next_run_time=other, scheduler=scheduler))
    return made


def valid(database):
    """Return the ids of the documents whose texts are valid; asserts that these are right."""
    expected, found = {each.id: about_job(each) for each in jobs()}, []
    for document in database["jobs"].find():
        about = stored_about(document)
        if about is not None:
            assert about == expected[document["_id"]]
            found.append(document["_id"])
    return sorted(found)


ALL = sorted([*(f"{name} job" for name in TRIGGERS), "zone"])


def run_times(database):
    return {each["_id"]: each["next_run_time"] for each in database["jobs"].find()}


@pytest.fixture(params=MODES)
def options(request):
    return MODES[request.param]


def start(server, database, **options):
    return MongoDBJobStore(database.name, host=server.uri, **options)


def test_after_cycles_of_ours(server, database, options):
    store = start(server, database, **options)
    scheduler = by_hand(store)
    store.add_jobs(jobs(scheduler))
    before = run_times(database)
    scheduler._process_jobs()
    until(lambda: not store._write_behind.has_pending)
    assert all(run_times(database)[name] > before[name] for name in ALL)
    assert valid(database) == ALL
    if options.get("mirror"):
        until(lambda: is_quiet(store))
    scheduler.shutdown()


def test_after_pause_and_resume_of_ours(server, database, options):
    scheduler = by_hand(start(server, database, **options))
    scheduler._jobstores["default"].add_jobs(jobs(scheduler))
    for name in ALL:
        scheduler.pause_job(name)
    assert valid(database) == ALL
    for name in ALL:
        scheduler.resume_job(name)
    assert valid(database) == ALL
    scheduler.shutdown()


def test_after_catching_up_holding_and_releasing(server, database):
    store = start(server, database)
    store.add_jobs(jobs())
    store.shutdown()
    store = start(server, database, catch_up="hold")
    scheduler = by_hand(store)
    assert set(run_times(database).values()) == {None}
    assert valid(database) == ALL
    assert store.release_held() == len(ALL)
    assert valid(database) == ALL
    scheduler.shutdown()


def test_after_a_stay_in_quarantine(store, database):
    store.add_jobs([job("interval", trigger=TRIGGERS["interval"], executor="gone")])
    before = database["jobs"].find_one()["about"]
    scheduler = by_hand(store)
    scheduler._process_jobs()
    assert [each.id for each in store.quarantined()] == ["interval"]
    scheduler.add_executor(scheduler.executor, "gone")
    assert store.restore_quarantined() == ["interval"]
    document = database["jobs"].find_one()
    assert document["about"] == before
    assert stored_about(document).executor == "gone"
    scheduler.shutdown()


def with_stock(server, database):
    """Store the jobs with our store, and start a scheduler on a stock store."""
    store = start(server, database)
    store.add_jobs(jobs())
    store.shutdown()
    return by_hand(StockMongoDBJobStore(database.name, host=server.uri))


def test_after_a_cycle_of_a_stock_store(server, database):
    scheduler = with_stock(server, database)
    before = run_times(database)
    scheduler._process_jobs()
    assert all(run_times(database)[name] > before[name] for name in ALL)
    assert valid(database) == ALL
    scheduler.shutdown()


def test_after_pause_and_resume_in_a_stock_store(server, database):
    scheduler = with_stock(server, database)
    for name in ALL:
        scheduler.pause_job(name)
    assert valid(database) == ALL
    for name in ALL:
        scheduler.resume_job(name)
    assert valid(database) == ALL
    scheduler.shutdown()


@pytest.mark.parametrize(
    "change",
    [{"name": "new"}, {"func": another}, {"executor": "new"}, {"args": (1,)}, {"max_instances": 5}],
    ids=lambda change: next(iter(change)),
)
def test_no_longer_after_a_change_in_a_stock_store(server, database, change):
    scheduler = with_stock(server, database)
    for name in ALL:
        scheduler.modify_job(name, **change)
    assert valid(database) == []
    assert all("about" in document for document in database["jobs"].find())
    scheduler.shutdown()


def test_no_longer_with_a_new_trigger_of_a_stock_store(server, database):
    scheduler = with_stock(server, database)
    for name in ALL:
        scheduler.reschedule_job(name, trigger=CronTrigger(minute=9, timezone="UTC"))
    assert valid(database) == []
    scheduler.shutdown()
