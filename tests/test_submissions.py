"""Submissions: whether the executor of each job took it, and when the next try is due."""

import pytest
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore as StockMemoryJobStore

from jobstore import submissions
from jobstore.caller import cycle_events
from jobstore.submissions import MAX_TRIES, FailedSubmissions, Submissions
from support.clocks import set_by_hand
from support.jobs import job
from support.manual_scheduler import by_hand


class Asking(StockMemoryJobStore):
    """Notes of each job that the scheduler's cycle hands back whether its executor took it."""

    def __init__(self):
        super().__init__()
        self.taken = {}

    def get_due_jobs(self, now):
        self.submissions = Submissions(cycle_events())
        return super().get_due_jobs(now)

    def update_job(self, job):
        self.taken[job.id] = self.submissions.took(job.id)
        super().update_job(job)

    def remove_job(self, job_id):
        self.taken[job_id] = self.submissions.took(job_id)
        super().remove_job(job_id)


@pytest.fixture
def store():
    return Asking()


@pytest.fixture
def scheduler(store):
    """Return a scheduler with the executors "default" and "broken"."""
    scheduler = by_hand(store)
    broken = ThreadPoolExecutor(1)
    broken._pool.shutdown()
    scheduler.add_executor(broken, "broken")
    yield scheduler
    scheduler.shutdown()


def cycle(scheduler, *jobs):
    for each in jobs:
        scheduler._jobstores["default"].add_job(each)
    scheduler._process_jobs()


@pytest.mark.parametrize("every", [1e8, None], ids=["goes on", "ends"])
def test_cycle_tells_jobs_that_were_taken_from_others(scheduler, store, every):
    jobs = [
        job(name, n, every=every, executor="broken" if "broken" in name else "default")
        for n, name in enumerate(["broken 1", "one", "broken 2", "broken 3", "two", "broken 4"])
    ]
    cycle(scheduler, *jobs)
    assert store.taken == {each.id: "broken" not in each.id for each in jobs}


def test_job_at_its_maximum_of_instances_counts_as_taken(scheduler, store):
    scheduler.executor._instances["a"] = 1
    cycle(scheduler, job("a"), job("b", executor="broken"))
    assert store.taken == {"a": True, "b": False}


def test_events_of_another_store_in_the_same_cycle_do_not_count(scheduler, store):
    other = Asking()
    scheduler.add_jobstore(other, "other")
    other.add_job(job("a", executor="broken"))
    cycle(scheduler, job("a"))
    assert store.taken == {"a": True}
    assert other.taken == {"a": False}


def test_every_job_counts_as_taken_without_a_list_of_events():
    told = Submissions(None)
    assert [told.took(job_id) for job_id in "abc"] == [True, True, True]


@pytest.fixture
def clock(monkeypatch):
    return set_by_hand(monkeypatch, submissions)


def test_failed_submission_waits_for_its_next_try(clock):
    failed = FailedSubmissions()
    assert not failed
    assert failed.next_retry() is None
    assert failed.add("a", 1.0, 10)
    clock.now += 4
    assert failed.add("b", 2.0, 10)
    assert failed
    assert set(failed.waiting()) == {"a", "b"}
    assert failed.next_retry() == 6
    clock.now += 6
    assert set(failed.waiting()) == {"b"}
    assert failed.next_retry() == 4
    clock.now += 4
    assert failed.waiting() == {}
    assert failed.next_retry() is None
    assert failed  # until an executor takes the jobs


def test_only_the_first_failure_at_a_run_time_is_new(clock):
    failed = FailedSubmissions()
    assert failed.add("a", 1.0, 10)
    assert not failed.add("a", 1.0, 10)
    assert failed.waiting()["a"].tries == 2
    assert failed.add("a", 2.0, 10)
    assert failed.waiting()["a"].tries == 1


@pytest.mark.parametrize("end", ["note_taken", "forget"])
def test_job_that_is_taken_or_changed_has_not_failed(clock, end):
    failed = FailedSubmissions()
    failed.add("a", 1.0, 10)
    getattr(failed, end)("a")
    getattr(failed, end)("never failed")
    assert not failed
    assert failed.add("a", 1.0, 10)


def test_job_is_hopeless_after_three_tries_while_others_are_taken(clock):
    failed = FailedSubmissions()
    for tries in range(1, MAX_TRIES + 1):
        failed.add("a", 1.0, 10)
        assert not failed.is_hopeless("a", 1.0), tries
    failed.note_taken("b")
    assert failed.is_hopeless("a", 1.0)
    assert not failed.is_hopeless("a", 2.0)
    assert not failed.is_hopeless("b", 1.0)


def test_job_is_not_hopeless_if_others_were_taken_only_before_its_first_failure(clock):
    failed = FailedSubmissions()
    failed.note_taken("b")
    for _ in range(MAX_TRIES):
        failed.add("a", 1.0, 10)
    assert not failed.is_hopeless("a", 1.0)


def test_job_is_not_hopeless_before_three_tries(clock):
    failed = FailedSubmissions()
    failed.add("a", 1.0, 10)
    failed.note_taken("b")
    failed.add("a", 1.0, 10)
    assert not failed.is_hopeless("a", 1.0)
