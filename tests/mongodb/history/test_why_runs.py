"""Answers of `why` by records of runs: several records, texts of limits, the run that is meant."""

import pytest

from jobstore.firing import FireTimes
from jobstore.mongodb.history.answer import length
from support.evidence import (
    HOUR,
    NOON,
    OTHER,
    after,
    change,
    check,
    evidence,
    incident,
    record,
    stored,
)

UNKNOWN = FireTimes(unknown="its trigger has jitter, so its times are random")
LONG_PAST = {"at": NOON - HOUR, "times": FireTimes(NOON - 2 * HOUR, NOON - HOUR)}


# Several records of one run


@pytest.mark.parametrize("kind", ["executed", "error"])
def test_a_run_on_two_schedulers_names_both(kind):
    runs = record("executed", 1), record(kind, 2, by=OTHER)
    answer = check(evidence(runs=runs), "twice", "It ran on web-1:4711, and on web-2:4711.")
    assert answer.evidence == runs
    check(evidence(runs=(*runs, record("double", by=OTHER))), "twice", "web-1:4711, and on web-2")


def test_a_run_that_one_scheduler_repeated_says_how_often():
    runs = record("executed", 1, seconds=0.5), record("executed", 2, seconds=0.5)
    assert check(evidence(runs=runs), "ran", "It ran 2 times there.").evidence == runs


# Runs that were rolled into a later one


def test_a_coalesced_run_names_the_run_that_took_place_and_its_fate():
    run = record("coalesced", 5, NOON - HOUR, until=NOON, runs=5)
    known = evidence(**LONG_PAST, runs=(run,))
    answer = check(known, "coalesced", "rolled into that of 2025-11-29 12:00:00 UTC on web-1:4711")
    assert "has the record" not in answer.text
    later = record("executed", 6, NOON + HOUR), record("missed", 5)
    known = known._replace(later=later)
    check(known, "coalesced", 'The later run has the record "missed": the run was later than')


def test_a_run_that_others_stand_for_is_meant_rather_than_a_recorded_one_nearby():
    coalesced = record("coalesced", 3.5, after(-2), until=after(3), runs=5)
    runs = coalesced, record("executed", 3.6, after(3))
    times = FireTimes(after(-1), NOON)
    restored = change("changed", 3.7, detail="back from quarantine")
    answer = check(evidence(runs=runs, times=times, next_change=restored), "coalesced")
    assert answer.at == NOON


def test_runs_around_a_pause_are_not_meant_by_a_moment_in_it():
    runs = record("executed", -9.9, after(-10)), record("executed", 10.1, after(10))
    pause, resumption = change("paused", -5), change("changed", 5)
    known = evidence(runs=runs, change=pause, next_change=resumption)
    assert check(known, "paused").at == NOON
    known = known._replace(times=UNKNOWN)
    assert check(known, "paused").at == NOON


def test_a_moment_between_coalesced_runs_of_a_job_that_is_gone_is_not_sure():
    run = record("coalesced", 3 * 3600 + 1, NOON - HOUR, runs=4)
    known = evidence(at=after(1200), times=FireTimes(unknown="the job is not stored"), job=None)
    known = known._replace(runs=(run,), last=run)
    check(
        known, "coalesced", "Whether one of them was due at 2025-11-29 12:20:00 UTC can't be told"
    )


# A run in place of which the store removed the job


def test_a_job_that_could_not_be_restored_was_removed_instead_of_its_run():
    run = record("removed", 0.1, detail="UnpicklingError: x.")
    text = "web-1:4711 removed the job at 2025-11-29 12:00:00.100 UTC, as it can't be restored"
    known = evidence(runs=(run,), job=None, last=run, times=UNKNOWN)
    assert check(known, "removed", text, "UnpicklingError: x").at == NOON
    known = evidence(at=NOON + HOUR, change=run, job=None, last=run, times=UNKNOWN)
    assert check(known, "removed", text).text.endswith(": UnpicklingError: x.")


# Limits and numbers


@pytest.mark.parametrize("kind", ["missed", "skipped"])
def test_a_limit_is_named_without_its_value_if_it_may_have_changed_since(kind):
    run = record(kind, 42)
    assert "=" in check(evidence(runs=(run,)), ANSWER[kind]).text
    changed = evidence(runs=(run,), next_change=change("changed", 60))
    assert "=" not in check(changed, ANSWER[kind]).text


ANSWER = {"missed": "misfired", "skipped": "skipped"}


def test_a_grace_time_that_was_not_exceeded_is_not_the_one_of_that_time():
    known = evidence(runs=(record("missed", 42),), job=stored(misfire_grace_time=3600))
    check(known, "misfired", "more than misfire_grace_time allows")


def test_long_times_are_written_in_full():
    check(evidence(runs=(record("missed", 10_800),)), "misfired", "10,800 s late")
    assert [length(each) for each in (0, 0.1234, 99.9, 999.9, 86400)] == [
        "0 s",
        "0.123 s",
        "99.9 s",
        "1,000 s",
        "86,400 s",
    ]


# Outages


def test_the_record_of_another_run_does_not_make_an_outage_the_cause():
    away, next_run = incident("away", 4, 60), record("coalesced", 61, after(60), until=after(120))
    known = evidence(incidents=(away,), runs=(next_run,), keeps_all=False)
    check(known, "unknown", "so it probably ran")
    check(known._replace(keeps_all=True), "database away")


def test_an_outage_is_the_cause_of_a_run_just_before_it_that_was_left_out():
    away, run = incident("away", 4, 60), record("coalesced", 61, after(-60), until=after(60))
    check(evidence(incidents=(away,), runs=(run,), keeps_all=False), "database away")


def test_no_scheduler_is_certain_only_if_all_records_of_schedulers_were_read():
    ends = incident("stopped", -600), incident("started", 900, by=OTHER)
    known = evidence(incidents=ends, schedulers=())
    check(known, "no scheduler")
    check(known._replace(has_all_incidents=False), "unknown")
