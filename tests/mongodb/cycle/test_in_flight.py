"""A cycle hands out only as many jobs as their executors have room for."""

import threading

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from pymongo import MongoClient

from jobstore import MongoDBJobStore, in_flight
from jobstore.mongodb import waiting
from jobstore.mongodb.codec import Codec
from support.commands import Commands
from support.jobs import at, job, names
from support.manual_scheduler import ByHand
from support.waiting import until

MODES = {"queried": {}, "mirrored": {"mirror": True}, "shared": {"shared": True}}


class Held(BaseExecutor):
    """Takes jobs, and ends each run when the test says so."""

    def __init__(self):
        super().__init__()
        self.running = []
        self.most = 0

    def _do_submit_job(self, job, run_times):
        self.running.append(job.id)
        self.most = max(self.most, len(self.running))

    def end(self, count=1, with_event=True):
        for _ in range(count):
            job_id = self.running.pop(0)
            if with_event:
                event = JobExecutionEvent(EVENT_JOB_EXECUTED, job_id, "default", at(0))
                self._run_job_success(job_id, [event])
            else:
                self._run_job_error(job_id, RuntimeError("the pool is broken"))


@pytest.fixture(params=MODES.values(), ids=MODES)
def launch(request, server, database):
    """Return a function that starts a scheduler with two executors, "default" and "slow"."""
    started = []

    def launch(jobs=(), kind=ByHand, **options):
        commands = Commands()
        client = MongoClient(server.uri, event_listeners=[commands])
        store = MongoDBJobStore(database.name, client=client, **options, **request.param)
        store.commands = commands
        scheduler = kind(timezone="UTC")
        scheduler.held, scheduler.slow = Held(), Held()
        scheduler.add_executor(scheduler.held, "default")
        scheduler.add_executor(scheduler.slow, "slow")
        scheduler.add_jobstore(store, "default")
        started.append((scheduler, client))
        store.add_jobs(jobs)
        scheduler.start()
        if "mirror" in request.param:
            until(lambda: store._reader.is_live)
        return scheduler, store

    yield launch
    for scheduler, client in started:
        scheduler.shutdown(wait=False)
        client.close()


def one_offs(prefix, count, **options):
    return [job(f"{prefix}{n:04}", n / 1000, every=None, **options) for n in range(count)]


def test_cycle_hands_out_what_an_executor_has_room_for_and_keeps_the_rest(launch):
    scheduler, store = launch(one_offs("a", 10), in_flight=4)
    scheduler._process_jobs()
    assert scheduler.held.running == ["a0000", "a0001", "a0002", "a0003"]
    until(lambda: names(store) == [f"a{n:04}" for n in range(4, 10)])


def test_job_runs_once_its_predecessor_has_ended(launch):
    scheduler, store = launch(one_offs("a", 10), in_flight=1)
    for n in range(10):
        scheduler._process_jobs()
        assert scheduler.held.running == [f"a{n:04}"]
        scheduler.held.end()
    until(lambda: names(store) == [])


def test_waiting_job_is_not_claimed(launch):
    scheduler, store = launch(one_offs("a", 10), in_flight=4)
    scheduler._process_jobs()
    assert store.collection.count_documents({"acquired_until": {"$ne": None}}) == 0


def test_cycle_sends_no_read_while_all_executors_are_full(launch):
    scheduler, store = launch(one_offs("a", 10) + one_offs("b", 10, executor="slow"), in_flight=2)
    until(lambda: scheduler._process_jobs() and len(scheduler.slow.running) == 2)
    until(lambda: store.status().pending == 0)
    store.commands.names.clear()
    scheduler._process_jobs()
    assert set(store.commands.names) <= {"getMore", "aggregate"}  # of the change stream
    assert len(scheduler.held.running) == 2


def test_full_executor_does_not_stop_the_jobs_of_another_one(launch):
    jobs = [*one_offs("slow", 300, executor="slow"), job("other", 60)]
    scheduler, _ = launch(jobs, in_flight=5)
    for _ in range(20):
        if scheduler._process_jobs() != 0:
            break
    assert len(scheduler.slow.running) == 5
    assert scheduler.held.running == ["other"]


def test_waiting_jobs_run_in_order_when_their_executor_has_room(launch):
    jobs = [*one_offs("slow", 60, executor="slow"), job("other", 60)]
    scheduler, _ = launch(jobs, in_flight=5)
    ran = []
    for _ in range(100):
        scheduler._process_jobs()
        ran += scheduler.slow.running
        scheduler.slow.end(len(scheduler.slow.running))
    assert ran == [f"slow{n:04}" for n in range(60)]
    assert scheduler.slow.most == 5


def test_scheduler_waits_while_executors_are_full(launch):
    """It looks again ten times a second, as no thread can wake this kind of scheduler."""
    scheduler, _ = launch(one_offs("a", 10), in_flight=4)
    wait = until(scheduler._process_jobs)  # the first cycles look for jobs of "slow"
    assert 0 < wait <= in_flight.POLL_SECONDS


def test_run_that_ends_without_an_event_makes_room(launch):
    scheduler, _ = launch(one_offs("a", 10), in_flight=4)
    scheduler._process_jobs()
    scheduler.held.end(4, with_event=False)
    scheduler._process_jobs()
    assert scheduler.held.running == ["a0004", "a0005", "a0006", "a0007"]


def test_ends_of_runs_wake_the_scheduler_when_half_the_bound_is_free(launch, monkeypatch):
    monkeypatch.setattr(in_flight, "RECHECK_SECONDS", 3600.0)
    scheduler, _ = launch(one_offs("a", 14), kind=BackgroundScheduler, in_flight=8)
    until(lambda: len(scheduler.held.running) == 8)
    until(lambda: scheduler.get_job("a0007") is None)
    cycle, cycles = scheduler._process_jobs, []
    monkeypatch.setattr(scheduler, "_process_jobs", lambda: cycles.append(1) or cycle())
    scheduler.held.end(3)
    assert len(scheduler.held.running) == 5
    scheduler.held.end(1)
    until(lambda: len(scheduler.held.running) == 8)
    scheduler.held.end(4)
    until(lambda: len(scheduler.held.running) == 6)  # the last two
    assert scheduler.held.most == 8


def test_waiting_job_that_gets_another_executor_runs_at_once(launch):
    scheduler, _ = launch(one_offs("slow", 10, executor="slow"), in_flight=3)
    scheduler._process_jobs()
    scheduler._process_jobs()
    scheduler.modify_job("slow0009", executor="default")
    scheduler._process_jobs()
    assert scheduler.held.running == ["slow0009"]


def test_executor_that_another_process_changes_is_noticed_later(launch, monkeypatch):
    scheduler, store = launch(one_offs("slow", 10, executor="slow"), in_flight=3)
    scheduler._process_jobs()
    scheduler._process_jobs()
    changed = Codec().to_document(one_offs("slow", 10)[9])
    store.collection.replace_one({"_id": changed["_id"]}, changed)
    monkeypatch.setattr(waiting, "MAX_AGE_SECONDS", 0.0)
    until(lambda: scheduler._process_jobs() and scheduler.held.running == ["slow0009"])


def test_search_behind_the_jobs_of_a_full_executor_asks_for_no_run_time(launch, monkeypatch):
    scheduler, store = launch(one_offs("slow", 50, executor="slow"), in_flight=3)
    asked, ask = [], store._reader.next_run_time
    monkeypatch.setattr(store._reader, "next_run_time", lambda *args: asked.append(1) or ask(*args))
    until(lambda: scheduler._process_jobs() > 0)
    assert len(store._hand_out._waiting.current()) == 47
    assert len(asked) == 1


def test_many_waiting_jobs_are_read_again_less_often(launch, monkeypatch):
    monkeypatch.setattr(waiting, "MAX_AGE_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "AGE_SECONDS_PER_JOB", 3600.0)
    scheduler, store = launch(one_offs("slow", 50, executor="slow"), in_flight=3)
    until(lambda: scheduler._process_jobs() > 0)
    before = store._hand_out._waiting.current()
    assert len(before) == 47
    for _ in range(3):
        assert scheduler._process_jobs() > 0
    assert store._hand_out._waiting.current() == before


@pytest.mark.parametrize("seconds", [-5, 5])
def test_waiting_job_that_another_process_reschedules_is_not_asked_for_again_and_again(
    launch, seconds
):
    scheduler, store = launch(one_offs("slow", 10, executor="slow"), in_flight=3)
    until(lambda: scheduler._process_jobs() > 0)
    changed = job("slow0009", seconds, every=None, executor="slow")
    document = Codec().to_document(changed)
    store.collection.replace_one({"_id": "slow0009"}, document)
    run_time = document["next_run_time"]
    until(lambda: store._reader.find("slow0009")["next_run_time"] == run_time)
    waits = [scheduler._process_jobs() for _ in range(5)]
    assert sum(wait == 0 for wait in waits) <= 2


def test_slow_server_is_not_asked_again_at_once(launch, server):
    """The time between two looks at full executors doesn't begin before the first one ends."""
    scheduler, _ = launch(one_offs("slow", 10, executor="slow"), in_flight=3)
    until(lambda: scheduler._process_jobs() > 0)
    slow = {"failCommands": ["find", "aggregate"], "blockConnection": True}
    slow["blockTimeMS"] = int(in_flight.POLL_SECONDS * 1500)
    point = {"configureFailPoint": "failCommand"}
    with MongoClient(server.uri) as client:
        client.admin.command({**point, "mode": "alwaysOn", "data": slow})
        try:
            assert scheduler._process_jobs() > 0
        finally:
            client.admin.command({**point, "mode": "off"})


def test_bound_holds_for_each_store_of_a_scheduler(launch, server, database):
    scheduler, _ = launch(one_offs("a", 10), in_flight=3)
    other = MongoDBJobStore(database.name, "others", host=server.uri, in_flight=2)
    scheduler.add_jobstore(other, "other")
    other.add_jobs(one_offs("b", 10))
    for _ in range(3):
        scheduler._process_jobs()
        assert sorted(scheduler.held.running) == ["a0000", "a0001", "a0002", "b0000", "b0001"]


def test_caller_outside_a_cycle_gets_all_due_jobs(launch):
    _, store = launch(one_offs("a", 10), in_flight=4)
    result = []
    thread = threading.Thread(target=lambda: result.extend(store.get_due_jobs(at(10))))
    thread.start()
    thread.join()
    assert len(result) == 10


@pytest.mark.parametrize("bound", [0, -1, True, 1.5, "fast", "10"])
def test_bound_that_is_none_is_refused(bound):
    with pytest.raises(ValueError, match="in_flight is"):
        MongoDBJobStore(in_flight=bound)
