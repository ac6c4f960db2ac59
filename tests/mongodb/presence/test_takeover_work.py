"""A takeover does its work for the lease that the store then has."""

from support.jobs import job
from support.standbys import standing
from support.waiting import until


def test_takeover_that_spans_two_leases_does_its_work_again(scheduler_on, monkeypatch):
    scheduler = scheduler_on(others="wait")
    until(lambda: not standing(scheduler))
    store = scheduler.store
    store.add_job(job("a"))
    firing, begun = store._firing, []
    work = store._lifecycle._begin_to_fire

    def work_while_the_lease_changes():
        begun.append(firing.leases)
        if len(begun) == 1:
            firing.leases += 1  # the store's thread lost the lease, and got another one
        work()

    monkeypatch.setattr(store._lifecycle, "_begin_to_fire", work_while_the_lease_changes)
    firing._taken_over = None
    scheduler._process_jobs()
    assert (firing.stands_by, scheduler.executor.submitted) == (True, [])
    scheduler._process_jobs()
    assert begun[1] == begun[0] + 1
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["a"]
