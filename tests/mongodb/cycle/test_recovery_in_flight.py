"""Recovery after an unclean end, while executors are full or refuse jobs, or keys are unknown."""

import pytest

from jobstore import MongoDBJobStore
from support.jobs import at, job, names
from support.manual_scheduler import Submissions
from support.restarts import attempt_counts, count_presences, cycle
from support.signed_stores import KEY, NEW_KEY
from support.waiting import until

MODES = {
    "queried": {},
    "mirrored": {"mirror": True},
    "exclusive": {"mirror": "exclusive"},
}
pytestmark = pytest.mark.parametrize("mode", MODES)
OTHER_PROCESS = b"other"


class Holding(Submissions):
    """Keeps each run until `finish`, or refuses all jobs if `is_broken`."""

    is_broken = False

    def submit_job(self, job, run_times):
        if self.is_broken:
            raise OSError("broken")
        super().submit_job(job, run_times)
        self._instances[job.id] += 1

    def finish(self):
        self._instances.clear()


@pytest.fixture
def begin(restart, mode):
    """Return a function that starts another process. The one before ends without a shutdown."""

    def begin():
        scheduler = restart(in_flight=1, **MODES[mode])
        scheduler.jobstore_retry_interval = 0.05
        scheduler.slow = Holding()
        scheduler.add_executor(scheduler.slow, "slow")
        scheduler.add_executor(Submissions(), "quick")
        return scheduler

    return begin


def store_of(scheduler):
    return scheduler._lookup_jobstore("default")


def slow(name, seconds, **options):
    return job(name, seconds, executor="slow", every=None, **options)


def is_recovering(scheduler):
    reader = store_of(scheduler)._reader
    return getattr(reader, "queried", reader)._is_active


def cycle_until(scheduler, condition):
    """Run cycles until the condition is true."""

    def step():
        cycle(scheduler)
        return condition()

    until(step)


def run_all(scheduler):
    """Run cycles, and finish the runs after each, until no job is left and the recovery is over."""

    def step():
        scheduler.slow.finish()
        cycle(scheduler)
        return not names(store_of(scheduler)) and not is_recovering(scheduler)

    until(step)


def test_jobs_that_wait_for_a_full_executor_are_never_suspects(begin, database):
    store = store_of(begin())
    store.add_jobs(slow(f"slow-{n:02}", n) for n in range(30))
    store.add_jobs(job(f"quick-{n:02}", n + 0.5, executor="quick", every=None) for n in range(10))
    for _ in range(5):
        scheduler = begin()
        for _ in range(4):
            cycle(scheduler)
            assert attempt_counts(database) == {}
    cycle_until(scheduler, lambda: "quick-09" not in names(store_of(scheduler)))
    run_all(scheduler)
    assert count_presences(database) == 1


def suspects(store, *job_ids):
    attempts = {"count": 2, "by": OTHER_PROCESS}
    store._connection.jobs.update_many({"_id": {"$in": job_ids}}, {"$set": {"attempts": attempts}})
    return attempts


def test_suspect_that_waits_for_a_full_executor_stays_a_suspect_until_it_runs(begin, database):
    store = store_of(begin())
    store.add_jobs([slow("first", 0), slow("suspect", 1), job("quick", 2, executor="quick")])
    attempts = suspects(store, "suspect")
    scheduler = begin()
    for _ in range(6):
        cycle(scheduler)
    assert [job_id for job_id, _ in scheduler.slow.submitted] == ["first"]
    assert database["jobs"].find_one({"_id": "suspect"})["attempts"] == attempts
    assert scheduler._executors["quick"].submitted == [("quick", [at(2)])]
    assert is_recovering(scheduler), "the suspect runs with a count"
    scheduler.slow.finish()
    counts = []
    scheduler.slow.then = lambda _: counts.append(attempt_counts(database))
    cycle_until(scheduler, lambda: len(scheduler.slow.submitted) == 2)
    assert counts == [{"suspect": 3}]
    cycle_until(scheduler, lambda: not is_recovering(scheduler))
    assert attempt_counts(database) == {}


def test_recovery_ends_if_a_waiting_suspect_is_removed(begin, database):
    store = store_of(begin())
    store.add_jobs([slow("first", 0), slow("suspect", 1)])
    suspects(store, "suspect")
    scheduler = begin()
    for _ in range(4):
        cycle(scheduler)
    scheduler.remove_job("suspect")
    cycle_until(scheduler, lambda: not is_recovering(scheduler))


def test_job_that_its_executor_refuses_is_no_suspect(begin, database):
    store = store_of(begin())
    store.add_jobs([slow("a", 0), slow("suspect", 1)])
    store.add_job(job("quick", 2, executor="quick", every=None))
    attempts = suspects(store, "suspect")
    for _ in range(3):
        scheduler = begin()
        scheduler.slow.is_broken = True
        scheduler.jobstore_retry_interval = 60  # one try in each process: three would quarantine it
        for _ in range(6):
            cycle(scheduler)
        counted = {each["_id"]: each.get("attempts") for each in database["jobs"].find()}
        assert counted == {"a": None, "suspect": attempts}
    run_all(begin())


def test_job_by_a_key_that_may_be_new_is_no_suspect(restart, mode, server, database):
    answers = [[KEY], [KEY]]

    def ask():
        if not answers:
            raise OSError("no vault")
        return answers.pop()

    store_of(restart(signing_keys=ask)).add_job(job("known", 1, every=None))
    owner = MongoDBJobStore(database.name, host=server.uri, signing_keys=[NEW_KEY])
    owner.add_jobs([job("new", 0), job("suspect", 2)])
    owner.shutdown()
    attempts = {"count": 2, "by": OTHER_PROCESS}
    database["jobs"].update_one({"_id": "suspect"}, {"$set": {"attempts": attempts}})
    scheduler = restart(signing_keys=ask, **MODES[mode])
    for _ in range(6):
        cycle(scheduler)
    assert [job_id for job_id, _ in scheduler.executor.submitted] == ["known"]
    stored = {each["_id"]: each.get("attempts") for each in database["jobs"].find()}
    assert stored == {"new": None, "suspect": attempts}
    assert is_recovering(scheduler), "the suspect runs with a count"
