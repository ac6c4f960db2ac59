"""A listener hears of a quarantine: an event of ours, from a thread that holds no lock."""

import threading

import pytest
from apscheduler.events import EVENT_ALL
from apscheduler.schedulers.background import BackgroundScheduler

from jobstore import MongoDBJobStore
from jobstore.events import EVENT_JOB_QUARANTINED, QuarantineEvent
from support.history import end
from support.jobs import job
from support.manual_scheduler import by_hand
from support.waiting import until

MODES = {"queried": {}, "mirrored": {"mirror": True}, "exclusive": {"mirror": "exclusive"}}


@pytest.fixture
def store(server, database):
    store = MongoDBJobStore(database.name, host=server.uri)
    yield store
    store.shutdown()


def event_threads():
    return [each for each in threading.enumerate() if each.name == "jobstore-events"]


def test_code_is_none_of_apschedulers():
    assert EVENT_JOB_QUARANTINED & EVENT_ALL == 0
    assert EVENT_JOB_QUARANTINED.bit_count() == 1


@pytest.mark.parametrize("mode", MODES)
def test_listener_hears_of_each_quarantined_job(server, database, mode):
    store = MongoDBJobStore(database.name, host=server.uri, **MODES[mode])
    store.add_jobs([job(f"job-{number:02}", number, executor="gone") for number in range(20)])
    heard = []
    scheduler = BackgroundScheduler(timezone="UTC", jobstores={"mongo": store})
    scheduler.add_listener(heard.append, EVENT_JOB_QUARANTINED)
    scheduler.start()
    until(lambda: len(heard) == 20)
    end(scheduler)
    assert [event.job_id for event in heard] == [f"job-{number:02}" for number in range(20)]
    for event in heard:
        assert isinstance(event, QuarantineEvent)
        assert event.code == EVENT_JOB_QUARANTINED
        assert event.jobstore == "mongo"
        assert "'gone'" in event.reason
    until(lambda: not event_threads())


def test_listener_may_call_the_scheduler_and_the_store(store):
    scheduler = by_hand(store)
    done = threading.Event()

    def listen(event):
        store.quarantined()
        scheduler.remove_job(event.job_id)
        done.set()

    scheduler.add_listener(listen, EVENT_JOB_QUARANTINED)
    store.add_job(job("a", executor="gone"))
    scheduler._process_jobs()
    assert done.wait(60)
    until(lambda: len(store) == 0)


def test_listener_that_raises_keeps_no_event_from_others(store):
    scheduler = by_hand(store)
    heard = []

    def listen(event):
        heard.append(event.job_id)
        raise ValueError("in a listener")

    scheduler.add_listener(listen, EVENT_JOB_QUARANTINED)
    store.add_jobs([job("a", executor="gone"), job("b", 1, executor="gone")])
    scheduler._process_jobs()
    until(lambda: heard == ["a", "b"])


def test_slow_listener_delays_no_cycle(store):
    scheduler = by_hand(store)
    entered, leave, heard = threading.Event(), threading.Event(), []

    def listen(event):
        entered.set()
        leave.wait(60)
        heard.append(event.job_id)

    scheduler.add_listener(listen, EVENT_JOB_QUARANTINED)
    store.add_job(job("a", executor="gone"))
    scheduler._process_jobs()
    assert entered.wait(60)
    store.add_job(job("b", executor="gone"))
    scheduler._process_jobs()
    assert heard == []
    assert len(event_threads()) == 1
    leave.set()
    until(lambda: heard == ["a", "b"])


def test_without_a_listener_there_is_no_thread(store):
    scheduler = by_hand(store)
    scheduler.add_listener(lambda event: None, EVENT_ALL)
    store.add_job(job("a", executor="gone"))
    scheduler._process_jobs()
    assert [each.id for each in store.quarantined()] == ["a"]
    assert not event_threads()


def test_events_from_many_threads_all_arrive(store):
    scheduler = by_hand(store)
    heard = []
    scheduler.add_listener(heard.append, EVENT_JOB_QUARANTINED)

    def report():
        for number in range(500):
            store._incidents.add("quarantined", str(number), detail="")

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(heard) == 2000)
