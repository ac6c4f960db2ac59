"""Three stores that must agree: the stock store, ours compiled, and ours on the twin."""

from jobstore import ConflictingIdError, ConflictingIdsError, JobLookupError, JobsLookupError
from support.indexes import outcome
from support.memory_stores import memory_store


def refused_by_loop(call, items, refusal, id_of):
    """Call for each item, as a user of the stock store does; return the refused ids."""
    refused = []
    for item in items:
        try:
            call(item)
        except refusal:
            refused.append(id_of(item))
    return refused


def refused_by_bulk(call, items, refusal):
    try:
        call(items)
    except refusal as error:
        return error.job_ids
    return []


class ThreeStores:
    """Applies every operation to all three stores, and asserts that they behave equally."""

    def __init__(self, leaf_capacity=64):
        self.stock = memory_store("stock")
        self.ours = [memory_store("compiled", leaf_capacity), memory_store("twin", leaf_capacity)]

    def _agree(self, expected, results):
        for result in results:
            assert result == expected
        return expected

    def _same(self, call):
        """Call with each store, and assert that results or errors are equal."""
        return self._agree(outcome(call, self.stock), [outcome(call, store) for store in self.ours])

    def _same_jobs(self, call):
        return self._same(lambda store: [*map(id, call(store))])

    def add(self, job):
        self._same(lambda store: store.add_job(job))

    def update(self, job):
        self._same(lambda store: store.update_job(job))

    def remove(self, job_id):
        self._same(lambda store: store.remove_job(job_id))

    def lookup(self, job_id):
        return self._same(lambda store: id(store.lookup_job(job_id)))

    def due(self, now):
        due = self._same_jobs(lambda store: store.get_due_jobs(now))
        for limit in (0, 1, 5, len(due), len(due) + 1):
            first = [
                outcome(lambda store, most: [*map(id, store._index.due(now, most))], store, limit)
                for store in self.ours
            ]
            self._agree(due[:limit] if isinstance(due, list) else first[0], first)
        if isinstance(due, list):
            self.pages(due)
        return due

    def pages(self, due):
        """Assert that both indexes give the same entries after the last due job, and from it on."""
        key, last = -(2**62), None
        for entry in self.ours[0]._index.page(key, None, len(due))[-1:]:
            key, last, _ = entry
        for job_id in (None, last, "2"):
            first, second = (store._index.page(key, job_id, 3) for store in self.ours)
            assert [(*place, id(job)) for *place, job in first] == [
                (*place, id(job)) for *place, job in second
            ]

    def next_run_time(self):
        return self._same(lambda store: store.get_next_run_time())

    def clear(self):
        self._same(lambda store: store.remove_all_jobs())

    def add_many(self, jobs):
        def loop(job):
            self.stock.add_job(job)

        self._agree(
            refused_by_loop(loop, jobs, ConflictingIdError, lambda job: job.id),
            [refused_by_bulk(ours.add_jobs, jobs, ConflictingIdsError) for ours in self.ours],
        )

    def put_many(self, jobs):
        for job in jobs:
            try:
                self.stock.add_job(job)
            except ConflictingIdError:
                self.stock.update_job(job)
        for ours in self.ours:
            ours.add_jobs(jobs, replace_existing=True)

    def update_many(self, jobs):
        self._agree(
            refused_by_loop(self.stock.update_job, jobs, JobLookupError, lambda job: job.id),
            [refused_by_bulk(ours.update_jobs, jobs, JobsLookupError) for ours in self.ours],
        )

    def remove_many(self, job_ids):
        self._agree(
            refused_by_loop(self.stock.remove_job, job_ids, JobLookupError, str),
            [refused_by_bulk(ours.remove_jobs, job_ids, JobsLookupError) for ours in self.ours],
        )

    def check(self):
        """Assert that all stores hold the same jobs in order, and that our invariants hold."""
        self._same_jobs(lambda store: store.get_all_jobs())
        for ours in self.ours:
            ours._index._check()
            assert len(ours) == len(self.stock._jobs)
