"""Jobs that the executor of one scheduler refuses run in another one that shares the collection."""

from support.jobs import YEARS, at, job, run_times
from support.shared_stores import ids, leased
from support.unsteady import cycle, documents, refused, start_unsteady


def test_job_that_one_scheduler_can_not_submit_runs_in_another_at_once(make, retry_clock):
    first, second = make(start=False), make(start=False)
    broken, healthy = start_unsteady(first), start_unsteady(second)
    healthy.unsteady.is_broken = False
    first.add_jobs([refused("a"), refused("b", 1, every=None), job("c", 2)])
    assert cycle(broken)[0] == ["c"]
    assert leased(first) == []
    assert cycle(healthy)[0] == ["a", "b"]
    assert run_times(first) == {"a": at(YEARS).timestamp(), "c": at(YEARS).timestamp() + 2}


def test_scheduler_leaves_a_refused_job_to_others_for_a_minute(make, retry_clock):
    store = make(start=False)
    scheduler = start_unsteady(store)
    scheduler.jobstore_retry_interval = 1
    store.add_job(refused("a"))
    before = documents(store)
    _, wait = cycle(scheduler)
    assert 30 < wait <= 60
    store.commands.names.clear()
    retry_clock.advance(59)
    cycle(scheduler)
    assert scheduler.unsteady.tries == ["a"]
    assert "update" not in store.commands.names, "no claim"
    retry_clock.advance(1)
    cycle(scheduler)
    assert scheduler.unsteady.tries == ["a", "a"]
    assert documents(store) == before


def test_another_scheduler_may_claim_the_job_between_two_tries(make, retry_clock):
    """The tries count only if nobody has run the job meanwhile."""
    first, second = make(start=False), make(start=False)
    broken, healthy = start_unsteady(first), start_unsteady(second)
    first.add_jobs([refused("a"), job("b")])
    for _ in range(2):
        cycle(broken)
        retry_clock.advance(61)
    healthy.unsteady.is_broken = False
    assert cycle(healthy)[0] == ["a"]
    due = {"$set": {"next_run_time": at(5).timestamp()}}
    first.collection.update_one({"_id": "a"}, due)
    for n in range(3):
        first.add_job(job(f"other-{n}"))
        cycle(broken)
        retry_clock.advance(61)
    assert broken.unsteady.tries == ["a"] * 5
    assert first.quarantined() == []
    cycle(broken)
    assert ids(first.quarantined()) == ["a"]
