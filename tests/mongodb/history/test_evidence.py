"""The evidence that `why` reads from the database."""

from datetime import datetime, timedelta, timezone

import pytest
from apscheduler.triggers.cron import CronTrigger
from pymongo.errors import PyMongoError

from jobstore.mongodb.history import evidence
from support.evidence import HOUR, NOON, ONE, OTHER, change, incident, record
from support.jobs import job


def hourly(store, next_run_time=NOON + HOUR, **options):
    """Store a job that runs each hour."""
    trigger = CronTrigger(minute=0, timezone="UTC")
    store.add_job(job("report", trigger=trigger, next_run_time=next_run_time, **options))


def test_records_of_the_run_are_found_among_others(store, records):
    hourly(store)
    records(
        record("missed", 3, job="another"),
        record("executed", -3599, NOON - HOUR),
        record("error", 7, detail="ValueError: no"),
        record("executed", 3601, NOON + HOUR),
    )
    answer = store.why("report", NOON + timedelta(seconds=20))
    assert (answer.kind, answer.at) == ("failed", NOON)
    assert [each.detail for each in answer.evidence] == ["ValueError: no"]


def test_a_naive_time_is_utc_and_other_zones_are_converted(store, records):
    hourly(store)
    records(record("skipped"))
    for at in (datetime(2025, 11, 29, 12), NOON.astimezone(timezone(timedelta(hours=5.5)))):
        answer = store.why("report", at)
        assert (answer.kind, answer.at, answer.at.utcoffset()) == ("skipped", NOON, timedelta(0))


def test_a_run_that_ended_long_after_its_time_is_found(store, records):
    hourly(store)
    records(record("executed", 86_400, seconds=86_400.0))
    assert store.why("report", NOON).kind == "ran"


def test_one_of_many_coalesced_runs_is_found(store, records):
    hourly(store, NOON + 5 * HOUR)
    records(record("coalesced", 4.2 * 3600, NOON - HOUR, runs=5, until=NOON + 4 * HOUR))
    assert store.why("report", NOON + 2 * HOUR).kind == "coalesced"
    assert store.why("report", NOON + 1.5 * HOUR).kind == "not due"
    assert store.why("report", NOON + 4 * HOUR).kind == "unknown"


def test_the_last_change_before_counts(store, records):
    hourly(store)
    records(change("added", -7000), change("paused", -3000), change("changed", 3000))
    records(record("executed", -99_999, NOON - 27 * HOUR, job="another"))
    assert store.why("report", NOON).kind == "paused"
    assert store.why("report", NOON - HOUR).kind == "unknown"
    assert store.why("report", NOON - 2 * HOUR).kind == "not due"


def test_a_job_that_ran_after_its_pause_was_resumed(store, records):
    hourly(store)
    records(change("paused", -9000), record("executed", -3599, NOON - HOUR), change("changed", 900))
    assert store.why("report", NOON).kind == "unknown"
    assert store.why("report", NOON - 2 * HOUR).kind == "paused"


def test_a_run_in_flight_at_its_pause_resumes_nothing(store, records):
    hourly(store, None)
    records(change("paused", -1800), record("executed", -600, NOON - HOUR, seconds=3000.0))
    assert store.why("report", NOON).kind == "paused"


def test_a_pause_that_was_repeated_is_one(store, records):
    hourly(store)
    records(incident("started", -9000)._replace(detail='history="all"'))
    records(change("paused", -3000), change("paused", 3000), change("changed", 6000))
    assert store.why("report", NOON).kind == "paused"


def test_a_quarantine_that_a_call_has_ended_lasted_until_then(store, records):
    hourly(store)
    records(record("quarantined", -3600, NOON - HOUR, detail="x"), change("changed", 3000))
    assert store.why("report", NOON).kind == "quarantined"


def test_a_hold_lasts_until_the_release(store, records):
    hourly(store)
    records(record("held", -1800, NOON - HOUR, detail='catch_up="hold"'), change("changed", 3000))
    assert store.why("report", NOON).kind == "held"
    assert store.why("report", NOON - HOUR).kind == "held"


def test_the_removal_of_all_jobs_after_the_time_is_found(store, records):
    records(change("added", -9000, detail=NOON.isoformat()))
    records(change("removed", 60)._replace(job_id=None))
    answer = store.why("report", NOON)
    assert answer.kind == "unknown"
    assert "It was due at" in answer.text
    assert "All jobs were removed at 2025-11-29 12:01:00 UTC" in answer.text
    assert "All jobs were removed at" in store.why("another", NOON).text


def test_a_job_that_is_gone_was_not_due_before_its_next_run_time(store, records):
    records(incident("started", -9000)._replace(detail='history="all"'))
    records(change("added", -9000, detail=(NOON + HOUR).isoformat()))
    answer = store.why("report", NOON)
    assert answer.kind == "not due"
    assert "its next run time was 2025-11-29 13:00:00 UTC then" in answer.text
    assert "It was due at" in store.why("report", NOON + 2 * HOUR).text


def test_a_job_that_ran_before_it_was_added_again_was_there(store, records):
    hourly(store)
    records(record("executed", -3599, NOON - HOUR), change("added", 6000))
    answer = store.why("report", NOON)
    assert (answer.kind, "not there yet" in answer.text) == ("unknown", False)


def test_the_run_into_which_others_were_rolled_is_found(store, records):
    hourly(store, NOON + 5 * HOUR)
    end = 4 * 3600
    records(record("coalesced", end + 1, NOON - HOUR, runs=5, until=NOON + 4 * HOUR))
    records(record("missed", end + 1, NOON + 4 * HOUR))
    assert 'The later run has the record "missed"' in store.why("report", NOON).text


def test_a_job_that_the_store_removed_instead_of_its_run_is_found(store, records):
    records(record("removed", 0.1, detail="UnpicklingError: x"))
    for at in (NOON, None):
        answer = store.why("report", at)
        assert (answer.kind, answer.at) == ("removed", NOON)
        assert "UnpicklingError: x" in answer.text


def test_a_run_on_two_schedulers_is_found(store, records):
    hourly(store)
    records(record("executed", 1), record("executed", 2, by=OTHER), record("double", 2, by=OTHER))
    answer = store.why("report", NOON)
    assert (answer.kind, answer.text) == ("twice", "It ran on web-1:4711, and on web-2:4711.")


def test_more_records_of_schedulers_than_are_read_prove_no_absence(store, records, monkeypatch):
    hourly(store)
    ends = [incident("stopped", -60 - n, by=f"scheduler:x:{n}:y") for n in range(9)]
    records(*ends, incident("started", 60, by=OTHER))
    assert store.why("report", NOON).kind == "no scheduler"
    monkeypatch.setattr(evidence, "MOST_INCIDENTS", 9)
    assert store.why("report", NOON).kind == "unknown"


def test_incidents_around_the_time_are_found_among_many(store, records):
    hourly(store)
    records(*[incident("away", n, n + 1) for n in range(-9000, -3000, 5)])
    records(incident("away", -5, 60), *[incident("away", n, n + 1) for n in range(600, 6600, 5)])
    assert store.why("report", NOON).kind == "database away"


def test_starts_and_ends_of_schedulers_are_found(store, records):
    hourly(store)
    records(incident("stopped", -60), incident("started", 60, by=OTHER))
    answer = store.why("report", NOON)
    assert answer.kind == "no scheduler"
    assert [each.by for each in answer.evidence] == [ONE, OTHER]


def test_without_a_time_the_last_run_that_is_over_is_meant(store):
    now = datetime.now(timezone.utc)
    hour = now.replace(minute=0, second=0, microsecond=0)
    hourly(store, hour + HOUR)
    answer = store.why("report")
    assert (answer.kind, answer.at) == ("unknown", hour)


def test_without_a_time_a_due_job_is_meant(store):
    hourly(store)
    answer = store.why("report")
    assert answer.kind == "no scheduler"
    assert answer.at == NOON + HOUR


def test_without_a_time_the_last_record_of_a_job_that_is_gone_is_meant(store, records):
    records(record("executed"))
    answer = store.why("report")
    assert (answer.kind, answer.at) == ("ran", NOON)


def test_without_a_time_the_present_of_a_paused_job_is_meant(store):
    hourly(store, None)
    answer = store.why("report")
    assert answer.kind == "paused"
    assert answer.at > NOON


def test_the_nearest_of_many_runs_is_found(store, records, monkeypatch):
    """Sub-minute jobs have more records near the moment than are looked at."""
    hourly(store)
    monkeypatch.setattr(evidence, "MOST_RUNS", 5)
    seconds = [n for n in range(-30, 30) if n]
    records(*[record("executed", n + 0.1, NOON + timedelta(seconds=n)) for n in seconds])
    records(record("error", 50))
    answer = store.why("report", NOON)
    assert (answer.kind, answer.at) == ("failed", NOON)
    records(record("coalesced", 58, NOON - HOUR, runs=9, until=NOON + HOUR))
    assert store.why("report", NOON).kind == "failed"


def test_one_of_several_runs_is_found_among_many_that_are_nearer_to_its_first(
    store, records, monkeypatch
):
    hourly(store)
    monkeypatch.setattr(evidence, "MOST_RUNS", 5)
    records(*[record("missed", n, NOON + timedelta(seconds=n)) for n in range(3, 30)])
    records(record("coalesced", 58, NOON - HOUR, runs=9, until=NOON + HOUR))
    assert store.why("report", NOON).kind == "coalesced"


def test_the_number_of_records_that_are_looked_at_is_bounded(store, records, monkeypatch):
    hourly(store)
    others = [record("executed", 10 + n, NOON + n * HOUR) for n in range(1, 6)]
    records(change("paused", -9000), record("executed", -5, NOON - HOUR), *others)
    records(record("executed", 60, seconds=59.0))
    assert store.why("report", NOON).kind == "ran"
    monkeypatch.setattr(evidence, "MOST_SCANNED", 5)
    assert store.why("report", NOON).kind == "unknown"
    monkeypatch.setattr(evidence, "MOST_BEFORE", 1)
    assert store.why("report", NOON).kind == "unknown"


def test_a_damaged_state_has_no_fire_times(store):
    hourly(store)
    store.collection.update_one({"_id": "report"}, {"$set": {"job_state": b"garbage"}})
    answer = store.why("report", NOON)
    assert answer.kind == "unknown"
    assert "can't be told: its state is damaged" in answer.text


def test_forged_records_are_no_errors(store, database):
    hourly(store)
    for kind in ("executed", "missed", "coalesced", 5, None, "a kind of others"):
        forged = {"job": "report", "kind": kind, "time": NOON, "run_time": NOON, "runs": "x"}
        forged |= {"seconds": [1], "until": "soon", "detail": {"$x": 1}, "by": 7}
        database.jobs_runs.insert_one(forged)
        database.jobs_runs.insert_one({**forged, "_id": None, "job": None})
        assert store.why("report", NOON).kind
        database.jobs_runs.delete_many({})
    database.jobs_meta.insert_one({"_id": "scheduler:x", "executors": 5, "expires": "soon"})
    assert store.why("report", NOON).kind == "unknown"


@pytest.mark.parametrize("at", [datetime.min, datetime.max], ids=["first", "last"])
def test_the_ends_of_time_are_no_errors(store, at):
    hourly(store)
    assert store.why("report", at).kind in ("unknown", "not due")


@pytest.mark.parametrize("time", [datetime.min, datetime.max], ids=["first", "last"])
def test_forged_times_are_no_errors(store, database, time):
    hourly(store)
    times = {"time": time, "run_time": time, "until": time}
    kinds = "started", "stopped", "away", "dropped", "paused", "removed", "missed", "coalesced"
    for number, kind in enumerate(kinds):
        for job_id in ("report", None):
            forged = {"job": job_id, "kind": kind, "by": f"scheduler:x:{number}:y", "runs": 2**62}
            database.jobs_runs.insert_one(forged | times)
            database.jobs_runs.insert_one(
                forged | times | {"time": NOON, "_id": f"{kind} {job_id}"}
            )
    presence = {"state": "firing", "started": time, "seen": time, "expires": time, "clock": time}
    database.jobs_meta.insert_one({"_id": "scheduler:web-1:1:x", **presence})
    for at in (NOON, None, datetime.min, datetime.max):
        assert store.why("report", at).kind


def test_ids_of_any_type_are_asked_for(store):
    assert store.why("x\ud800").kind == "no such job"
    assert store.why(5).kind == "no such job"
    assert store.why({"$gt": ""}).kind == "no such job"


def test_looking_writes_nothing_and_takes_few_commands(store, commands):
    hourly(store)
    commands.names.clear()
    store.why("report", NOON)
    assert set(commands.names) <= {"find", "aggregate"}
    assert len(commands.names) <= 12


def test_an_error_of_the_server_is_raised(store, point):
    hourly(store)
    point("failCommand", errorCode=8, failCommands=["find"])
    with pytest.raises(PyMongoError):
        store.why("report", NOON)
