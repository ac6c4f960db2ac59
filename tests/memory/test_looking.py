"""`find` and `count` of the memory store go on while a scheduler and other threads change jobs."""

from datetime import datetime, timedelta, timezone
from threading import Event, Thread

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from jobstore import MemoryJobStore, Where
from support.jobs import START, at, job, note
from support.memory_stores import memory_store

PATIENCE = 60  # seconds


@pytest.fixture(params=["compiled", "twin"])
def store(request):
    return memory_store(request.param)


def ids(found):
    return [info.id for info in found]


def in_pages(store, where, limit, last=lambda info: info):
    found, after = [], None
    while page := store.find(where, after, limit):
        found += page
        after = last(page[-1])
    return found


def test_job_changed_in_place_keeps_its_page_and_hides_no_other_job(store):
    jobs = [job(f"job{number}", number) for number in range(6)]
    store.add_jobs(jobs)
    jobs[1].next_run_time = at(99)  # as a scheduler does before it tells the store
    jobs[3].next_run_time = None
    found = in_pages(store, Where(), 2)
    assert ids(found) == [each.id for each in jobs]
    assert [info.next_run_time for info in found] == [at(number) for number in range(6)]
    assert not any(info.paused for info in found)
    store.update_jobs([jobs[1], jobs[3]])
    assert ids(in_pages(store, Where(), 2)) == ["job0", "job2", "job4", "job5", "job1", "job3"]


def test_page_of_more_jobs_than_the_index_gives_at_a_time_has_all(store):
    jobs = [job(f"job{number:04}", None if number % 3 == 0 else number) for number in range(2500)]
    store.add_jobs(jobs)
    expected = [each.id for each in store.get_all_jobs()]
    assert ids(store.find(limit=3000)) == expected
    assert ids(in_pages(store, Where(), 999)) == expected
    late = Where(due_after=at(2490), func="support.jobs:note")
    assert ids(store.find(late, limit=3)) == ["job2491", "job2492", "job2494"]
    last = store.find(Where(paused=True), limit=834)[-1]
    assert last.id == "job2499"
    assert store.find(after=last) == []


@pytest.mark.parametrize("seconds", [0.000001, 0.123457, -1e9 - 0.1, 7e9 + 0.999999])
def test_key_names_the_exact_time_of_a_job_before_and_after_1970(store, seconds):
    step = timedelta(microseconds=1)
    times = [at(seconds) + step * number for number in range(-3, 4)]
    for number, time in enumerate(times):
        added = job(f"job{7 - number}")
        added.next_run_time = time
        store.add_job(added)
    found = in_pages(store, Where(), 1, lambda info: info.key)
    assert [info.next_run_time for info in found] == times


def test_job_whose_id_is_of_a_class_of_its_own_is_found_by_its_characters(store):
    class Reversed(str):
        __hash__ = str.__hash__

        def __lt__(self, other):
            return not str.__lt__(self, other)

        def startswith(self, *args):
            raise AssertionError

    store.add_jobs([job(Reversed(name), 1) for name in "bca"])
    assert ids(in_pages(store, Where(), 1)) == ["a", "b", "c"]
    assert ids(in_pages(store, Where(id_prefix=""), 1)) == ["a", "b", "c"]
    assert ids(store.find(Where(id_prefix="b"))) == ["b"]


def test_search_calls_no_method_of_an_argument(store):
    class Loud:
        def __repr__(self):
            raise AssertionError

    store.add_job(job("a", 1, args=(Loud(),), kwargs={"b": [Loud()]}))
    info = store.describe("a")
    assert "Loud" in info.args
    assert "Loud" in info.kwargs
    assert store.find() == store.find(Where(id_prefix="a")) == [info]


def test_naive_run_time_counts_as_utc_in_each_search(store):
    naive = job("a", 1)
    naive.next_run_time = at(1).replace(tzinfo=None)
    store.add_jobs([naive, job("b", 2)])
    for due_before in (at(2), at(2).replace(tzinfo=None)):
        where = Where(due_before=due_before)
        assert ids(store.find(where)) == ["a"]
        assert store.count(where) == 1
    assert store.find()[0].next_run_time == at(1)


ENDS = [
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=12))),
    datetime(1, 1, 1, tzinfo=timezone.utc),
    at(1),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(-timedelta(hours=12))),
]


@pytest.mark.parametrize("paused", [None, False, True])
@pytest.mark.parametrize("due_after", [None, *ENDS], ids=str)
@pytest.mark.parametrize("due_before", [None, *ENDS], ids=str)
def test_count_and_page_agree_up_to_the_ends_of_time(store, due_before, due_after, paused):
    store.add_jobs([job(str(number), number) for number in range(3)] + [job("paused", None)])
    for number in (1, 3):
        end = job(f"end{number}")
        end.next_run_time = ENDS[number]
        store.add_job(end)
    where = Where(due_before=due_before, due_after=due_after, paused=paused)
    found = store.find(where)
    assert store.count(where) == len(found)
    assert ids(found) == [
        info.id
        for info in store.find()
        if where.includes(info.id, info.next_run_time, info.paused, False)
    ]


def test_tags_that_are_no_strings_raise_an_error_that_names_the_job():
    store = MemoryJobStore(tags=lambda job: [1])
    store.add_job(job("a", 1))
    for call in (store.find, lambda: store.count(Where(tag="1")), lambda: store.describe("a")):
        with pytest.raises(TypeError, match="tags returned 1 for job 'a'"):
            call()


def test_tags_are_those_that_a_job_has_now():
    store = MemoryJobStore(tags=lambda job: job.kwargs["customers"])
    store.add_job(job("a", 1, kwargs={"customers": ["ann", "bob"]}))
    assert ids(store.find(Where(tag="ann"))) == ["a"]
    store.update_job(job("a", 1, kwargs={"customers": ["bob"]}))
    assert store.find(Where(tag="ann")) == []
    assert store.describe("a").tags == ("bob",)


def test_pages_beside_a_running_scheduler_have_each_job_that_stays_unchanged_once():
    scheduler = BackgroundScheduler(timezone="UTC")
    store = MemoryJobStore()
    scheduler.add_jobstore(store)
    unchanged = [f"job{number:04}" for number in range(0, 600, 2)]
    for number in range(600):
        # Half of the jobs run many times a second; the others are due long after the test.
        trigger = (
            IntervalTrigger(days=99, start_date=START.replace(year=2100))
            if number % 2 == 0
            else IntervalTrigger(seconds=0.05)
        )
        scheduler.add_job(note, trigger, id=f"job{number:04}", max_instances=99)
    scheduler.start()
    try:
        for where in [Where(), Where(id_prefix="job"), Where(func="support.jobs:note")] * 3:
            found = [job_id for job_id in ids(in_pages(store, where, 70)) if job_id in unchanged]
            assert sorted(found) == unchanged
            assert store.count(where) == 600
    finally:
        scheduler.shutdown()


def test_threads_that_add_change_and_remove_jobs_break_no_search(store):
    kept = [job(f"kept{number:03}", number) for number in range(300)]
    store.add_jobs(kept)
    errors, finished = [], Event()

    def change():
        try:
            for number in range(60):
                others = [job(f"other{each}", each * number % 301) for each in range(0, 300, 3)]
                store.add_jobs(others, replace_existing=True)
                for each in others[::7]:
                    each.next_run_time = None
                    store.update_job(each)
                store.remove_jobs([each.id for each in others[::2]])
        except BaseException as error:
            errors.append(error)
        finally:
            finished.set()

    thread = Thread(target=change, daemon=True)
    thread.start()
    rounds = 0
    while not finished.is_set() or not rounds:
        for where in (Where(), Where(id_prefix=""), Where(due_before=at(1000))):
            found = [name for name in ids(in_pages(store, where, 20)) if name.startswith("kept")]
            assert found == [each.id for each in kept]
            assert store.count(where) >= len(kept)
        rounds += 1
    thread.join(PATIENCE)
    assert errors == []
