"""`jobstore.add_jobs` with taken ids, bad jobs and failing stores."""

import sys

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger
from hypothesis import given
from hypothesis import strategies as st

import jobstore
from jobstore import ConflictingIdError, ConflictingIdsError, add_jobs
from support.counting_scheduler import (
    FUTURE,
    STORES,
    CountingScheduler,
    StockMemoryJobStore,
    loop,
    named,
    ready,
    task,
    work,
)
from support.memory_stores import LoopingStore


@pytest.fixture(params=STORES)
def store(request):
    return STORES[request.param]()


# Ids that are taken


@given(
    there=st.lists(st.sampled_from("abcdef"), unique=True),
    given_ids=st.lists(st.sampled_from("abcdefgh"), max_size=12),
    replace_existing=st.booleans(),
    store=st.sampled_from(list(STORES.values())),
)
def test_conflicting_ids_end_as_with_a_loop_of_add_job(there, given_ids, replace_existing, store):
    schedulers = ours, host = CountingScheduler(store()), CountingScheduler(StockMemoryJobStore())
    refused = []
    for add, scheduler in zip((add_jobs, loop), schedulers, strict=True):
        loop(scheduler, named(*there, name="there"))
        try:
            add(scheduler, named(*given_ids), replace_existing=replace_existing)
            refused.append([])
        except ConflictingIdsError as error:
            refused.append(error.job_ids)
    assert refused[0] == refused[1]
    assert ours.stored == host.stored
    assert ours.announced == host.announced


def test_add_jobs_adds_the_other_jobs_and_names_the_taken_ids(store):
    scheduler = CountingScheduler(store)
    add_jobs(scheduler, named("c"))
    scheduler.forget()
    jobs = ready("a", "b", "c", "b", trigger=DateTrigger(FUTURE))
    with pytest.raises(ConflictingIdsError) as caught:
        add_jobs(scheduler, jobs)
    assert caught.value.job_ids == ["c", "b"]
    assert [job.pending for job in jobs] == [False, False, True, True]
    assert scheduler.announced == [("a", "default"), ("b", "default")]
    assert scheduler.store.lookup_job("b") is jobs[1]
    assert scheduler.wakeups == 1


def test_id_of_a_str_subclass_is_announced_only_if_its_characters_are_stored():
    class Folded(str):
        def __eq__(self, other):
            return self.lower() == other.lower()

        def __hash__(self):
            return hash(self.lower())

    scheduler = CountingScheduler(jobstore.MemoryJobStore())
    add_jobs(scheduler, named("a"))
    scheduler.forget()
    with pytest.raises(ConflictingIdsError) as caught:
        add_jobs(scheduler, named(Folded("a"), Folded("A"), Folded("B")))
    assert caught.value.job_ids == ["a"]
    assert [str.__str__(job_id) for job_id, _ in scheduler.announced] == ["A", "B"]


def test_start_finds_conflicts_of_jobs_added_before_it(store):
    scheduler = CountingScheduler(store, start=False)
    add_jobs(scheduler, named("a", "a"))
    with pytest.raises(ConflictingIdError):
        scheduler.start()


def test_start_honours_replace_existing_of_jobs_added_before_it(store):
    scheduler = CountingScheduler(store, start=False)
    _, last = add_jobs(scheduler, named("a", "a"), replace_existing=True)
    scheduler.start()
    assert scheduler.store.get_all_jobs()[0] is last


# Errors


BAD_JOBS = {
    "no callable": {"func": 3},
    "no func": {"id": "x"},
    "unknown trigger": {"func": work, "trigger": "sundial"},
    "no trigger": {"func": work, "trigger": 3},
    "unknown trigger argument": {"func": work, "trigger": "interval", "eons": 1},
    "bad trigger argument": {"func": work, "trigger": "cron", "second": "61"},
    "missing arguments": {"func": task},
    "arguments too many": {"func": work, "args": [1]},
    "bad option": {"func": work, "max_instances": 0},
    "bad run time": {"func": work, "next_run_time": "tomorrow"},
    "bad id": {"func": work, "id": 3},
}


@pytest.mark.parametrize("started", [True, False], ids=["started", "pending"])
@pytest.mark.parametrize("bad", BAD_JOBS.values(), ids=BAD_JOBS)
def test_bad_job_raises_the_error_of_add_job_and_no_job_is_added(store, bad, started):
    scheduler = CountingScheduler(store, start=started)
    with pytest.raises(Exception) as expected:  # noqa: PT011
        scheduler.add_job(**bad)
    with pytest.raises(expected.type):
        add_jobs(scheduler, [*named("a", "b"), bad, *named("c")])
    assert scheduler.get_jobs() == scheduler.announced == []
    assert scheduler.wakeups == 0


@pytest.mark.parametrize("argument", ["jobstore", "replace_existing"])
def test_job_cannot_set_an_option_of_the_batch(store, argument):
    scheduler = CountingScheduler(store)
    with pytest.raises(TypeError, match=f"{argument} .*add_jobs"):
        add_jobs(scheduler, [{"func": work, "trigger": "date", argument: "default"}])
    assert scheduler.stored == []


@pytest.mark.parametrize("jobs", [3, [3], [*named("a"), None]])
def test_add_jobs_raises_type_error_for_other_arguments(store, jobs):
    scheduler = CountingScheduler(store)
    with pytest.raises(TypeError):
        add_jobs(scheduler, jobs)
    assert scheduler.stored == scheduler.announced == []


def test_add_jobs_adds_no_job_when_the_iterable_raises(store):
    def jobs():
        yield from named("a")
        raise LookupError("no more jobs")

    scheduler = CountingScheduler(store)
    with pytest.raises(LookupError, match="no more jobs"):
        add_jobs(scheduler, jobs())
    assert scheduler.stored == scheduler.announced == []


def test_unknown_alias_raises_and_no_job_is_added(store):
    scheduler = CountingScheduler(store)
    with pytest.raises(KeyError, match="nowhere"):
        add_jobs(scheduler, named("a"), "nowhere")
    assert scheduler.stored == scheduler.announced == []
    assert scheduler.wakeups == 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes since 3.11")
def test_error_notes_the_position_of_the_bad_job(store):
    with pytest.raises(TypeError) as caught:
        add_jobs(CountingScheduler(store), [*named("a", "b"), {"func": 3}])
    assert any("2 jobs before this one" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("base", [StockMemoryJobStore, LoopingStore], ids=["stock", "looping"])
def test_add_jobs_announces_only_stored_jobs_when_the_store_fails_midway(base):
    class FailingStore(base):
        def add_job(self, job):
            if job.id == "c":
                raise OSError("disk full")
            super().add_job(job)

    scheduler = CountingScheduler(FailingStore())
    jobs = ready("a", "b", "c", "d", trigger=DateTrigger(FUTURE))
    with pytest.raises(OSError, match="disk full"):
        add_jobs(scheduler, jobs)
    assert scheduler.stored_ids == ["a", "b"]
    assert scheduler.announced == [("a", "default"), ("b", "default")]
    assert [job.pending for job in jobs] == [False, False, True, True]
    assert scheduler.wakeups == 1


def test_add_jobs_stores_and_announces_nothing_when_our_store_refuses_a_run_time():
    scheduler = CountingScheduler(jobstore.MemoryJobStore())
    jobs = ready("a", "b", trigger=DateTrigger(FUTURE))
    jobs[1].next_run_time = "tomorrow"
    with pytest.raises(TypeError, match="tomorrow"):
        add_jobs(scheduler, jobs)
    assert scheduler.stored == scheduler.announced == []
    assert all(job.pending for job in jobs)
    assert scheduler.wakeups == 0


@pytest.mark.parametrize("failure", ["conflict", "bad job", "unknown alias"])
def test_ready_job_stays_with_its_scheduler_when_it_is_not_added(failure):
    own, other = BackgroundScheduler(), BackgroundScheduler()
    for scheduler in (own, other):
        scheduler.start(paused=True)
    try:
        kept = own.add_job(print, "interval", hours=1, id="x")
        others = other.add_job(print, "interval", hours=1, id="x" if failure == "conflict" else "y")
        with pytest.raises((KeyError, TypeError)):
            jobstore.add_jobs(
                other,
                [kept, {"func": 3}] if failure == "bad job" else [kept],
                "nowhere" if failure == "unknown alias" else "default",
            )
        kept.remove()
        assert own.get_jobs() == []
        assert other.get_jobs() == [others]
    finally:
        own.shutdown()
        other.shutdown()


def test_foreign_store_with_its_own_add_jobs_gets_each_job_by_add_job():
    class Foreign(StockMemoryJobStore):
        def add_jobs(self, records):
            raise AssertionError("it means something else")

    scheduler = BackgroundScheduler(jobstores={"default": Foreign()})
    scheduler.start(paused=True)
    try:
        jobstore.add_jobs(
            scheduler, [{"func": print, "trigger": "interval", "hours": 1, "id": "a"}]
        )
        assert [job.id for job in scheduler.get_jobs()] == ["a"]
    finally:
        scheduler.shutdown()
