"""A job that ends its process is found and quarantined; the other jobs run."""

import pytest

from jobstore import MongoDBJobStore
from support.jobs import YEARS, at, job
from support.programs.run_lethal_jobs import end_process
from support.restarts import (
    MODES,
    Killed,
    attempt_counts,
    count_presences,
    cycle,
    cycles,
    jobs,
    run_until_killed,
)
from support.supervisor import SUPERVISED, Supervisor
from support.waiting import until


@pytest.fixture
def supervise(server, database, tmp_path):
    def supervise(mode, executor):
        return Supervisor(server.uri, database.name, tmp_path / "submitted", mode, executor)

    return supervise


def culprit(seconds, every):
    return job("culprit", seconds, every=every, func=end_process)


@pytest.mark.slow
@pytest.mark.parametrize("every", [YEARS, None], ids=["interval", "one-off"])
@pytest.mark.parametrize("executor", ["pool", "cycle"])
@pytest.mark.parametrize("mode", SUPERVISED)
def test_job_that_ends_its_process_runs_three_times_at_most_and_others_run(
    server, database, supervise, mode, executor, every
):
    with MongoDBJobStore(database.name, host=server.uri).client as client:
        store = MongoDBJobStore(database.name, client=client)
        store.add_jobs([job(f"{n}", n) for n in range(200)])
        store.add_job(culprit(70.5, every))
        runs = supervise(mode, executor).run()
        assert 1 <= runs.pop("culprit") <= 3
        assert runs.keys() == {f"{n}" for n in range(200)}
        found = store.quarantined()
        assert [each.id for each in found] in (["culprit"], [])
        if executor == "cycle":  # a pool may write the run before the process ends
            assert [each.reason for each in found] == ["its runs ended the process 3 times"]
        assert not store.collection.count_documents({"attempts": {"$ne": None}})


# Starts after a shutdown, and after an unclean end


@pytest.mark.parametrize("mode", ["queried", "mirrored", "exclusive"])
def test_start_after_a_shutdown_runs_full_batches(restart, in_another_process, database, mode):
    first = restart(**MODES[mode])
    assert count_presences(database) == 1
    first.shutdown()
    assert count_presences(database) == 0
    scheduler = restart(**MODES[mode])
    jobs(scheduler._lookup_jobstore("default"), 100)
    assert cycles(scheduler) == [100]
    assert "attempts" not in database["jobs"].find_one()


@pytest.mark.parametrize("mode", ["queried", "mirrored", "exclusive"])
def test_batches_double_after_an_unclean_end_until_the_backlog_is_run(restart, database, mode):
    jobs(restart(**MODES[mode])._lookup_jobstore("default"), 100)
    scheduler = restart(**MODES[mode])
    assert cycles(scheduler) == [1, 2, 4, 8, 16, 32, 37]
    assert attempt_counts(database) == {}
    assert count_presences(database) == 1, "only the presence of this scheduler is left"
    if mode != "queried":
        until(
            lambda: cycle(scheduler) == [] and scheduler._lookup_jobstore("default")._reader.is_live
        )


def test_mirror_is_live_after_an_unclean_end_when_nothing_is_due(restart, database):
    restart(mirror=True)
    scheduler = restart(mirror=True)
    assert cycle(scheduler) == []
    assert scheduler._lookup_jobstore("default")._reader.is_live
    assert count_presences(database) == 1


def test_second_start_in_the_same_process_runs_full_batches(restart, database):
    scheduler = restart()
    store = scheduler._lookup_jobstore("default")
    jobs(store, 10)
    store.start(scheduler, "default")
    assert cycles(scheduler) == [10]
    store.shutdown()
    assert count_presences(database) == 0


def test_recovery_ended_by_a_shutdown_goes_on_at_the_next_start(restart, database):
    jobs(restart()._lookup_jobstore("default"), 10)
    scheduler = restart()
    assert cycle(scheduler) == ["0000"]
    scheduler.shutdown()
    assert cycles(restart()) == [1, 2, 4, 2]


def test_suspects_run_first_and_alone_and_only_the_culprit_is_quarantined(restart, database):
    store = restart()._lookup_jobstore("default")
    jobs(store, 6)
    store.add_job(job("culprit", 4.5))
    run_until_killed(restart())
    assert attempt_counts(database) == dict.fromkeys(("0003", "0004", "0005", "culprit"), 2)
    scheduler = restart()
    run_until_killed(scheduler)
    assert [each for each, _ in scheduler.executor.submitted] == ["0003", "0004", "culprit"]
    assert attempt_counts(database) == {"culprit": 3, "0005": 2}
    scheduler = restart()
    assert cycle(scheduler) == ["0005"]
    assert attempt_counts(database) == {}
    (found,) = scheduler._lookup_jobstore("default").quarantined()
    assert found.id == "culprit"
    assert found.reason == "its runs ended the process 3 times"
    assert found.next_run_time == at(4.5)


def test_recovery_examines_no_more_documents_than_it_hands_out(restart, database):
    """To search a large backlog might exceed the time limit of a command."""
    jobs(restart()._lookup_jobstore("default"), 1_000)
    scheduler = restart()
    database.command("profile", 2)
    assert [len(cycle(scheduler)) for _ in range(3)] == [1, 2, 4]
    database.command("profile", 0)
    finds = list(database["system.profile"].find({"command.find": "jobs"}))
    assert finds
    assert max(each["docsExamined"] for each in finds) <= 4


def test_suspect_runs_alone_before_the_rest_of_its_batch(restart, database):
    store = restart()._lookup_jobstore("default")
    jobs(store, 9)
    attempts = {"count": 2, "by": b"-----"}
    database["jobs"].update_one({"_id": "0004"}, {"$set": {"attempts": attempts}})
    scheduler = restart()
    found = list(iter(lambda: cycle(scheduler), []))
    assert found[:3] == [["0000"], ["0001", "0002"], ["0004"]]
    assert [len(each) for each in found[3:]] == [1, 2, 2]
    assert attempt_counts(database) == {}


def test_culprit_that_cannot_be_quarantined_does_not_run(restart, database):
    store = restart()._lookup_jobstore("default")
    store.add_job(job("culprit"))
    run_until_killed(restart())
    run_until_killed(restart())
    jobs(store, 20)
    database.command("collMod", "jobs", validator={"quarantine": None})
    scheduler = restart()
    assert sum(cycles(scheduler)) == 20
    assert cycle(scheduler) == [], "the culprit does not run after the others, either"
    assert attempt_counts(database) == {"culprit": 3}
    database.command("collMod", "jobs", validator={})
    assert cycle(restart()) == []
    assert len(store.quarantined()) == 1


def quarantined_culprit(restart):
    """Return a scheduler that has just quarantined a culprit, and its store."""
    restart()._lookup_jobstore("default").add_job(job("culprit"))
    run_until_killed(restart())
    run_until_killed(restart())
    scheduler = restart()
    assert cycles(scheduler) == []
    store = scheduler._lookup_jobstore("default")
    assert [each.id for each in store.quarantined()] == ["culprit"]
    return scheduler, store


def test_neither_start_nor_retry_puts_a_culprit_back(restart, monkeypatch):
    quarantined_culprit(restart)
    store = restart()._lookup_jobstore("default")
    monkeypatch.setattr("jobstore.mongodb.writes.retry.STEP_SECONDS", 0)
    store._lifecycle._retry._next_at = 0
    for _ in range(3):
        assert store.get_due_jobs(at(10)) == []
    assert store.restore_quarantined() == []
    assert [each.id for each in store.quarantined()] == ["culprit"]


def test_culprit_put_back_by_its_id_has_three_runs_again(restart):
    scheduler, store = quarantined_culprit(restart)
    assert store.restore_quarantined(["culprit"]) == ["culprit"]
    run_until_killed(scheduler)
    run_until_killed(restart())
    run_until_killed(restart())
    scheduler = restart()
    assert cycles(scheduler) == []
    assert len(scheduler._lookup_jobstore("default").quarantined()) == 1


def test_culprit_is_kept_with_unreadable_remove(restart, database):
    restart()._lookup_jobstore("default").add_job(job("culprit"))
    run_until_killed(restart(unreadable="remove"))
    run_until_killed(restart(unreadable="remove"))
    assert cycles(restart(unreadable="remove")) == []
    assert database["jobs"].find_one()["quarantine"]["reason"].endswith("3 times")


def test_job_whose_state_ends_the_process_is_quarantined(restart, database, monkeypatch):
    """Restoring the state ends the process, before the job is handed out."""
    restart()._lookup_jobstore("default").add_job(job("culprit"))

    def end(*args):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("jobstore.mongodb.host.Host.restore_runnable", end)
        for _ in range(2):
            with pytest.raises(Killed):
                restart()._process_jobs()
    scheduler = restart()
    assert cycles(scheduler) == []
    assert len(scheduler._lookup_jobstore("default").quarantined()) == 1
