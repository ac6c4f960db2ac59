"""The times in which schedulers fired jobs, by their records and their presence."""

from jobstore.mongodb.history.lives import UNKNOWN, Life, keep_all, lives, name_of, nobody_ran
from support.evidence import ONE, OTHER, after, incident, scheduler

NAME, OTHER_NAME = "web-1:4711", "web-2:4711"


def test_a_scheduler_fires_from_its_start_to_its_end():
    records = incident("started", -60), incident("away", 5, 9), incident("stopped", 60)
    assert lives(records, []) == [Life(ONE, NAME, after(-60), after(60), True)]


def test_a_scheduler_without_an_end_was_last_seen_with_its_last_record():
    records = incident("away", 5, 9), incident("started", -60)
    assert lives(records, []) == [Life(ONE, NAME, after(-60), after(9), False)]


def test_a_scheduler_whose_end_a_later_one_reported_has_a_certain_end():
    records = incident("started", -60), incident("ended", 5), incident("started", 60, by=OTHER)
    found = lives(records, [scheduler(OTHER, started=60)])
    assert found[0] == Life(ONE, NAME, after(-60), after(5), True)
    assert nobody_ran(found, after(30)) == found[0]


def test_a_paused_presence_may_have_fired_before():
    found = lives([], [scheduler(state="paused")])
    assert found == [Life(ONE, NAME, after(-7200), None, False)]


def started(seconds, history, by=ONE):
    return incident("started", seconds, by=by)._replace(detail=f'history="{history}"')


def test_the_schedulers_of_the_time_say_whether_all_runs_have_records():
    records = started(-60, "problems"), incident("stopped", -10), started(10, "all", by=OTHER)
    present = [scheduler(OTHER, started=10)]
    assert not keep_all(records, present, after(-30))
    assert keep_all(records, present, after(30))
    assert not keep_all(records, present, after(0))
    assert not keep_all(records, [scheduler(OTHER, history="problems")], after(30))


def test_without_a_scheduler_not_all_runs_have_records():
    assert not keep_all([], [], after(0))
    assert keep_all([], [scheduler()], after(0))
    assert not keep_all([], [scheduler(history=None)], after(0))


def test_a_scheduler_that_went_on_after_its_end_may_have_run_since_then():
    kinds = "started", "ended", "ended"
    found = lives([incident(kind, seconds) for seconds, kind in enumerate(kinds)], [])
    assert [(each.since, each.until) for each in found] == [
        (after(0), after(1)),
        (after(1), after(2)),
    ]


def test_a_scheduler_without_a_start_began_at_an_unknown_time():
    assert lives([incident("stopped", 60)], []) == [Life(ONE, NAME, UNKNOWN, after(60), True)]


def test_a_presence_that_lives_has_no_end():
    found = lives([incident("started", -7190)], [scheduler()])
    assert found == [Life(ONE, NAME, after(-7190), None, False)]
    assert lives([], [scheduler()]) == [Life(ONE, NAME, after(-7200), None, False)]


def test_a_presence_that_was_left_ends_a_beat_after_it_was_seen():
    found = lives([], [scheduler(seen=60, alive=False)])
    assert found == [Life(ONE, NAME, after(-7200), after(65), True)]


def test_a_presence_that_does_not_fire_counts_for_nothing():
    assert lives([], [scheduler(state="waiting"), scheduler(OTHER, state="idle")]) == []


def test_a_standby_fires_from_its_takeover_on():
    records = [incident("started", -60), incident("took over", 30)]
    assert lives(records, []) == [Life(ONE, NAME, after(30), after(30), False)]
    presence = scheduler(started=-60, others="wait")
    assert lives(records, [presence]) == [Life(ONE, NAME, after(30), None, False)]
    assert lives([*records, incident("stopped", 90)], []) == [
        Life(ONE, NAME, after(30), after(90), True)
    ]


def test_a_standby_that_lost_its_right_and_got_it_back_has_two_lives():
    kinds = "started", "took over", "lost firing", "took over"
    records = [incident(kind, seconds) for seconds, kind in enumerate(kinds)]
    assert lives(records, []) == [
        Life(ONE, NAME, after(1), after(2), True),
        Life(ONE, NAME, after(3), after(3), False),
    ]


def test_a_standby_that_ended_while_it_waited_never_fired():
    records = [incident("started", -60), incident("stopped", 60)]
    assert lives(records, [scheduler(state="waiting", others="wait")]) == []
    firing = scheduler(others="wait", seen=59, alive=False)  # its takeover has no record
    assert lives(records, [firing]) == [Life(ONE, NAME, after(-7200), after(64), True)]


def test_the_lives_are_in_order():
    records = [incident("started", 10), incident("started", -10, by=OTHER)]
    assert [life.by for life in lives(records, [])] == [OTHER, ONE]


def test_records_of_nobody_are_left_out():
    assert lives([incident("started", 0, by="")], []) == []


def test_nobody_ran_after_a_certain_end():
    first, second = lives([incident("stopped", -60), incident("started", 60, by=OTHER)], [])
    assert nobody_ran([first, second], after(0)) == first
    assert nobody_ran([first, second], after(-61)) is None
    assert nobody_ran([first, second], after(61)) is None


def test_nobody_is_known_to_have_run_without_any_life():
    assert nobody_ran([], after(0)) is None
    assert nobody_ran(lives([incident("started", 60)], []), after(0)) is None


def test_a_scheduler_that_vanished_may_have_run():
    assert nobody_ran(lives([incident("started", -60)], []), after(0)) is None


def test_names_of_any_form():
    assert name_of(ONE) == NAME
    assert name_of(OTHER) == OTHER_NAME
    assert name_of("") == "a scheduler"
    assert name_of("x") == "x"
    assert len(name_of("x" * 999)) == 200
