"""A Where names jobs: arguments of a wrong type are refused, and each condition is exact."""

import pickle
from dataclasses import FrozenInstanceError, fields, replace
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from jobstore import Where
from jobstore.about import About

NOON = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)
ABOUT = About("reports:send", "nightly", "default", "cron", ("acme", "mail"))
ALL = {
    "id_prefix": "a",
    "due_before": NOON,
    "due_after": NOON,
    "paused": True,
    "quarantined": False,
    "func": "m:f",
    "name": "n",
    "executor": "e",
    "trigger": "cron",
    "tag": "t",
}
TEXTS = ["id_prefix", "func", "name", "executor", "trigger", "tag"]


def includes(where, job_id="a job", run_time=NOON, is_paused=False, is_quarantined=False):
    return where.includes(job_id, run_time, is_paused, is_quarantined)


def test_every_argument_may_be_given_and_is_none_otherwise():
    assert [field.name for field in fields(Where)] == list(ALL)
    where = Where(**ALL)
    for name, value in ALL.items():
        assert getattr(where, name) == value
        assert getattr(Where(), name) is None


def test_arguments_are_given_by_name_alone():
    with pytest.raises(TypeError, match="positional"):
        Where("a")


def test_an_unknown_argument_is_refused():
    with pytest.raises(TypeError, match="id_suffix"):
        Where(id_suffix="a")


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", [5, b"bytes", ["a"], test_arguments_are_given_by_name_alone])
def test_a_text_of_another_type_is_refused(name, value):
    with pytest.raises(TypeError) as caught:
        Where(**{name: value})
    assert str(caught.value) == f"{name} is {value!r}: it must be a str or None"


@pytest.mark.parametrize("name", ["due_before", "due_after"])
@pytest.mark.parametrize("value", [1893499200.0, "2030-01-01", date(2030, 1, 1), SECOND])
def test_a_time_of_another_type_is_refused(name, value):
    with pytest.raises(TypeError) as caught:
        Where(**{name: value})
    assert str(caught.value) == f"{name} is {value!r}: it must be a datetime or None"


@pytest.mark.parametrize("name", ["paused", "quarantined"])
@pytest.mark.parametrize("value", [1, 0, "yes", "", []])
def test_a_flag_of_another_type_is_refused(name, value):
    with pytest.raises(TypeError) as caught:
        Where(**{name: value})
    assert str(caught.value) == f"{name} is {value!r}: it must be a bool or None"


def test_the_first_wrong_argument_is_named():
    with pytest.raises(TypeError, match=r"^id_prefix is 5"):
        Where(tag=7, func=6, id_prefix=5)


def test_a_where_does_not_change():
    where = Where(func="m:f")
    with pytest.raises(FrozenInstanceError):
        where.func = "m:g"
    assert where.func == "m:f"


def test_equal_ones_are_one_key():
    assert {Where(**ALL): 1}[Where(**ALL)] == 1
    assert Where() != Where(paused=False)
    assert len({Where(), Where(paused=False), Where(paused=True), Where(paused=False)}) == 3


def test_a_copy_and_a_pickle_are_equal():
    where = Where(**ALL)
    assert replace(where, tag="u") == Where(**{**ALL, "tag": "u"})
    assert pickle.loads(pickle.dumps(where)) == where


def test_times_are_half_open():
    assert not includes(Where(due_before=NOON))
    assert includes(Where(due_before=NOON + timedelta(microseconds=1)))
    assert includes(Where(due_after=NOON))
    assert not includes(Where(due_after=NOON + timedelta(microseconds=1)))
    assert includes(Where(due_after=NOON, due_before=NOON + SECOND))
    assert not includes(Where(due_after=NOON, due_before=NOON))


def test_consecutive_spans_hold_each_time_once():
    spans = [
        Where(due_after=NOON + number * SECOND, due_before=NOON + (number + 1) * SECOND)
        for number in range(3)
    ]
    for half in range(6):
        run_time = NOON + half * SECOND / 2
        assert [includes(span, run_time=run_time) for span in spans].count(True) == 1


def test_a_naive_time_is_utc():
    naive = NOON.replace(tzinfo=None)
    assert includes(Where(due_after=naive))
    assert not includes(Where(due_before=naive))
    assert includes(Where(due_before=naive + SECOND))
    assert not includes(Where(due_after=naive + SECOND))


def test_times_of_other_zones_are_compared_as_moments():
    here = NOON.astimezone(ZoneInfo("Asia/Tokyo"))
    assert includes(Where(due_after=here))
    assert not includes(Where(due_before=here))


@pytest.mark.parametrize("times", [{"due_before": NOON}, {"due_after": NOON}])
def test_a_job_without_a_run_time_is_at_no_time(times):
    assert not includes(Where(**times), run_time=None, is_paused=True)


def test_a_prefix_is_compared_by_code_points():
    assert includes(Where(id_prefix="a j"))
    assert includes(Where(id_prefix="a job"))
    assert includes(Where(id_prefix=""))
    assert not includes(Where(id_prefix="A"))
    assert not includes(Where(id_prefix="a job and more"))
    assert not includes(Where(id_prefix=".*"))


@pytest.mark.parametrize("job_id", [5, None, b"a job", ("a job",)])
def test_an_id_that_is_no_text_has_no_prefix(job_id):
    assert not includes(Where(id_prefix=""), job_id=job_id)
    assert includes(Where(), job_id=job_id)


@pytest.mark.parametrize("is_paused", [True, False])
@pytest.mark.parametrize("is_quarantined", [True, False])
def test_flags_select_those_that_have_them_or_have_not(is_paused, is_quarantined):
    states = {"is_paused": is_paused, "is_quarantined": is_quarantined}
    assert includes(Where(), **states)
    for value in (True, False):
        assert includes(Where(paused=value), **states) is (is_paused is value)
        assert includes(Where(quarantined=value), **states) is (is_quarantined is value)


@pytest.mark.parametrize("name", ["func", "name", "executor", "trigger"])
def test_a_text_must_be_equal(name):
    value = getattr(ABOUT, name)
    assert Where(**{name: value}).is_about(ABOUT)
    for other in (value[:-1], value + "x", value.upper(), ""):
        assert not Where(**{name: other}).is_about(ABOUT)
    assert not Where(**{name: value}).is_about(About(None, None, None, None))


def test_a_tag_is_one_of_the_tags():
    assert Where(tag="acme").is_about(ABOUT)
    assert Where(tag="mail").is_about(ABOUT)
    assert not Where(tag="ac").is_about(ABOUT)
    assert not Where(tag="acme").is_about(ABOUT._replace(tags=()))


def test_all_conditions_must_be_met():
    both = Where(func="reports:send", tag="mail")
    assert both.is_about(ABOUT)
    assert not both.is_about(ABOUT._replace(func="m:f"))
    assert not both.is_about(ABOUT._replace(tags=("acme",)))
    assert Where().is_about(About(None, None, None, None))
    assert not includes(Where(id_prefix="b", due_after=NOON))
    assert not includes(Where(id_prefix="a", due_before=NOON))


def test_an_empty_text_is_a_condition():
    for name in ("func", "name", "executor", "trigger"):
        assert Where(**{name: ""}).needs_about
        assert not Where(**{name: ""}).is_about(ABOUT)
        assert Where(**{name: ""}).is_about(ABOUT._replace(**{name: ""}))


@pytest.mark.parametrize("name", ["paused", "quarantined"])
def test_flags_leave_the_order_of_time(name):
    assert Where(**{name: True}).is_by_time
    assert Where(**{name: False}).is_by_time
    assert Where().is_by_time


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_asks_for_the_order_of_ids_and_a_time_for_that_of_times(name):
    text = {name: "x"}
    assert not Where(**text).is_by_time
    assert Where(**text, due_before=NOON).is_by_time
    assert Where(**text, due_after=NOON).is_by_time
    assert not Where(**text, paused=False).is_by_time


def test_only_texts_in_a_state_need_the_state():
    for name, value in ALL.items():
        needed = name in ("func", "name", "executor", "trigger")
        assert Where(**{name: value}).needs_about is needed
