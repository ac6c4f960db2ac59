"""Each answer of `why` that comes from the state that a job had, decided by hand."""

import pytest

from jobstore.describe import QuarantineMark
from jobstore.firing import FireTimes
from support.evidence import (
    HOUR,
    NOON,
    after,
    change,
    check,
    evidence,
    incident,
    record,
    stored,
)

UNKNOWN = FireTimes(unknown="its trigger has jitter, so its times are random")


def test_a_job_that_was_paused_before_did_not_run():
    pause = change("paused", -600)
    known = evidence(change=pause, job=stored(None))
    answer = check(known, "paused", "paused at 2025-11-29 11:50:00 UTC")
    assert answer.evidence == (pause,)
    check(evidence(change=pause, next_change=change("changed", 600)), "paused")


@pytest.mark.parametrize(
    ("kind", "job"),
    [("paused", stored()), ("paused", None), ("removed", stored()), ("held", stored())],
)
def test_a_change_that_was_undone_at_an_unknown_time_is_no_answer(kind, job):
    before = change(kind, -600)
    check(evidence(change=before, job=job, last=record("executed", 9, after(9))), "unknown")


@pytest.mark.parametrize("following", ["paused", "changed", "removed"])
@pytest.mark.parametrize("job", [stored(), stored(None), None], ids=["due", "paused", "gone"])
def test_a_pause_lasts_until_the_next_change(following, job):
    again = change(following, 600)
    known = evidence(change=change("paused", -600), next_change=again, job=job, last=again)
    check(known, "paused", "paused at 2025-11-29 11:50:00 UTC")


@pytest.mark.parametrize("following", ["quarantined", "held"])
def test_a_job_that_was_due_after_its_pause_was_resumed_by_somebody_without_a_history(following):
    known = evidence(change=change("paused", -600), next_change=change(following, 600))
    check(known, "unknown", "No record says until when")


def test_a_second_pause_does_not_prove_the_first_if_resumptions_have_no_records():
    known = evidence(
        change=change("paused", -600), next_change=change("paused", 600), keeps_all=False
    )
    check(known, "unknown", "No record says until when", "resumptions and additions have none")
    known = known._replace(next_change=change("removed", 600))
    check(known, "paused", "may have been active again")


@pytest.mark.parametrize("following", ["changed", "paused", "removed", "quarantined"])
def test_a_removed_job_that_was_changed_was_added_by_somebody_without_a_history(following):
    known = evidence(change=change("removed", -600), next_change=change(following, 600))
    check(known, "unknown", "The job was removed at 2025-11-29 11:50:00 UTC")


def test_a_removal_lasts_until_an_addition_or_the_removal_of_all_jobs():
    known = evidence(change=change("removed", -600), next_change=change("added", 600))
    check(known, "removed")
    check(known._replace(next_change=incident("removed", 600)), "removed")


def test_a_quarantine_lasts_until_the_next_change():
    quarantined = record("quarantined", -3600, NOON - HOUR, detail="no module.")
    for kind in ("changed", "paused", "removed", "quarantined"):
        known = evidence(change=quarantined, next_change=change(kind, 600))
        assert check(known, "quarantined").text.endswith(": no module.")


def test_a_held_job_is_held_until_its_release():
    held = record("held", -600, NOON - HOUR, detail='catch_up="hold"')
    text = 'web-1:4711 held the job at 2025-11-29 11:50:00 UTC, as catch_up="hold" asks.'
    check(evidence(change=held, next_change=change("changed", 600)), "held", text)
    removed = change("removed", 600)
    check(evidence(change=held, next_change=removed, last=removed, job=None), "held", text)


def test_a_change_between_the_run_time_and_the_moment_says_nothing_about_the_run():
    known = evidence(at=after(30), change=change("paused", 20), job=stored(None))
    for job in (stored(), stored(None)):
        answer = check(known._replace(job=job), "unknown", "may be in flight still")
        assert answer.at == NOON
    known = evidence(at=after(-30), next_change=change("added", -20))
    assert check(known, "unknown").at == NOON


def test_a_job_that_has_a_record_of_a_run_was_there_before_it_was_added():
    known = evidence(next_change=change("added", 600), ran_since=True)
    check(known, "unknown")
    check(known._replace(change=change("removed", -7200)), "unknown")


def test_a_job_that_was_removed_is_perhaps_back_if_additions_have_no_records():
    removed = change("removed", -600)
    known = evidence(change=removed, job=None, last=removed, keeps_all=False)
    check(known, "removed", "may have been there again")


def test_a_job_that_was_there_before_the_history_may_have_been_another():
    known = evidence(next_change=change("added", 600), begins=after(60))
    check(known, "unknown", "the history begins at")


def test_a_job_that_is_gone_may_have_run_if_only_problems_have_records():
    known = evidence(job=None, last=record("missed", -600, after(-600)), keeps_all=False)
    check(known, "unknown", "Runs that went well have no records")


def test_a_time_without_a_run_is_not_sure_if_changes_have_no_records():
    known = evidence(at=after(600), times=FireTimes(NOON, NOON + HOUR), keeps_all=False)
    check(known, "not due", "may have had other times then")


def test_a_job_that_was_removed_before_did_not_run():
    removed = change("removed", -600)
    check(evidence(change=removed, job=None, last=removed), "removed", "web-1:4711")


def test_a_job_that_ran_after_a_pause_was_resumed():
    check(evidence(change=change("paused", -600), ran_since=True), "unknown")


def test_a_job_that_went_into_quarantine_before_did_not_run():
    mark = QuarantineMark("no module", after(-3600), NOON - HOUR)
    quarantined = record("quarantined", -3600, NOON - HOUR, detail="no module")
    known = evidence(change=quarantined, job=stored(None, quarantine=mark))
    check(known, "quarantined", "no module")


def test_a_job_that_was_restored_from_quarantine_at_an_unknown_time_has_no_answer():
    quarantined = record("quarantined", -3600, NOON - HOUR, detail="no module")
    check(evidence(change=quarantined), "unknown")


def test_a_job_that_was_added_later_was_not_due():
    added = change("added", 600)
    check(evidence(next_change=added), "not due", "added it at 2025-11-29 12:10:00 UTC")
    removed = change("removed", -600)
    check(evidence(next_change=added, change=removed), "removed")


def test_a_job_in_quarantine_is_known_by_its_document():
    mark = QuarantineMark("no module", after(1), NOON)
    answer = check(evidence(job=stored(None, quarantine=mark)), "quarantined", "no module")
    assert answer.source == "the job's document in jobs"
    later = QuarantineMark("no module", after(3601), NOON + HOUR)
    check(evidence(job=stored(None, quarantine=later)), "unknown")


def test_a_held_job_is_known_by_its_document():
    check(evidence(job=stored(None, held=NOON)), "held", 'catch_up="hold"')
    check(evidence(job=stored(None, held=NOON + HOUR)), "unknown")


def test_a_job_that_is_paused_now_was_paused_unless_a_record_says_later():
    check(evidence(job=stored(None)), "paused", "No record says since when")
    for kind in ("paused", "changed", "added"):
        later = change(kind, 600)
        known = evidence(job=stored(None), next_change=later, change=change("changed", -600))
        check(known, "unknown")
    check(evidence(job=stored(None), last=record("error", 3601, NOON + HOUR)), "unknown")
    check(evidence(job=stored(None), last=record("error", -3500, NOON - HOUR)), "paused")


def test_a_job_that_is_gone_was_removed_after_its_last_record():
    last = record("executed", -3500, NOON - HOUR)
    answer = check(evidence(job=None, last=last, times=UNKNOWN), "removed", "not stored")
    assert answer.evidence == (last,)


@pytest.mark.parametrize(
    "last",
    [
        change("added", -600, detail=NOON.isoformat()),
        change("changed", -600, detail=NOON.isoformat()),
        record("coalesced", -600, NOON - HOUR, until=NOON),
        record("moved on", -600, NOON - HOUR, until=NOON),
        record("refused", -600, NOON - HOUR),
    ],
    ids=lambda last: last.kind,
)
def test_a_job_that_is_gone_and_was_due_is_perhaps_in_flight(last):
    known = evidence(job=None, last=last, times=UNKNOWN)
    answer = check(known, "unknown", "It was due at 2025-11-29 1", "in flight still")
    assert answer.evidence == (last,)


def test_a_job_that_is_gone_may_have_been_removed_with_all_others():
    removal = incident("removed", 600)
    last = record("executed", -3500, NOON - HOUR)
    known = evidence(job=None, last=last, times=UNKNOWN, next_change=removal)
    answer = check(known, "unknown", "All jobs were removed at 2025-11-29 12:10:00 UTC")
    assert answer.evidence == (last, removal)
    due = change("added", -600, detail=NOON.isoformat())
    check(known._replace(last=due), "unknown", "It was due at", "All jobs were removed at")


def test_a_job_that_is_gone_and_has_later_records_has_no_answer():
    check(evidence(job=None, last=record("executed", 3601, NOON + HOUR)), "unknown")


def test_an_id_without_a_job_and_a_record_is_told():
    check(evidence(job=None), "no such job", "No job 'report' is stored in jobs")


@pytest.mark.parametrize("seconds", [-600, 600], ids=["before", "after"])
def test_an_id_without_a_record_may_be_that_of_a_job_that_was_removed_with_all_others(seconds):
    removal = incident("removed", seconds)
    field = "change" if seconds < 0 else "next_change"
    known = evidence(job=None, **{field: removal})
    check(known, "no such job", "may have been one of them")


def test_an_id_without_a_record_may_be_that_of_a_job_that_always_ran_well():
    known = evidence(job=None, keeps_all=False)
    check(known, "no such job", "a job whose runs all went well leaves no record")
