"""Each answer of `why`, decided from evidence by hand."""

from datetime import timedelta

import pytest

from jobstore.describe import Lease
from jobstore.firing import FireTimes
from jobstore.mongodb.history.answer import RUN_KINDS
from jobstore.mongodb.history.recorded import RECORDED
from jobstore.mongodb.history.why import decide
from support.evidence import (
    HOUR,
    NOON,
    ONE,
    OTHER,
    after,
    change,
    check,
    evidence,
    incident,
    record,
    scheduler,
    stored,
)

UNKNOWN = FireTimes(unknown="its trigger has jitter, so its times are random")


# A record of the run


def test_each_kind_of_record_that_names_a_run_has_an_answer():
    assert RECORDED.keys() == RUN_KINDS


RECORDS = [
    (record("executed", 0.7, seconds=0.5), "ran", ["It ran on web-1:4711, took at most 0.5 s"]),
    (record("error", detail="ValueError: no"), "failed", ["raised", "ValueError: no"]),
    (record("missed", 42), "misfired", ["42 s late", "misfire_grace_time=30"]),
    (record("skipped"), "skipped", ["max_instances=2"]),
    (record("coalesced", 90, runs=3), "coalesced", ["3 due runs"]),
    (record("quarantined", detail="no module"), "quarantined", ["no module"]),
    (record("lost"), "lost", ["lost to a change by another process"]),
    (record("double"), "twice", ["on another scheduler, too"]),
]


@pytest.mark.parametrize(("run", "kind", "parts"), RECORDS, ids=[each[1] for each in RECORDS])
def test_a_record_of_the_run_is_the_answer(run, kind, parts):
    answer = check(evidence(runs=(run,)), kind, *parts)
    assert answer.evidence == (run,)
    assert answer.source.startswith(f'record "{run.kind}" of 2025-11-29 12:0')
    assert answer.source.endswith(" in jobs_runs")
    assert answer.at == NOON


@pytest.mark.parametrize(("run", "kind", "parts"), RECORDS, ids=[each[1] for each in RECORDS])
def test_a_record_of_the_run_counts_also_if_the_job_is_gone(run, kind, parts):
    check(evidence(runs=(run,), job=None, last=run), kind)


def test_a_run_that_began_late_says_by_how_much():
    check(evidence(runs=(record("executed", 95, seconds=5),)), "ran", "It began at least 90 s late")


def test_a_run_that_began_in_time_is_not_called_late():
    assert "late" not in check(evidence(runs=(record("executed", 95, seconds=94.8),)), "ran").text


def test_a_run_of_unknown_length_is_not_called_late():
    known = evidence(runs=(record("executed", 95),), incidents=(incident("away", -60, 40),))
    assert "late" not in check(known, "ran", "It ran on web-1:4711, and ended at").text


def test_records_of_other_runs_do_not_answer():
    runs = record("missed", -3500, NOON - HOUR), record("error", 50, after(50))
    check(evidence(runs=runs), "unknown")


def test_a_run_time_cut_to_milliseconds_is_the_same_run():
    exact = NOON + timedelta(microseconds=123_456)
    run = record("skipped", 1, NOON + timedelta(milliseconds=123))
    check(evidence(at=exact, times=FireTimes(None, exact), runs=(run,)), "skipped")


def test_of_the_records_of_one_run_the_one_that_tells_most_answers():
    refused, executed = record("refused", 0.1), record("executed", 9)
    lost, double = record("lost"), record("double", 0.2)
    check(evidence(runs=(refused, executed)), "ran")
    check(evidence(runs=(lost, executed)), "ran")
    check(evidence(runs=(double, executed)), "twice")


def test_a_job_that_its_executor_refused_is_refused_and_perhaps_taken_later():
    run = record("refused", detail='executor "gpu" is missing')
    answer = check(evidence(runs=(run,), job=stored(NOON)), "refused", 'executor "gpu" is missing')
    assert "Later" not in answer.text
    check(evidence(runs=(run,)), "refused", "Later an executor took it")
    check(evidence(runs=(run,), job=None, last=run), "refused", "Later an executor took it")


def test_a_run_between_two_records_was_rolled_into_another():
    run = record("coalesced", 3 * 3600 + 1, NOON - HOUR, runs=4)
    check(evidence(runs=(run,)), "coalesced", "4 due runs")
    ended = run._replace(until=NOON)
    check(evidence(runs=(ended,)), "unknown")


def test_a_record_of_several_skipped_runs_tells_of_each():
    run = record("skipped", 3601, NOON - HOUR, runs=3)
    check(evidence(runs=(run,)), "skipped")
    check(evidence(runs=(run._replace(runs=1),)), "unknown")


def test_no_run_was_rolled_into_another_at_a_time_without_one():
    run = record("coalesced", 3 * 3600 + 1, NOON - HOUR, runs=4)
    times = FireTimes(NOON, NOON + HOUR)
    check(evidence(at=after(1200), times=times, runs=(run,)), "not due")
    check(evidence(at=after(1200), times=UNKNOWN, runs=(run,)), "coalesced")


# The nearest run


def test_the_nearest_run_less_than_a_minute_away_is_meant():
    runs = record("executed", -20, after(-25)), record("missed", 20, after(15))
    answer = check(evidence(runs=runs, times=UNKNOWN), "misfired")
    assert answer.at == after(15)


def test_recorded_times_come_before_those_of_a_trigger_that_has_changed_since():
    run = record("skipped", 15, after(10))
    check(evidence(runs=(run,)), "unknown")
    for kind in ("added", "changed"):
        answer = check(evidence(runs=(run,), next_change=change(kind, 600)), "skipped")
        assert answer.at == after(10)
    check(evidence(runs=(run,), next_change=change("paused", 600)), "unknown")


def test_a_run_a_minute_away_is_not_meant():
    times = FireTimes(after(-60), after(60))
    check(evidence(times=times), "not due", "2025-11-29 11:59:00 UTC", "2025-11-29 12:01:00 UTC")


# Due now


@pytest.mark.parametrize("at", [NOON, NOON + HOUR / 4], ids=["its time", "later"])
def test_a_job_that_is_due_waits_for_the_schedulers(at):
    known = evidence(at=at, job=stored(NOON), times=FireTimes(NOON, NOON + HOUR))
    answer = check(known, "due", "due since 2025-11-29 12:00:00 UTC", "web-1:4711 fires jobs")
    assert answer.at == NOON


def test_a_job_that_is_due_while_no_scheduler_lives_waits_for_one():
    for presence in ((), (scheduler(alive=False),), (scheduler(state="idle"),)):
        check(evidence(job=stored(NOON), schedulers=presence), "no scheduler")


def test_hot_standbys_are_named_when_none_fires():
    known = evidence(job=stored(NOON), schedulers=(scheduler(state="waiting"),))
    check(known, "no scheduler", "web-1:4711 waits as a hot standby")


def test_paused_schedulers_are_named_when_none_fires():
    known = evidence(job=stored(NOON), schedulers=(scheduler(state="paused"),))
    check(known, "no scheduler", "web-1:4711 is paused, until resume() is called")
    check(known._replace(schedulers=(*known.schedulers, scheduler(OTHER))), "due")


def test_a_job_whose_executor_no_scheduler_has_is_refused():
    job = stored(NOON, executor="gpu")
    check(evidence(job=job), "refused", 'executor "gpu" is missing on web-1:4711')
    gpu = scheduler(OTHER, executors={"gpu": {}})
    check(evidence(job=job, schedulers=(scheduler(), gpu)), "due")
    check(evidence(job=job, schedulers=(scheduler(executors={}),)), "due")


def test_a_due_job_that_was_refused_names_the_record():
    run = record("refused", 5, NOON, detail='executor "default" did not take it')
    known = evidence(at=after(30), job=stored(NOON), times=FireTimes(NOON), runs=(run,))
    check(known, "refused", 'executor "default" did not take it')


def test_a_scheduler_that_is_silent_is_told():
    known = evidence(job=stored(NOON), schedulers=(scheduler(age=12.0),))
    check(known, "due", "web-1:4711 (last seen 12 s ago) fires jobs")


def test_a_due_job_that_is_claimed_names_the_lease():
    job = stored(NOON, lease=Lease("5e", after(1830)))
    check(evidence(job=job), "due", "claimed it until 2025-11-29 12:30:30 UTC")
    ended = stored(NOON, lease=Lease("5e", after(900)))
    check(evidence(job=ended), "due", "fires jobs")


def test_a_due_job_without_the_right_to_see_schedulers_is_due():
    check(evidence(job=stored(NOON), schedulers=None), "due", "no right to read jobs_meta")


# Not due


def test_a_time_without_a_run_names_the_runs_around_it():
    times = FireTimes(NOON, NOON + HOUR)
    text = "before was due at 2025-11-29 12:00:00 UTC, and the next one at 2025-11-29 13:00:00 UTC"
    check(evidence(at=after(1200), times=times), "not due", "cron[minute='0']", text)
    check(evidence(at=after(1200), times=FireTimes()), "not due", "no run was due before")


def test_a_trigger_that_was_changed_since_is_told():
    known = evidence(at=after(1200), times=FireTimes(NOON), next_change=change("changed", 1500))
    check(known, "not due", "changed at 2025-11-29 12:25:00 UTC, and may have had another trigger")


def test_a_time_to_come_is_not_due_yet():
    at = NOON + HOUR
    check(evidence(at=at, times=FireTimes(NOON, at)), "not due", "which is to come")
    due = stored(NOON)
    check(evidence(at=at, times=FireTimes(NOON, at), job=due), "not due", "which is to come")


# Nobody fired


def test_a_run_in_an_outage_was_not_fired():
    away = incident("away", -60, 60)
    answer = check(evidence(incidents=(away,)), "database away", "for 120 s, from")
    assert answer.evidence == (away,)


def test_the_outage_of_one_scheduler_is_no_reason_while_another_fires():
    known = evidence(
        incidents=(incident("away", -60, 60),), schedulers=(scheduler(), scheduler(OTHER))
    )
    check(known, "unknown")


def test_an_outage_begins_before_a_command_has_failed():
    check(evidence(incidents=(incident("away", 4, 60),)), "database away")


def test_an_outage_before_or_after_is_no_reason():
    known = evidence(incidents=(incident("away", -60, -10), incident("away", 6, 60)))
    check(known, "unknown")


@pytest.mark.parametrize("kind", ["missed", "coalesced"])
def test_an_outage_is_the_cause_of_runs_that_were_left_out(kind):
    away, run = incident("away", -60, 40), record(kind, 42, runs=3)
    known = evidence(incidents=(away,), runs=(run,))
    answer = check(known, "database away", "could not reach", "left out")
    assert answer.evidence == (away, run)
    assert answer.source.count("record") == 2


def test_an_outage_is_told_with_a_run_that_it_made_late():
    runs = (record("executed", 42, seconds=1.0),)
    known = evidence(incidents=(incident("away", -60, 40),), runs=runs)
    check(known, "ran", "could not reach the database", "It began at least 41 s late")


STOPPED = incident("stopped", -600), incident("started", 900, by=OTHER)
RESTARTED = (scheduler(OTHER, started=900),)


def test_a_run_between_two_schedulers_was_not_fired():
    known = evidence(incidents=STOPPED, schedulers=RESTARTED)
    text = "web-1:4711 ended at 2025-11-29 11:50:00 UTC, and web-2:4711 started at"
    answer = check(known, "no scheduler", text)
    assert answer.evidence == STOPPED


def test_a_run_missed_by_the_next_scheduler_had_none_in_its_time():
    run = record("missed", 901, by=OTHER)
    known = evidence(incidents=STOPPED, schedulers=RESTARTED, runs=(run,))
    check(known, "no scheduler", "No scheduler ran", "901 s late")


def test_a_scheduler_that_was_killed_left_its_presence():
    dead = scheduler(seen=-600, alive=False)
    known = evidence(schedulers=(dead, *RESTARTED))
    answer = check(known, "no scheduler", "web-1:4711 ended at 2025-11-29 11:50:05 UTC")
    assert answer.source == "the presence of web-1:4711 in jobs_meta"


def test_a_scheduler_without_an_end_may_have_run():
    begun = incident("started", -900), incident("started", 900, by=OTHER)
    check(evidence(incidents=begun, schedulers=RESTARTED), "unknown")


def test_another_scheduler_that_ran_is_no_reason():
    known = evidence(incidents=STOPPED[:1], schedulers=(scheduler(OTHER),))
    check(known, "unknown")


def test_an_outage_of_the_history_itself_shows_nothing():
    check(evidence(incidents=STOPPED, schedulers=None), "unknown")


# Unknown


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"begins": None}, "no scheduler keeps a history"),
        ({"begins": after(60)}, "the history begins at 2025-11-29 12:01:00 UTC"),
        ({"keeps_all": False}, "so it probably ran"),
        ({"is_readable": False}, "lacks the right to read jobs_runs"),
        ({}, "it may be in flight still"),
        ({"times": UNKNOWN}, "can't be told: its trigger has jitter"),
    ],
    ids=["off", "later", "problems", "rights", "nothing", "times"],
)
def test_an_unknown_answer_says_what_is_missing(fields, part):
    check(evidence(**fields), "unknown", part)


def test_a_change_since_is_told_with_a_run_that_has_no_record():
    text = "The job was changed at 2025-11-29 12:10:00 UTC, and may have had other times before."
    for keeps_all in (True, False):
        known = evidence(next_change=change("changed", 600), keeps_all=keeps_all)
        assert "probably" not in check(known, "unknown", text).text


def test_a_state_of_unknown_end_is_told_instead_of_a_run_that_probably_took_place():
    text = "The job was paused at 2025-11-29 11:50:00 UTC, by a call in web-1:4711. No record says"
    known = evidence(change=change("paused", -600), keeps_all=False)
    assert "probably" not in check(known, "unknown", text).text
    check(known._replace(ran_since=True), "unknown", "so it probably ran")


def test_dropped_records_are_told():
    dropped = incident("dropped", 60)._replace(runs=12)
    check(evidence(incidents=(dropped,)), "unknown", "12 records around that time were dropped")


def test_a_job_without_records_is_not_called_missing_if_records_cannot_be_read():
    check(evidence(job=None, is_readable=False), "unknown", "lacks the right")


def test_texts_of_others_are_cut():
    forged = record("missed", by="scheduler:" + "x" * 9999 + ":1:2")
    assert len(decide(evidence(runs=(forged,))).text) < 500
    forged = record("error", detail="x" * 10**6)
    assert len(decide(evidence(runs=(forged,))).text) < 2010
    forged = record("x" * 10**6, -3500, NOON - HOUR)
    answer = check(evidence(job=None, last=forged, times=UNKNOWN), "removed")
    assert len(answer.text) + len(answer.source) < 2600


def test_the_name_of_one_scheduler_is_that_of_its_presence():
    assert ONE.split(":")[1] == "web-1"
