"""Jobs that are overdue at a start are fired, moved on, spread over a time, or held."""

import logging
import re
from datetime import timedelta
from itertools import pairwise

import pytest
from apscheduler.jobstores.mongodb import MongoDBJobStore as StockMongoDBJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb.arguments import YEAR
from jobstore.mongodb.overdue import policies
from support.damaged_documents import Fatal, Raises, corpus, damaged, good, state
from support.jobs import YEARS, at, job, names, run_times
from support.overdue import ACTING, EVERY_MODE, HOUR, ago, document_of, due, now, summary_lines


@pytest.fixture(autouse=True)
def _all_levels(caplog):
    caplog.set_level(logging.INFO)


# Arguments


@pytest.mark.parametrize(
    "wrong",
    ["", "later", "SKIP", "spread", "spread:", "spread:0", "spread:-1", "spread:nan", "spread:inf",
     "spread:soon", f"spread:{YEAR + 1}", None, True, 60, ["skip"]],
)  # fmt: skip
def test_wrong_policy_is_refused_with_the_right_ones(wrong):
    with pytest.raises(ValueError, match=re.escape(f'catch_up is {wrong!r}: it must be "fire"')):
        MongoDBJobStore(catch_up=wrong)


@pytest.mark.parametrize("wrong", [-1, "60", "", None, True, float("nan"), float("inf"), [60]])
def test_wrong_overdue_is_refused_with_the_right_ones(wrong):
    with pytest.raises(ValueError, match=re.escape(f"overdue is {wrong!r}: it must be a number")):
        MongoDBJobStore(overdue=wrong)


def test_policy_can_be_given_as_text_in_a_configuration(server, database):
    MongoDBJobStore(database.name, client=database.client).add_jobs(
        [due(f"{i}", ago(2 * HOUR)) for i in range(3)]
    )
    scheduler = BackgroundScheduler(
        {
            "apscheduler.jobstores.default.type": "fastmongodb",
            "apscheduler.jobstores.default.database": database.name,
            "apscheduler.jobstores.default.host": server.uri,
            "apscheduler.jobstores.default.catch_up": "spread:600",
            "apscheduler.jobstores.default.overdue": 90,
        },
        timezone="UTC",
    )
    scheduler.start(paused=True)
    scheduler.shutdown()
    assert all(each["next_run_time"] > ago(60).timestamp() for each in database["jobs"].find())


# Each policy


@EVERY_MODE
def test_fire_leaves_overdue_jobs_due_and_costs_no_command(start_on, database, mode):
    jobs = [due("a", at(0)), due("b", at(1))]
    scheduler, store = start_on("fire", jobs=jobs, **mode)
    assert run_times(store) == {"a": at(0).timestamp(), "b": at(1).timestamp()}
    sent = [name for name in store.commands.names if name != "getMore"]
    store.shutdown()
    _, other = start_on("skip", **mode)
    acting = [name for name in other.commands.names if name != "getMore"]
    assert acting.count("find") == sent.count("find") + 1
    scheduler._process_jobs()


@EVERY_MODE
def test_skip_moves_jobs_on_and_removes_one_offs(start_on, mode, caplog):
    jobs = [
        job("yearly", 0),
        job("once", 1, every=None),
        due("late", ago(30)),
        due("soon", ago(-9)),
    ]
    before = {each.id: each.next_run_time.timestamp() for each in jobs}
    scheduler, store = start_on("skip", jobs=jobs, **mode)
    expected = {**before, "yearly": at(YEARS).timestamp()}
    del expected["once"]
    assert run_times(store) == expected
    assert document_of(store, "yearly").keys() == {"_id", "next_run_time", "job_state"}
    scheduler._process_jobs()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["late"]
    assert summary_lines(caplog) == [
        'catch_up="skip", jobs overdue for more than 60 s: '
        "1 moved on, 1 removed, 0 left as they are"
    ]


def every_trigger():
    start = ago(3 * HOUR + 7)
    hours = IntervalTrigger(hours=1, start_date=start, timezone="UTC")
    ended = IntervalTrigger(hours=1, start_date=start, end_date=ago(HOUR), timezone="UTC")
    return {
        "interval": hours,
        "interval that has ended": ended,
        "interval in another zone": IntervalTrigger(
            minutes=7, start_date=start, timezone="Europe/Helsinki"
        ),
        "cron": CronTrigger(minute="*/7", second=3, timezone="Europe/Helsinki"),
        "cron that has ended": CronTrigger(minute="*/7", end_date=ago(HOUR), timezone="UTC"),
        "calendar": CalendarIntervalTrigger(days=1, hour=4, timezone="UTC"),
        "combined": OrTrigger([hours, CronTrigger(minute="*/11", timezone="UTC")]),
        "date": DateTrigger(start, "UTC"),
    }


def as_the_scheduler_does(each, moment):
    last = each._get_run_times(moment)[-1]
    return each.trigger.get_next_fire_time(last, moment)


@pytest.mark.parametrize("kind", every_trigger())
def test_skip_chooses_the_run_time_that_the_scheduler_would_choose(kind):
    trigger = every_trigger()[kind]
    for seconds in (3 * HOUR + 7, 2 * HOUR + 0.25, HOUR + 3661):  # also off the trigger's grid
        each = due("a", ago(seconds), trigger)
        for moment in (now(), each.next_run_time + timedelta(hours=1)):
            assert policies.following_run_time(each, moment) == as_the_scheduler_does(each, moment)


def test_skip_passes_a_month_of_seconds_without_counting_them():
    each = due("a", ago(30 * 86400), IntervalTrigger(seconds=1, start_date=at(0), timezone="UTC"))
    moment = now()
    following = policies.following_run_time(each, moment)
    assert timedelta(0) < following - moment <= timedelta(seconds=1)


def test_jitter_never_moves_a_job_to_a_past_run_time():
    trigger = IntervalTrigger(seconds=10, start_date=at(0), timezone="UTC", jitter=10)
    for _ in range(100):
        moment = now()
        assert policies.following_run_time(due("a", ago(HOUR), trigger), moment) > moment


class Unhelpful(IntervalTrigger):
    """A trigger of a user that fails, or that goes on for very long."""

    def get_next_fire_time(self, previous, now):
        if self.jitter:
            raise RuntimeError("no next time")
        return super().get_next_fire_time(previous, now)


@pytest.mark.parametrize("jitter", [0, 1])
def test_skip_leaves_a_job_whose_next_run_time_cannot_be_found(start_on, caplog, jitter):
    trigger = Unhelpful(seconds=1, start_date=ago(86400), timezone="UTC", jitter=jitter)
    jobs = [due("endless", ago(86400), trigger), due("good", ago(HOUR / 2))]
    _, store = start_on("skip", jobs=jobs)
    assert run_times(store)["endless"] == jobs[0].next_run_time.timestamp()
    assert run_times(store)["good"] > now().timestamp()
    assert summary_lines(caplog)[0].endswith("1 moved on, 0 removed, 1 left as they are")


@EVERY_MODE
def test_spread_is_even_and_in_the_order_of_run_times(start_on, stock, mode, caplog):
    jobs = [job(f"{i:02}", 20 - i, misfire_grace_time=1) for i in range(20)]
    before = now().timestamp()
    _, store = start_on("spread:600", jobs=[*jobs, due("late", ago(30))], **mode)
    after = now().timestamp()
    times = run_times(store)
    assert times.pop("late") < before
    assert sorted(times, key=times.get) == [f"{i:02}" for i in reversed(range(20))]
    spread = sorted(times.values())
    assert all(abs(b - a - 30) < 0.01 for a, b in pairwise(spread))
    assert before <= spread[0] <= after + 0.01
    assert spread[-1] < after + 600
    for each in [*store.get_all_jobs(), *stock.get_all_jobs()]:
        if each.id in times:
            assert each.next_run_time.timestamp() == times[each.id]
    assert summary_lines(caplog) == [
        'catch_up="spread:600", jobs overdue for more than 60 s: '
        "20 spread, 0 removed, 0 left as they are"
    ]


@EVERY_MODE
def test_hold_takes_the_run_times_away_and_keeps_them(start_on, stock, mode, caplog):
    jobs = [job("yearly", 0), job("once", 1, every=None), due("late", ago(30))]
    scheduler, store = start_on("hold", jobs=jobs, **mode)
    for name, seconds in (("yearly", 0), ("once", 1)):
        document = document_of(store, name)
        held = document["held"]
        assert document["next_run_time"] is None
        assert held["next_run_time"] == at(seconds).timestamp()
        assert held["op"] == "catch_up"
        assert re.fullmatch(r".+:\d+", held["by"])
        assert abs(held["at"] - now()) < timedelta(seconds=60)
        assert store.lookup_job(name).next_run_time is None
        assert stock.lookup_job(name).next_run_time is None
    scheduler._process_jobs()
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["late"]
    assert store.quarantined() == []
    assert summary_lines(caplog) == [
        'catch_up="hold", jobs overdue for more than 60 s: 2 held, 0 removed, 0 left as they are'
    ]


@pytest.mark.parametrize("policy", ACTING)
def test_jobs_overdue_for_no_longer_than_the_limit_stay_due(start_on, policy, caplog):
    jobs = [due("a", ago(100)), job("paused", None)]
    _, store = start_on(policy, jobs=jobs, overdue=HOUR)
    assert run_times(store) == {"a": jobs[0].next_run_time.timestamp(), "paused": None}
    assert summary_lines(caplog) == []


@pytest.mark.parametrize("policy", ACTING)
def test_policy_acts_at_each_start_and_never_in_between(start_on, policy):
    scheduler, store = start_on(policy, jobs=[job("a", 0)])
    store.add_job(job("b", 0))
    scheduler._process_jobs()
    assert run_times(store)["b"] == at(YEARS).timestamp()
    store.shutdown()
    store.add_job(job("c", 0))
    store.start(scheduler, "default")
    assert run_times(store)["c"] != at(0).timestamp()


def test_policy_needs_no_scheduler(server, database):
    store = MongoDBJobStore(database.name, host=server.uri, catch_up="skip")
    store.add_job(job("a", 0))
    store.start(None, "default")
    assert run_times(store) == {"a": at(YEARS).timestamp()}
    store.shutdown()


# Jobs that can't be restored


@pytest.mark.parametrize("policy", ACTING)
def test_damaged_documents_are_neither_lost_nor_in_the_way(start_on, database, policy):
    kinds = corpus()
    kinds.pop("executor")
    documents = [
        damaged(name, difference)
        for name, (difference, _) in kinds.items()
        if "next_run_time" not in difference
    ]
    database["jobs"].insert_many([*documents, good("good", 1)])
    _, store = start_on(policy)
    assert len(names(store)) == len(documents) + 1
    assert run_times(store)["good"] != at(1).timestamp()
    if policy == "skip":
        assert [each for each in store.collection.find() if each["_id"] != "good"] == documents
    for each in documents:
        found = document_of(store, each["_id"])
        assert "quarantine" not in found
        if not isinstance(each.get("job_state"), bytes):
            assert found == each


def test_job_of_another_process_is_held_and_released_unchanged(start_on, database):
    document = damaged("a", {"job_state": state("a", func="gone_module:f")})
    database["jobs"].insert_one(document)
    _, store = start_on("hold")
    assert document_of(store, "a")["next_run_time"] is None
    store.release_held()
    found = document_of(store, "a")
    assert found["next_run_time"] == document["next_run_time"]
    assert "held" not in found


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_keyboard_interrupt_of_a_state_ends_the_start(start_on, database, error):
    document = damaged("a", {"job_state": state("a", args=(Raises(error()),))})
    database["jobs"].insert_one(document)
    with pytest.raises(error):
        start_on("skip")
    assert list(database["jobs"].find()) == [document]


def test_other_fatal_errors_of_a_state_leave_its_job(start_on, database):
    document = damaged("a", {"job_state": state("a", args=(Raises(Fatal()),))})
    database["jobs"].insert_one(document)
    _, store = start_on("skip")
    assert document_of(store, "a") == document


@pytest.mark.parametrize("policy", ACTING)
def test_document_that_the_server_refuses_is_left(start_on, database, policy, caplog):
    database.command("create", "jobs", validator={"held": {"$exists": False}})
    rule = {"$or": [{"_id": {"$ne": "refused"}}, {"next_run_time": at(5).timestamp()}]}
    jobs = [job("refused", 5), *(job(f"{i}", i) for i in range(5))]
    MongoDBJobStore(database.name, client=database.client).add_jobs(jobs)
    database.command("collMod", "jobs", validator=rule)
    _, store = start_on(policy)
    assert run_times(store)["refused"] == at(5).timestamp()
    assert not {at(i).timestamp() for i in range(5)} & set(run_times(store).values())
    assert "5 " in summary_lines(caplog)[0]
    assert summary_lines(caplog)[0].endswith("0 removed, 1 left as they are")


# Switching over, and back


def test_stock_scheduler_resumes_held_jobs_and_this_store_takes_them_over_again(
    start_on, server, database
):
    _, store = start_on("hold", jobs=[job("a", 0), job("b", 1)])
    store.shutdown()
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_jobstore(StockMongoDBJobStore(database.name, client=MongoClient(server.uri)))
    scheduler.start(paused=True)
    assert [each.next_run_time for each in scheduler.get_jobs()] == [None, None]
    scheduler.resume_job("a")
    scheduler.shutdown()
    _, again = start_on("fire")
    assert run_times(again) == {"a": at(YEARS).timestamp(), "b": None}
    assert again.release_held() == 1
    assert run_times(again) == {"a": at(YEARS).timestamp(), "b": at(1).timestamp()}
    assert "held" not in document_of(again, "a")
