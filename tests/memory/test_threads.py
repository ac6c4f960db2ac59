"""An application changes jobs in its threads while the scheduler's thread fires them."""

import pytest

from jobstore import JobLookupError, MemoryJobStore
from jobstore.in_flight import BoundedExecutor
from support.hammering import hammer
from support.jobs import YEARS, job
from support.manual_scheduler import by_hand
from support.waiting import in_thread

NAMES = [f"{number:02}" for number in range(20)]


@pytest.mark.parametrize("options", [{}, {"in_flight": 30}], ids=["unbounded", "bounded"])
def test_changes_in_other_threads_disturb_no_cycle(options, caplog):
    store = MemoryJobStore(**options)
    scheduler = by_hand(store)
    store.add_jobs([job(name) for name in NAMES])

    def cycle(number):
        scheduler._process_jobs()
        scheduler.executor.submitted.clear()

    def update(number):
        store.update_job(job(NAMES[number % 10]))

    def replace(number):
        store.add_jobs([job(name) for name in NAMES[10:15]], replace_existing=True)

    def remove_and_add(number):
        name = NAMES[15 + number % 5]
        try:
            store.remove_job(name)
        except JobLookupError:
            raise AssertionError(f"{name} is lost") from None
        store.add_job(job(name))

    hammer(cycle, update, replace, remove_and_add, rounds=2_000)
    assert caplog.records == [], "the scheduler logs a store's errors"
    assert sorted(each.id for each in store.get_all_jobs()) == NAMES
    store._index._check()


def test_cycle_may_end_at_any_moment_of_a_change_in_another_thread():
    class Ending(MemoryJobStore):
        """Its cycle ends as soon as a thread has looked at it."""

        @property
        def _cycle(self):
            cycle, self._now = self._now, None
            return cycle

        @_cycle.setter
        def _cycle(self, cycle):
            self._now = cycle

        def get_due_jobs(self, now):
            jobs = super().get_due_jobs(now)
            cycles.append(self._now)
            return jobs

    def change(fired):
        for call, *arguments in (
            (store.update_job, job("b", YEARS)),
            (store.add_jobs, [job("b", YEARS)], True),
            (store.remove_job, "b"),
        ):
            store._now = cycles[-1]
            in_thread(call, *arguments)

    cycles = []
    store = Ending()
    scheduler = by_hand(store, change)
    store.add_jobs([job("a"), job("b", YEARS)])
    scheduler._process_jobs()
    assert cycles[0]
    assert [each.id for each in store.get_all_jobs()] == ["a"]


def test_run_that_ends_while_its_end_is_about_to_be_awaited_is_not_missed():
    """It ends after the runs are counted, and before the store waits for the next end."""

    class Instances(dict):
        def get(self, job_id):
            count = super().get(job_id)
            if self.pop(job_id, None):
                assert not bounded.run_ended(job_id), "nobody waits yet"
            return count

    class Executor:
        _instances = Instances(a=1)

    bounded = BoundedExecutor(Executor(), 1, 1)
    bounded.jobs["a"] = None
    assert bounded.arm()
