"""A recurring job that comes back as the store wrote it is the same object; others are restored."""

import pickle
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import pytz
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.mongodb import restored
from jobstore.mongodb.codec import Codec
from jobstore.mongodb.documents import Record
from jobstore.mongodb.writes.cycle import Cycle
from jobstore.triggers import CronTrigger as FastCronTrigger
from support.clocks import SchedulerClock
from support.every_store import MODES
from support.jobs import at, job, note
from support.manual_scheduler import by_hand
from support.waiting import until

OTHERS_MAY_WRITE = pytest.mark.parametrize(
    "options", [{}, {"mirror": True}, {"shared": True}], ids=["queried", "mirrored", "shared"]
)
STEP = timedelta(minutes=5)
TRIGGERS = {
    "interval": lambda: IntervalTrigger(minutes=5, start_date=at(0), timezone="UTC"),
    "cron": lambda: CronTrigger(minute="*/5", timezone=ZoneInfo("Europe/Berlin")),
}


class Firing:
    """A scheduler with an injected clock: each round moves it on, and runs the due jobs."""

    def __init__(self, store, monkeypatch):
        self.store = store
        self.clock = SchedulerClock(monkeypatch, at(0))
        self.jobs = {}
        self.scheduler = by_hand(store, then=self._note)

    def _note(self, job):
        self.jobs[job.id] = job

    def round(self):
        """Run the jobs that are due now, move the clock on, and return the jobs by id."""
        self.jobs = {}
        self.scheduler._process_jobs()
        until(lambda: not self.store._write_behind.has_pending)
        self.clock.now += STEP
        return self.jobs

    def state(self, job_id="a"):
        return self.store.collection.find_one({"_id": job_id})["job_state"]


@pytest.fixture(params=[mode.removeprefix("mongodb-") for mode in MODES])
def options(request):
    return MODES[f"mongodb-{request.param}"]


@pytest.fixture
def firing(server, database, monkeypatch, options):
    stores = []

    def make(*jobs, **more):
        with MongoClient(server.uri) as client:
            adding = MongoDBJobStore(database.name, client=client)
            adding.start(None, "adding")
            adding.add_jobs(jobs)
            adding.shutdown()
        stores.append(MongoDBJobStore(database.name, host=server.uri, **options, **more))
        return Firing(stores[-1], monkeypatch)

    yield make
    for store in stores:
        store.shutdown()


def recurring(name="a", kind="interval", **options):
    trigger = TRIGGERS[kind]()
    run_time = at(0).astimezone(trigger.timezone)  # as APScheduler computes it
    return job(name, **{"trigger": trigger, "next_run_time": run_time, **options})


@pytest.mark.parametrize("kind", TRIGGERS)
def test_job_that_comes_back_as_written_is_the_same_object(firing, kind):
    firing = firing(recurring(kind=kind, args=("x", 1, None), kwargs={"n": 2.5}))
    first, second, third = (firing.round()["a"] for _ in range(3))
    assert first is second is third
    assert first.next_run_time == at(900)
    assert firing.store.lookup_job("a").__getstate__()["next_run_time"] == at(900)


@pytest.mark.parametrize("kind", TRIGGERS)
def test_written_state_is_that_of_a_pickle(firing, kind):
    firing = firing(recurring(kind=kind))
    for _ in range(3):
        done = firing.round()["a"]
        written, pickled = (
            pickle.loads(state) for state in (firing.state(), pickle.dumps(done.__getstate__()))
        )
        for each in (written, pickled):
            each["trigger"] = each["trigger"].__getstate__()
            each["trigger"].pop("fields", None)
        assert written == pickled


def test_state_is_not_pickled_anew(firing, monkeypatch):
    firing = firing(recurring(kind="cron"))
    monkeypatch.setattr("jobstore.mongodb.codec.Codec.dump", None)
    before = firing.state()
    assert firing.round()["a"].next_run_time == at(300)
    assert len(firing.state()) == len(before)
    assert firing.state() != before


def test_job_with_mutable_arguments_is_restored_and_pickled_each_time(firing):
    firing = firing(recurring(args=([1],)))
    first = firing.round()["a"]
    first.args[0].append(2)
    second = firing.round()["a"]
    assert second is not first
    assert second.args == ([1],)


def test_job_changed_after_its_run_is_restored_from_the_document(firing):
    firing = firing(recurring())
    first = firing.round()["a"]
    first.name = "changed by nobody but this process"
    second = firing.round()["a"]
    assert second is not first
    assert second.name == "a"


def test_job_changed_within_the_cycle_is_pickled(firing):
    firing = firing(recurring())
    firing.scheduler.executor.then = lambda job: setattr(job, "name", "new name")
    firing.round()
    assert pickle.loads(firing.state())["name"] == "new name"


@OTHERS_MAY_WRITE
def test_state_changed_by_another_process_is_restored(firing, server, database):
    firing = firing(recurring())
    first = firing.round()["a"]
    with MongoClient(server.uri) as client:
        other = MongoDBJobStore(database.name, client=client, shared=firing_is_shared(firing))
        other.start(None, "other")
        changed = other.lookup_job("a")
        changed.name = "theirs"
        other.update_job(changed)
        other.shutdown()
    until(lambda: firing.store.lookup_job("a").name == "theirs")
    second = firing.round()["a"]
    assert second is not first
    assert second.name == "theirs"


def firing_is_shared(firing):
    return type(firing.store._reader).__name__ == "Claimed"


@OTHERS_MAY_WRITE
def test_run_time_changed_in_the_document_alone_is_the_one_in_force(firing):
    firing = firing(recurring())
    first = firing.round()["a"]
    due = at(290).timestamp()
    firing.store.collection.update_one({"_id": "a"}, {"$set": {"next_run_time": due}})
    until(lambda: firing.store.lookup_job("a").next_run_time == at(290))
    second = firing.round()["a"]
    assert second is not first
    assert firing.scheduler.executor.submitted[-1] == ("a", [at(290)])


def test_at_most_so_many_jobs_are_kept_and_the_least_recently_used_goes_first(firing, monkeypatch):
    monkeypatch.setattr(restored, "MAX_KEPT", 2)
    firing = firing(*(recurring(name) for name in "abc"))
    first = firing.round()
    second = firing.round()
    assert [name for name in "abc" if first[name] is second[name]] == ["b", "c"]
    assert len(firing.store._restored_jobs._kept) == 2


def test_job_with_a_large_argument_is_not_kept_but_advanced(firing, monkeypatch):
    firing = firing(recurring(args=("x" * restored.MAX_STATE,)))
    monkeypatch.setattr("jobstore.mongodb.codec.Codec.dump", None)
    first, second = (firing.round()["a"] for _ in range(2))
    assert second is not first
    assert second.__getstate__()["args"] == first.__getstate__()["args"]
    assert firing.store._restored_jobs._kept == {}


def test_job_whose_executor_is_gone_does_not_fire(firing):
    firing = firing(recurring(executor="second"))
    firing.scheduler.add_executor(type(firing.scheduler.executor)(firing._note), "second")
    assert firing.round().keys() == {"a"}
    firing.scheduler.remove_executor("second")
    assert firing.round() == {}


def test_jobs_removed_through_the_store_are_not_kept(firing):
    firing = firing(*(recurring(name) for name in "abcd"))
    firing.round()
    kept = firing.store._restored_jobs._kept
    assert kept.keys() == set("abcd")
    firing.store.remove_job("a")
    firing.store.remove_jobs(["b"])
    assert kept.keys() == set("cd")
    firing.store.remove_all_jobs()
    assert kept == {}


def test_jobs_are_kept_no_longer_than_until_the_shutdown(firing, monkeypatch):
    firing = firing(recurring())
    first = firing.round()["a"]
    firing.store.shutdown()
    assert firing.store._restored_jobs._kept == {}
    again = Firing(firing.store, monkeypatch)
    again.clock.now = firing.clock.now
    second = again.round()["a"]
    assert second is not first
    assert second._scheduler is again.scheduler


def test_fast_cron_fires_stock_cron_jobs_by_the_fast_trigger(firing):
    firing = firing(recurring(kind="cron"), fast_cron=True)
    for _ in range(3):
        fired = firing.round()["a"]
        assert type(fired.trigger) is FastCronTrigger
    assert type(pickle.loads(firing.state())["trigger"]) is CronTrigger
    assert fired.next_run_time == at(900)


def test_without_fast_cron_triggers_stay_as_they_are(firing):
    firing = firing(recurring(kind="cron"))
    assert type(firing.round()["a"].trigger) is CronTrigger


def test_job_is_pickled_by_the_protocol_of_the_store(firing):
    firing = firing(recurring(func=note), pickle_protocol=4)
    assert firing.state()[1] == pickle.HIGHEST_PROTOCOL
    firing.round()
    assert firing.state()[1] == 4


@pytest.mark.parametrize(
    ("protocol", "number"), [(None, pickle.DEFAULT_PROTOCOL), (-1, pickle.HIGHEST_PROTOCOL)]
)
def test_protocol_may_be_one_that_pickle_chooses(firing, protocol, number):
    firing = firing(recurring(), pickle_protocol=protocol)
    first, second = (firing.round()["a"] for _ in range(2))
    assert first is second
    assert firing.state()[1] == number


def test_state_of_a_job_that_was_changed_and_changed_back_is_that_of_a_pickle():
    store = MongoDBJobStore()  # never started: it has no scheduler
    (first,), _ = store._restored_jobs.restore_all([Record.of(Codec().to_document(recurring()))])
    changed, cycle = first.job, Cycle(at(0), [first])
    old_name = changed.name
    for name, run_time in [("new", at(300)), (old_name, at(600))]:
        changed.name, changed.next_run_time = name, run_time
        write = cycle.advance(changed, store._restored_jobs, Codec(5), store._write_behind.lines)
        assert pickle.loads(write.state)["name"] == name
    store.shutdown()


def test_state_of_a_run_time_that_the_document_corrects_in_a_zone_of_pytz_is_pickled():
    zone = pytz.timezone("Europe/Berlin")
    first_0235 = zone.localize(datetime(2026, 10, 25, 2, 35), is_dst=True)
    day_before = first_0235 - timedelta(days=1)  # its offset is summer's, too
    trigger = IntervalTrigger(days=1, start_date=day_before, timezone=zone)
    stored = Record.of(Codec().to_document(recurring(trigger=trigger, next_run_time=first_0235)))
    second_0235 = stored._replace(run_time=stored.run_time + 3600)  # by another process
    store = MongoDBJobStore()
    (each,), _ = store._restored_jobs.restore_all([second_0235])
    following = each.job.next_run_time + timedelta(days=1)
    each.job.next_run_time, cycle = following, Cycle(at(0), [each])
    write = cycle.advance(each.job, store._restored_jobs, Codec(5), store._write_behind.lines)
    assert pickle.loads(write.state)["next_run_time"] == following
    store.shutdown()
