"""The attempt count in a job's document: who removes it, and when there is none."""

import pytest

from jobstore import MongoDBJobStore
from jobstore.mongodb.codec import Codec
from jobstore.mongodb.recovery.attempts import count_attempts
from support.jobs import YEARS, at, job
from support.manual_scheduler import by_hand
from support.proxy import Proxy
from support.restarts import MODES, attempt_counts, cycle, cycles, jobs, run_until_killed


def change_meanwhile(database):
    database["jobs"].update_one({"_id": "a"}, {"$set": {"next_run_time": at(YEARS).timestamp()}})


def merge_meanwhile(database):
    other = MongoDBJobStore(database.name, client=database.client)
    database["jobs"].update_one(
        {"_id": "a"},
        {"$set": {"job_state": Codec(4).dump(job("a", args=(1,)))}},
    )
    other.shutdown()


CHANGES = {
    "rescheduled": change_meanwhile,
    "changed": merge_meanwhile,
    "removed": lambda database: database["jobs"].delete_one({"_id": "a"}),
}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("mode", ["queried", "mirrored"])
def test_attempt_count_is_removed_when_another_process_changes_the_job(
    restart, database, mode, how
):
    restart(**MODES[mode])._lookup_jobstore("default").add_job(job("a"))
    scheduler = restart(lambda job: CHANGES[how](database), **MODES[mode])
    assert cycle(scheduler) == ["a"]
    cycles(scheduler)
    assert attempt_counts(database) == {}
    assert database["jobs"].count_documents({}) == (how != "removed")


def test_write_outside_a_cycle_removes_the_attempt_count(restart, database):
    store = restart()._lookup_jobstore("default")
    store.add_jobs([job("culprit"), job("b")])
    run_until_killed(restart())
    assert attempt_counts(database) == {"culprit": 2}
    store.update_job(job("culprit"))
    assert attempt_counts(database) == {}


def test_unrestorable_job_keeps_no_attempt_count(restart, database):
    restart()._lookup_jobstore("default").add_job(job("a", executor="gone"))
    scheduler = restart()
    assert cycles(scheduler) == []
    assert attempt_counts(database) == {}
    assert len(scheduler._lookup_jobstore("default").quarantined()) == 1


def test_job_runs_without_a_count_when_the_server_refuses_the_count(restart, database):
    jobs(restart()._lookup_jobstore("default"), 3)
    validator = {"$or": [{"_id": {"$ne": "0001"}}, {"attempts": None}]}
    database.command("collMod", "jobs", validator=validator)
    scheduler = restart()
    assert cycles(scheduler) == [1, 2]
    assert attempt_counts(database) == {}


def test_attempts_are_counted_by_several_commands_when_ids_are_too_long_for_one(restart, database):
    ids = [f"{n:03}" + 30_000 * "x" for n in range(600)]
    database["jobs"].insert_many([{"_id": each, "next_run_time": 0.0} for each in ids])
    store = restart()._lookup_jobstore("default")
    count_attempts(store._connection, {"next_run_time": {"$lte": 1.0}}, ids)
    assert attempt_counts(database) == dict.fromkeys(ids, 2)


@pytest.mark.parametrize("how", ["close", "lose"])
def test_attempt_is_counted_once_when_the_answer_is_lost(restart, database, server, how):
    restart()._lookup_jobstore("default").add_job(job("culprit"))
    with Proxy(server.nodes[0].port) as proxy:
        store = MongoDBJobStore(database.name, host=proxy.uri, retryWrites=False, watch=False)
        restart.in_another_process()
        scheduler = by_hand(store)
        for _ in range(3):
            proxy.fail("update", how, 2)
            assert cycle(scheduler) == [], "the job does not run without a count"
        run_until_killed(scheduler)
        assert attempt_counts(database) == {"culprit": 2}
        store._write_behind.forget()
        store.shutdown()
