"""The texts by which jobs are searched, and the errors of wrong tags."""

from datetime import datetime, timezone

import pytest
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from jobstore import triggers
from jobstore.about import TRIGGER_KINDS, About, about_job, kind_of
from support.jobs import job, note

CRON = CronTrigger(minute=5, timezone="UTC")
KINDS = {
    "cron": CRON,
    "date": DateTrigger(datetime(2030, 1, 1), timezone.utc),
    "interval": IntervalTrigger(hours=1, timezone="UTC"),
    "or": OrTrigger([CRON]),
    "and": AndTrigger([CRON]),
}


class Text(str):
    """A string of another class, whose own methods must not matter."""

    __slots__ = ()

    def __str__(self):
        raise AssertionError("called")


class Rarely(CronTrigger):
    pass


class Never(BaseTrigger):
    def get_next_fire_time(self, previous, now):
        return None


def kind(trigger):
    return about_job(job("a", trigger=trigger)).trigger


def tags(found):
    return about_job(job("a"), lambda job: found).tags


def test_the_texts_of_a_job():
    given = job("an id", executor="pool", trigger=CRON)
    given.name = "a name"
    assert about_job(given) == About(f"{note.__module__}:note", "a name", "pool", "cron", ())


@pytest.mark.parametrize("name", KINDS)
def test_triggers_of_apscheduler_have_short_names(name):
    assert kind(KINDS[name]) == name


def test_every_class_of_apscheduler_that_has_a_short_name_exists():
    for full_name, short in TRIGGER_KINDS.items():
        module, _, name = full_name.partition(":")
        assert kind_of(module, name) == short
        assert short in module or module.endswith("combining")
    assert len(set(TRIGGER_KINDS.values())) == len(TRIGGER_KINDS)


def test_calendarinterval_has_a_short_name_where_there_is_one():
    try:
        from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
    except ImportError:  # before 3.11
        assert kind_of("apscheduler.triggers.calendarinterval", "CalendarIntervalTrigger") == (
            "calendarinterval"
        )
    else:
        assert kind(CalendarIntervalTrigger(weeks=2, timezone="UTC")) == "calendarinterval"


def test_the_fast_cron_trigger_is_cron():
    assert kind(triggers.CronTrigger(minute=5, timezone="UTC")) == "cron"


def test_a_trigger_of_another_class_is_named_by_it():
    assert kind(Never()) == f"{__name__}:Never"


def test_a_subclass_is_no_trigger_of_apscheduler():
    assert kind(Rarely(minute=5, timezone="UTC")) == f"{__name__}:Rarely"


def test_a_nested_class_is_named_by_its_qualified_name():
    class Inner(Never):
        pass

    assert kind(Inner()) == f"{__name__}:{Inner.__qualname__}"
    assert "<locals>" in kind(Inner())


def test_without_a_callable_there_are_no_tags():
    assert about_job(job("a")).tags == ()


def test_the_callable_is_given_the_job():
    assert about_job(job("a"), lambda job: [job.id, job.executor]).tags == ("a", "default")


@pytest.mark.parametrize("make", [list, tuple, iter, dict.fromkeys])
def test_tags_are_sorted_each_once(make):
    assert tags(make(["b", "a", "b", "", "ä", "B"])) == ("", "B", "a", "b", "ä")


def test_no_tags_are_an_empty_tuple():
    assert tags([]) == ()


def test_tags_are_plain_strings():
    (tag,) = tags([Text("a")])
    assert type(tag) is str
    assert tag == "a"


@pytest.mark.parametrize("wrong", ["acme", ""])
def test_a_string_is_no_list_of_tags(wrong):
    with pytest.raises(TypeError) as caught:
        tags(wrong)
    assert str(caught.value) == (
        f"tags returned {wrong!r} for job 'a': it must be a list of strings"
    )


@pytest.mark.parametrize("wrong", [5, None, b"acme", ["acme"]])
def test_a_tag_of_another_type_is_refused_with_its_job(wrong):
    with pytest.raises(TypeError) as caught:
        tags(["good", wrong])
    assert str(caught.value) == (f"tags returned {wrong!r} for job 'a': each tag must be a string")


@pytest.mark.parametrize("wrong", [None, 5, object()])
def test_an_answer_that_is_no_list_is_refused_with_the_job(wrong):
    with pytest.raises(TypeError) as caught:
        tags(wrong)
    assert str(caught.value) == (
        f"tags returned {wrong!r} for job 'a': it must be a list of strings"
    )


def test_an_error_of_the_callable_is_raised():
    with pytest.raises(ZeroDivisionError):
        about_job(job("a"), lambda job: 1 / 0)
